"""What is subtracted from and divided into pixels before a network sees them; part of the network, in 0–1 units.

Where a network that is trained here tells numbers, what it gives is brought to their unit behind it. Where a network gives
probabilities, they become logits behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compressor.errors import ModelError


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, in units of pixels scaled to 0–1.

    Attributes:
        name: Where the numbers come from (`data`, `imagenet`, `half`, `none`, `stated`, `pretrained`).
        mean: One value per channel.
        std: One value per channel, positive.
        outputs: Mean and standard deviation that answers are brought to, one value of each per output; empty: as they are.
        probabilities: What the network ends in that logits are taken back from: `softmax`, `sigmoid`; empty for neither.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    outputs: tuple[tuple[float, ...], ...] = ()
    probabilities: Literal["", "softmax", "sigmoid"] = ""

    def __str__(self) -> str:
        def numbers(values: Sequence[float]) -> str:
            return ", ".join(f"{value:.4g}" for value in values)

        return self.name if self.name == "none" else f"{self.name} (mean {numbers(self.mean)}; std {numbers(self.std)})"


def named(name: str, *, channels: int, statistics: tuple[Sequence[float], Sequence[float]]) -> Normalisation:
    """The normalisation called `name` for inputs of `channels` channels (or features).

    Args:
        name: `data`, `imagenet`, `half` or `none`.
        channels: Length of the result.
        statistics: Mean and standard deviation of the training data, for `data`.

    Raises:
        ModelError: `imagenet` for inputs that have not three channels (grey ones take the mean of the three).
    """
    if name == "data":
        return Normalisation("data", tuple(statistics[0]), tuple(statistics[1]))
    if name == "half":
        return Normalisation("half", (0.5,) * channels, (0.5,) * channels)
    if name == "none":
        return Normalisation("none", (0.0,) * channels, (1.0,) * channels)
    assert name == "imagenet"
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    if channels == 3:
        return Normalisation("imagenet", mean, std)
    raise ModelError(
        f"normalise = 'imagenet' needs 3 channels, the data has {channels}",
        where="normalise",
        hint="use 'data', 'half', 'none' or [means, stds]",
    )


def stated(mean: Sequence[float], std: Sequence[float], *, channels: int) -> Normalisation:
    """The normalisation whose numbers the user wrote.

    Raises:
        ModelError: The lengths are not `channels`, or a standard deviation is not positive.
    """
    if len(mean) != channels or len(std) != channels:
        raise ModelError(
            f"{len(mean)} means and {len(std)} standard deviations for {channels} channels", where="normalise"
        )
    for value in std:
        if not value > 0:
            raise ModelError(f"a standard deviation of {value} is not positive", where="normalise")
    return Normalisation("stated", tuple(mean), tuple(std))
