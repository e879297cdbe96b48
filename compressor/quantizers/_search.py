"""Which layers stay in float: first those that quantizing makes slower, then those that cost accuracy, alone or together.

What is measured comes from the caller, so that the order of things can be seen and tested without models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compressor.measure.statistics import Interval

_CLEARLY_SLOWER = -0.02  # of the float model's time: less than that is noise of a profile


@dataclass(frozen=True)
class Step:
    """One variant that was looked at.

    Attributes:
        reverted: Layers that went back to float in this step.
        why: The reason to try it.
        metric: The task's metric on validation afterwards.
        kept: Whether it stayed that way.
    """

    reverted: tuple[str, ...]
    why: str
    metric: float
    kept: bool


@dataclass(frozen=True)
class Found:
    """Where the search ended.

    Attributes:
        keep_float: Layers that stay in float.
        metric: Of the variant that leaves them so.
        within: Whether the metric keeps to what was allowed.
        steps: How it came to that.
    """

    keep_float: frozenset[str]
    metric: float
    within: bool
    steps: tuple[Step, ...]


def search(
    layers: Sequence[str],
    *,
    gain_ms: Mapping[str, float],
    float_ms: float,
    metric: Callable[[frozenset[str]], float],
    faster: Callable[[frozenset[str], frozenset[str]], Interval],
    worst_first: Callable[[frozenset[str]], Sequence[str]],
    lowest: float | None,
    between: Sequence[str] = (),
) -> Found:
    """The variant with the most quantized layers that is not slowed down by any and keeps the metric.

    Args:
        layers: What can be quantized.
        gain_ms: Layer -> milliseconds that quantizing it saves.
        float_ms: Of the float model, by the same measure.
        metric: Layers left in float -> the task's metric.
        faster: Two such sets -> how many times faster the second variant is than the first, measured side by side.
        worst_first: Layers left in float already -> the others, the most harmful for their time first.
        lowest: The least metric that will do; None for any.
        between: What is quantized beside the layers, which saves no time by itself: additions, activations, pooling.
    """
    kept: frozenset[str] = frozenset()
    best = metric(kept)
    steps = [Step((), "all layers quantized", best, True)]
    slow = frozenset(layer for layer in layers if gain_ms.get(layer, 0.0) < _CLEARLY_SLOWER * float_ms)
    if slow:
        value = metric(slow)
        helps = faster(kept, slow).low > 1.0
        steps.append(Step(tuple(sorted(slow)), "the profile says they are slower than in float", value, helps))
        if helps:
            kept, best = slow, value
    if lowest is None or best >= lowest:
        return Found(kept, best, True, tuple(steps))
    order = worst_first(kept)
    for layer in order:
        value = metric(kept | {layer})
        helps = value > best
        steps.append(Step((layer,), "it harms the answers most for the time it saves", value, helps))
        if helps:
            kept, best = kept | {layer}, value
        if best >= lowest:
            return Found(kept, best, True, tuple(steps))
    if between:
        value = metric(kept.union(between))
        helps = value > best
        steps.append(Step(tuple(between), "what lies between layers harms the answers", value, helps))
        if helps:
            kept, best = kept.union(between), value
        if best >= lowest:
            return Found(kept, best, True, tuple(steps))
    harmful = [layer for layer in order if layer not in kept]
    others = sorted(set(layers) - kept - set(harmful), key=lambda layer: (gain_ms.get(layer, 0.0), layer))
    rest = [name for name in between if name not in kept]
    tried, best_together = _fewest(kept, [*harmful, *others, *rest], metric=metric, lowest=lowest)
    steps += tried
    if best_together is None:
        return Found(kept, best, False, tuple(steps))
    return Found(kept | set(best_together.reverted), best_together.metric, True, tuple(steps))


def _fewest(
    kept: frozenset[str], order: Sequence[str], *, metric: Callable[[frozenset[str]], float], lowest: float
) -> tuple[list[Step], Step | None]:
    """Layers of which no one alone is enough go back together: the first few of `order`, found by halving.

    Returns:
        What was tried, and of it the step with the fewest layers that reaches `lowest`; None where not even all of them,
        the float model, do.
    """

    def back(count: int) -> Step:
        layers = tuple(order[:count])
        value = metric(kept | set(layers))
        why = "no layer alone is enough; together, the most harmful first"
        return Step(layers, why, value, value >= lowest)

    too_few, enough, best = 0, len(order), back(len(order))
    steps = [best]
    while best.kept and enough - too_few > 1:
        step = back((too_few + enough) // 2)
        steps.append(step)
        if step.kept:
            enough, best = len(step.reverted), step
        else:
            too_few = len(step.reverted)
    return steps, best if best.kept else None
