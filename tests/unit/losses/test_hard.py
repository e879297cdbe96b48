"""The loss that needs no teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from compressor.losses.hard import Hard
from compressor.tasks.classification import Classification
from compressor.tensors import Batch, Outputs
from tests.named import named_batch

LABELS = torch.tensor([0, 2, 1])
NOTHING = Outputs.of(torch.empty(3, 0))


def batch(task: Classification) -> Batch:
    return named_batch(torch.zeros(3, 1), LABELS, torch.arange(3), -1, task)


def test_it_is_the_loss_of_the_task() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))

    assert torch.equal(Hard()(Outputs.of(logits), NOTHING, batch(Classification())), F.cross_entropy(logits, LABELS))


def test_the_task_smooths_its_labels() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(logits, LABELS, label_smoothing=0.2)

    assert torch.equal(Hard()(Outputs.of(logits), NOTHING, batch(Classification(label_smoothing=0.2))), expected)


def test_a_certain_and_right_answer_costs_nothing() -> None:
    logits = 100 * F.one_hot(LABELS, 4).float()

    assert Hard()(Outputs.of(logits), NOTHING, batch(Classification())).item() == 0.0
