"""How large axes that vary are: what samples have, what is usual, and real samples brought to a size for timing.

Not covered: what a batch is padded to (the samples say that themselves).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compressor.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.tensors import Schema

    Sizes = Mapping[str, int]
    """The size of each axis that varies, by its name."""

_LOOKED_AT = 256  # samples, spread over all, from which the usual size is taken


class Sized(Protocol):
    """The part of a data set that is needed here."""

    @property
    def inputs(self) -> Schema:
        """What a sample is made of."""
        ...

    def __len__(self) -> int: ...

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The inputs at `positions`, each `[B, ...]`."""
        ...


def of_each(samples: Sized, positions: Sequence[int]) -> list[dict[str, int]]:
    """The sizes of samples at some positions, each by itself and so without padding."""
    found = []
    for position in positions:
        sample = samples.fetch(np.array([position], dtype=np.int64))
        found.append(
            {
                axis: sample[spec.name].shape[number]
                for spec in samples.inputs
                for number, axis in enumerate(spec.shape, start=1)
                if isinstance(axis, str)
            }
        )
    return found


def usual(samples: Sized) -> dict[str, int]:
    """The median size of each axis that varies; nothing where none does."""
    if not samples.inputs.varying:
        return {}
    spread = np.unique(np.linspace(0, len(samples) - 1, min(_LOOKED_AT, len(samples))).astype(np.int64))
    seen = of_each(samples, spread.tolist())
    return {axis: max(1, int(np.median([each[axis] for each in seen]))) for axis in samples.inputs.varying}


def timed(shapes: Mapping[str, Sequence[int]], samples: Sized) -> list[dict[str, int]]:
    """The sizes to time models at, one after another; a single empty one where no axis varies.

    Args:
        shapes: Sizes for axes, by name; one, or as many as every other axis has that is given several. What is not named
            has its usual size.
        samples: Whose axes they are.

    Raises:
        InputError: An axis does not vary, or axes have different numbers of sizes.
    """
    varying = samples.inputs.varying
    for axis in shapes:
        if axis not in varying:
            hint = f"what varies is {', '.join(varying)}" if varying else "leave bench.shapes out: no axis varies"
            raise InputError(f"no axis '{axis}' of these samples varies", where=f"bench.shapes.{axis}", hint=hint)
    numbers = {len(sizes) for sizes in shapes.values()} - {1}
    if len(numbers) > 1:
        told = ", ".join(f"{len(sizes)} of {axis}" for axis, sizes in shapes.items())
        raise InputError(f"{told} do not go together", where="bench.shapes", hint="give one size, or as many of each")
    known = usual(samples) if set(varying) - shapes.keys() else {}
    return [
        {axis: shapes[axis][turn % len(shapes[axis])] if axis in shapes else known[axis] for axis in varying}
        for turn in range(numbers.pop() if numbers else 1)
    ]


def fitted(samples: Sized, positions: NDArray[np.int64], sizes: Sizes) -> dict[str, NDArray[Any]]:
    """Some samples as one batch, each `[B, ...]`: cut to sizes, or begun again at their end, so that nothing is padding."""
    if not samples.inputs.varying:
        return samples.fetch(positions)
    each = [samples.fetch(positions[number : number + 1]) for number in range(len(positions))]
    found = {}
    for spec in samples.inputs:
        rows = []
        for sample in each:
            array = sample[spec.name]
            for number, axis in enumerate(spec.shape, start=1):
                if isinstance(axis, str):
                    array = array.take(np.arange(sizes[axis]) % array.shape[number], axis=number)
            rows.append(array)
        found[spec.name] = np.concatenate(rows)
    return found


def for_timing(samples: Sized, sizes: Sizes | None = None, *, most: int) -> dict[str, NDArray[Any]]:
    """The first samples, at sizes; at the usual ones by default."""
    positions = np.arange(min(most, len(samples)), dtype=np.int64)
    return fitted(samples, positions, usual(samples) if sizes is None else sizes)


def in_words(sizes: Sizes) -> str:
    """The sizes as a reader meets them: "16 tokens"; nothing where no axis varies."""
    return " x ".join(f"{size} {axis}" for axis, size in sizes.items())


def condition(profile: str, sizes: Sizes) -> str:
    """What timings under a profile at these sizes are called: "edge", "edge at 16 tokens"."""
    return f"{profile} at {in_words(sizes)}" if sizes else profile


def profile_of(condition: str) -> str:
    """The profile in what `condition` gave."""
    return condition.partition(" at ")[0]
