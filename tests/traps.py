"""Networks whose TorchScript writes over a file: what must not happen before a program is trusted."""

from __future__ import annotations

import torch
from torch import nn


class WritesInForward(nn.Module):
    """A network whose forward writes over a file."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place
        self.linear = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        held = torch.from_file(self.place, shared=True, size=4, dtype=torch.uint8)
        return self.linear(x.flatten(1)) + held.fill_(88).sum()


class WritesAtLoading(nn.Module):
    """A network that writes over a file when its state is restored."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place
        self.held = torch.zeros(4, dtype=torch.uint8)
        self.training = False

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.place, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.place = state[0]
        self.training = state[1]
        self.held = torch.from_file(self.place, shared=True, size=4, dtype=torch.uint8).fill_(88)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :3]
