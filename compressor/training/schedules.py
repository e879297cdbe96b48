"""What changes over a run (learning rate, weights and temperatures of losses) as pure functions of how far it has come.

So a resumed run needs no schedule state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from compressor.recipe import RampSettings

Schedule = Literal["cosine", "step", "one_cycle", "constant"]
_ONE_CYCLE_START = 1 / 25


def factor(
    schedule: Schedule,
    *,
    step: int,
    total: int,
    warmup: int,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
) -> float:
    """The learning rate of `step` as a share of the peak.

    Args:
        schedule: `cosine` falls to 0 (Loshchilov & Hutter 2017, no restarts); `step` is multiplied by `gamma` at each
            milestone; `one_cycle` rises from 1/25 for at least 30 % of the run, then falls to 0 (Smith & Topin 2018);
            `constant` stays at 1. All but `one_cycle` rise linearly from 0 during `warmup`.
        step: From 0 to `total` − 1.
        total: Steps of the whole run.
        warmup: Steps of the linear warm-up.
        milestones: Shares of the run, for `step`.
        gamma: Factor at each milestone, for `step`.
    """
    if schedule == "one_cycle":
        return _one_cycle(step, total, max(warmup, round(0.3 * total)))
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "cosine":
        return _half_cosine((step - warmup) / max(1, total - warmup))
    if schedule == "step":
        passed: int = sum(step >= share * total for share in milestones)
        return float(gamma**passed)
    return 1.0


def _one_cycle(step: int, total: int, rise: int) -> float:
    if step < rise:
        return _ONE_CYCLE_START + (1 - _ONE_CYCLE_START) * (1 - _half_cosine(step / rise))
    return _half_cosine((step - rise) / max(1, total - rise))


def _half_cosine(progress: float) -> float:
    """From 1 at 0 to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def ramped(ramp: RampSettings, progress: float) -> float:
    """The value of a ramp after this share of the run (0 to 1)."""
    if ramp.shape == "constant":
        return ramp.end
    done = min(1.0, max(0.0, (progress - ramp.after) / max(1e-9, ramp.until - ramp.after)))
    share = done if ramp.shape == "linear" else 1 - _half_cosine(done)
    return ramp.start + (ramp.end - ramp.start) * share
