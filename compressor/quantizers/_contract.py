"""What a quantizer is, and what it is given: an ONNX file, pictures to calibrate with, and the CPU it is made for.

Post-training members take two steps, so that a search can write many variants and calibrate once:

    prepared = Static().prepare(source, calibration=..., cpu=..., scratch=...)
    prepared.write(destination, keep_float={"node_conv2d_3"})

`qat` trains and has a form of its own (see its file).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from compressor.artifact import Decision

Integer = Literal["uint8", "int8"]


@dataclass(frozen=True)
class Cpu:
    """The kind of CPU a model is quantized for.

    Attributes:
        name: `x86-avx2`, `x86-vnni` or `arm64`.
        activations: The type of quantized activations.
        weights: The type of quantized weights.
        reduce_range: Whether weights keep to 7 bits, since two products of 8 bits would saturate a sum of 16 there.
        reason: Why these choices, in a sentence.
    """

    name: str
    activations: Integer
    weights: Integer
    reduce_range: bool
    reason: str


class Calibration(Protocol):
    """Samples that show a quantizer the range of activations; from the training data, never from the test set."""

    def __len__(self) -> int:
        """How many samples."""
        ...

    def batches(self) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Batches by input name, prepared as the model takes them; the same ones every time."""
        ...


class Prepared(Protocol):
    """A float model that has been looked at and calibrated, ready to be written with any part of it quantized."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes, in the order they run, that may be quantized."""
        ...

    @property
    def float_model(self) -> Path:
        """The float ONNX file that node names refer to: pre-processed (shapes inferred, BatchNorm folded)."""
        ...

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What was chosen on the way, and why."""
        ...

    def write(self, destination: Path, *, keep_float: Collection[str] = ()) -> None:
        """Write the quantized model, with the nodes in `keep_float` left as they were."""
        ...


class PostTraining(Protocol):
    """A quantizer that needs no training.

    Attributes:
        needs_calibration: Whether it looks at samples.
    """

    needs_calibration: bool

    def prepare(self, source: Path, *, calibration: Calibration, cpu: Cpu, scratch: Path) -> Prepared:
        """Look at a float ONNX model.

        Args:
            source: The float model, as `stages/export.py` writes it.
            calibration: Samples; not read when `needs_calibration` is false.
            cpu: What it is made for.
            scratch: A folder for intermediate files.

        Raises:
            ModelError: There is nothing in the model that this method quantizes.
        """
        ...
