"""A small network over tokens, after Kim 2014 (arXiv 1408.5882): convolutions of three widths and the largest of each."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TextCnn(nn.Module):
    """Convolutions over embedded tokens; padding takes no part.

    Args:
        num_classes: Outputs.
        vocab_size: Tokens.
        width: Of the embedding, and channels of each convolution.
    """

    def __init__(self, num_classes: int, vocab_size: int, *, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, size, padding=size // 2) for size in (1, 3, 5))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(3 * width, num_classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits `[B, K]` of tokens `[B, T]`."""
        there_B1T = attention_mask[:, None].to(self.embedding.weight.dtype)
        x_BDT = self.embedding(input_ids).transpose(1, 2) * there_B1T
        largest = [(conv(x_BDT).relu() * there_B1T).amax(dim=-1) for conv in self.convolutions]
        logits: Tensor = self.head(self.dropout(torch.cat(largest, dim=-1)))
        return logits


def build(num_classes: int, vocab_size: int) -> TextCnn:
    """The network for a set of texts."""
    return TextCnn(num_classes, vocab_size)
