"""What a view is: an augmentation that says which inputs it reads and what becomes of the targets.

A member is a subclass of `View` (or of `MixingView`, where a sample is mixed with another one). Its first option is what
`[data.views]` holds under its name; a view of one's own is listed with its options in `data.views.own`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from compressor.tensors import MASK, TensorSpec
from compressor.views._stream import Draw

Effect = Literal["moved", "unsure", "spoiled"]
MOVED: Effect = "moved"
"""The target moves with the input: `move` does it."""
UNSURE: Effect = "unsure"
"""The target may be made untrue: `auto` stays off, and who states the view knows that it is not."""
SPOILED: Effect = "spoiled"
"""The target is made untrue and cannot be moved: the view is refused."""


class View:
    """Changes the inputs of samples, each by itself: a pure function of the sample and of its random numbers.

    Attributes:
        order: When its turn comes; views of one's own come after all of ours, and mixing comes last.
        targets: What it does to targets, by name; one that is not named stays as it is and stays true.
        wants: How inputs that it cannot read are refused; `{name}` and `{value}` stand for what was stated.
    """

    order: ClassVar[int] = 100
    targets: ClassVar[Mapping[str, Effect]] = {MASK: SPOILED}
    wants: ClassVar[str] = "{name} reads none of the inputs"

    def reads(self, spec: TensorSpec) -> bool:
        """Whether it changes this input."""
        raise NotImplementedError

    def check(self, spec: TensorSpec) -> None:
        """Refuse an input that it reads and that does not suit its options.

        Raises:
            DataError: It does not.
        """

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        """What is shown of `inputs`, in the same shape, type and place.

        Args:
            inputs: `[B, ...]` as stored: pixels in uint8, or in float32 0–1; other numbers as they are.
            draw: Random numbers of the view, for each sample its own; nothing else may be random.
        """
        raise NotImplementedError

    def move(self, name: str, target: Tensor, draw: Draw) -> Tensor:
        """A target that is `MOVED`, as it belongs to what `__call__` makes of the input with the same random numbers.

        Args:
            name: Of the target.
            target: `[B, ...]`.
            draw: As for the input.
        """
        raise NotImplementedError

    @classmethod
    def auto(cls, spec: TensorSpec, *, beside: Collection[str]) -> tuple[Any, str]:
        """What `auto` comes to for an image, and why; of a member whose setting may be `auto`.

        Args:
            spec: The image.
            beside: Names of the views that are stated.
        """
        raise NotImplementedError

    @staticmethod
    def told(value: Any) -> str:
        """How a decision tells the value of `auto`."""
        return str(value)


class MixingView:
    """Mixes each sample with a partner: a weight for each of its numbers, and its share of the targets.

    Attributes:
        order: Which comes first where several mix; each then has its share of the views.
        targets: As of a `View`.
        wants: As of a `View`.
    """

    order: ClassVar[int] = 200
    targets: ClassVar[Mapping[str, Effect]] = {MASK: SPOILED}
    wants: ClassVar[str] = "{value} asks for an image"

    def reads(self, spec: TensorSpec) -> bool:
        """Whether it can mix this input."""
        raise NotImplementedError

    def check(self, spec: TensorSpec) -> None:
        """Refuse an input that it reads and that does not suit its options; raises `DataError`."""

    def weights(self, inputs: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """How much of each sample is its own.

        Args:
            inputs: `[B, ...]` float32, for their shape and device.
            draw: Random numbers of the view.

        Returns:
            The weight of each of its numbers, 0–1, in a shape that spreads over that of `inputs`; and its share of the
            targets, `[B]` float32.
        """
        raise NotImplementedError
