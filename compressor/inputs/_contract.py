"""What a kind of input is: everything that the house knows of a tensor beyond its shape and type.

A kind is found by looking at the tensor, or is named by the format (`TensorSpec.kind`), which is how data brings a kind of
its own. An input that no kind claims goes through the whole chain as well, as plain numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from compressor import registry
from compressor.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compressor.tensors import Schema

_MEASURED = ("uint8", "float32")  # class numbers and token ids are no measurements


class InputKind:
    """One kind of input. One of your own is a subclass; what it leaves as it is holds for plain numbers of any shape.

    Attributes:
        layout: Its axes behind the batch, as exported files name them: `CHW`.
        of_columns: Whether its numbers are columns of a table: each in a unit of its own, or of categories, and one may
            hardly ever change, so that statistics take every sample.
        same_means_same: Whether two samples that are alike to the last bit are the same thing.
        guide: What whoever deploys a model must do to make its inputs, for the README of a pack; empty where nothing.
    """

    layout: ClassVar[str] = "F"
    of_columns: ClassVar[bool] = False
    same_means_same: ClassVar[bool] = False
    guide: ClassVar[str] = ""

    def claims(self, spec: TensorSpec) -> bool:
        """Whether an input is of this kind."""
        return False

    def normalizations(self, spec: TensorSpec) -> tuple[str, ...]:
        """What a trained network may have been given such inputs in, in the order in which it is tried; none for numbers
        that measure nothing."""
        return ("none", "data") if spec.dtype in _MEASURED else ()

    def arguments(self, shape: Sequence[int]) -> dict[str, int]:
        """Arguments that the builder of a network may take for samples of this shape, under the field's names."""
        return {}

    def contract(self, spec: TensorSpec, *, scaled: str) -> dict[str, Any]:
        """What an exported file says of its input: `layout`, `dtype`, `range` and `shape`.

        Args:
            spec: The input.
            scaled: What is done to it outside of the file besides, in words; empty where nothing is.
        """
        return {
            "layout": f"N{self.layout}",
            "dtype": "float32",
            "range": f"as in the data{scaled}",
            "shape": ["batch", *spec.shape],
        }

    def pictures(self, array: NDArray[Any]) -> NDArray[np.uint8] | None:
        """Samples `[B, ...]` as pictures `[B, 1 or 3, H, W]` for a report; None where they are none."""
        return None


def kind_of(spec: TensorSpec) -> InputKind:
    """The kind of an input: the one that it names, or the one that claims it; else plain numbers.

    Raises:
        UnknownNameError: It names one that there is not.
    """
    if spec.kind:
        named: InputKind = registry.find("inputs", spec.kind).load()()
        return named
    return next((kind for kind in _kinds() if kind.claims(spec)), InputKind())


def only_kind(inputs: Schema) -> InputKind:
    """The kind of the one input that samples are made of; that of plain numbers where there are several."""
    return InputKind() if inputs.only is None else kind_of(inputs.only)


def arguments_of(shape: Sequence[int], *, kind: str = "") -> Mapping[str, int]:
    """Arguments that a builder may take for samples of one input of this shape, in floating point."""
    return kind_of(TensorSpec("input", "float32", tuple(shape), kind=kind)).arguments(shape)


@cache
def _kinds() -> tuple[InputKind, ...]:
    return tuple(member.load()() for member in registry.members("inputs"))
