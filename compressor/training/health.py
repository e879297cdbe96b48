"""Notice a run that is past saving, and say where it broke and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NoReturn

from compressor.errors import DivergenceError

_EXPLODED = 50.0
_FLOOR = 5.0
_SMOOTHING = 0.9


class Health:
    """Watches the loss parts of each step.

    A loss has exploded when its moving average is above 5 and fifty times the lowest it has been since its weights and
    options are constant: one that is warmed up grows from nothing.
    """

    def __init__(self) -> None:
        self._average: float | None = None
        self._lowest = math.inf

    def check(
        self, parts: Mapping[str, float], *, step: int, lr: float, suspects: Mapping[str, bool], changing: bool = False
    ) -> None:
        """Look at one step.

        Args:
            parts: Value of each weighted loss part.
            step: Optimiser step, from 0.
            lr: Learning rate of the step.
            suspects: What else was seen not to be finite (`"the teacher's logits"`, ...).
            changing: Whether a weight or an option of a loss is on its way to its last value.

        Raises:
            DivergenceError: A part is not finite, or the sum has exploded.
        """
        broken = [name for name, value in parts.items() if not math.isfinite(value)]
        if broken:
            cause = next((name for name, is_broken in suspects.items() if is_broken), None)
            raise DivergenceError(
                f"loss '{broken[0]}' is {parts[broken[0]]} at step {step}"
                + (f": {cause} are not finite" if cause else ""),
                where="training",
                hint=_advice(cause, lr),
            )
        total = sum(parts.values())
        self._average = total if self._average is None else _SMOOTHING * self._average + (1 - _SMOOTHING) * total
        self._lowest = self._average if changing else min(self._lowest, self._average)
        if self._average > _FLOOR and self._average > _EXPLODED * self._lowest:
            worst = max(parts, key=lambda name: parts[name])
            raise DivergenceError(
                f"the loss has exploded: {self._average:.3g} at step {step}, after {self._lowest:.3g}; "
                f"most of it is '{worst}'",
                where="training",
                hint=_advice(None, lr),
            )

    def broken_weight(self, name: str, *, step: int, lr: float) -> NoReturn:
        """A weight was found not to be finite after optimiser step `step`.

        Raises:
            DivergenceError: Always.
        """
        raise DivergenceError(
            f"the weight '{name}' is not finite after step {step}", where="training", hint=_advice(None, lr)
        )


def _advice(cause: str | None, lr: float) -> str:
    if cause and cause.startswith("the teacher"):
        return "the teacher itself is broken on this data: compress evaluate TEACHER --data D"
    if cause and cause.startswith("the inputs"):
        return "look at the data and its normalisation: compress inspect, [teacher] normalise = ..."
    return f"lower the learning rate (--lr {lr / 3:.2g}), clip gradients (clip_norm = 1) or lengthen the warm-up"
