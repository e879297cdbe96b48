"""What every runtime offers: a batch in, outputs out, both by name, in NumPy.

A runtime is constructed with `threads` (0: all cores this process may use), loads one model, answers, and is closed.
Inputs are samples as the data gives them, by name: `[B, C, H, W]` pixels (uint8 0–255, or float 0–1), `[B, F]` features,
int64 `[B, T]` tokens. The runtime turns them into what its model takes; `prepare` does only that, so that timing can leave
it out. A model of one input takes the one that a sample has; the output of a model of one is called `logits`.

One that deploys a file of its own format has `stored(path, folder)` as well, which writes that file of the model at `path`
into `folder` and gives its place: what is timed loads it, so that neither time nor memory of the conversion counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class OperatorTime:
    """What one operator of a model takes.

    Attributes:
        name: Of the node, or of the kernel where the runtime knows no nodes.
        op: Kind of operator.
        provider: What ran it: an execution provider, or a device.
        ms: Median milliseconds within one inference.
    """

    name: str
    op: str
    provider: str
    ms: float


class Runtime(Protocol):
    """What executes a model."""

    def unavailable(self) -> str | None:
        """Why this runtime cannot be used here, with the line that installs it; None when it can."""
        ...

    def load(self, path: Path) -> None:
        """Make the model at `path` ready to answer.

        Raises:
            ModelError: There is no model at `path` that this runtime can execute, or the runtime is not here.
        """
        ...

    def prepare(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """`inputs` in the layout and data type that the model takes; what is prepared already stays as it is."""
        ...

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The model's outputs for a batch, prepared or not, by name; float32 where they are floats.

        Raises:
            MeasurementError: No model is loaded, or the model cannot take these inputs.
        """
        ...

    def operators(self, inputs: Mapping[str, NDArray[Any]], *, runs: int) -> list[OperatorTime]:
        """Where an inference spends its time, operator by operator, by the runtime's own profiler.

        Raises:
            MeasurementError: No model is loaded, or the model cannot take these inputs.
        """
        ...

    def close(self) -> None:
        """Let go of the model; closing twice is fine."""
        ...

    def describe(self) -> dict[str, str | int]:
        """What really ran: `runtime`, `version`, `provider`, `threads`."""
        ...

    def file_size(self, path: Path) -> int:
        """Size in bytes of what is deployed of the model at `path`."""
        ...
