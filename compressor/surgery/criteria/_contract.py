"""What a criterion is: it says how much each channel of a group matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from torch import Tensor

if TYPE_CHECKING:
    import torch_pruning

Needs = Literal["weights", "gradients", "sample_gradients"]


class Criterion(Protocol):
    """Scores the channels of a group of layers that can only be cut together.

    Attributes:
        needs: What must be there before it is called: the weights alone; `.grad` of every parameter, of the loss over some
            batches; or squared gradients summed over single samples.
    """

    needs: Needs

    def __call__(self, group: torch_pruning.Group) -> Tensor:
        """Scores `[width]` of the channels of the group's first layer; larger matters more. Finite, on the CPU."""
        ...
