"""Numbers about samples of time and of success, with how far they can be trusted.

Sources: percentiles by linear interpolation (Hyndman & Fan 1996, type 7); the percentile bootstrap (Efron & Tibshirani
1993, ch. 13), in two stages for blocks within processes (Davison & Hinkley 1997, sec. 3.8; why a process is the unit:
Kalibera & Jones 2013); the score interval of a share (Wilson 1927, in the form of Brown, Cai & DasGupta 2001, eq. 4);
the exact test of paired shares (McNemar 1947) and the interval of their difference (Bonett & Price 2012, eq. 3); quantiles
of Student's t (Abramowitz & Stegun, table 26.10 and eq. 26.7.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from compressor.errors import MeasurementError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_SAMPLES_FOR_P99 = 1000
_T_OF_FEW = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # where the expansion is not near enough


@dataclass(frozen=True)
class LatencySummary:
    """What a set of latencies comes to; `p99_ms` is None below 1 000 samples, where it would rest on ten of them."""

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float | None
    min_ms: float
    std_ms: float


@dataclass(frozen=True)
class Interval:
    """A ratio and the interval that holds it with probability `level`."""

    ratio: float
    low: float
    high: float
    level: float = 0.95


def summarise(samples_ms: NDArray[np.float64]) -> LatencySummary:
    """Describe the latencies of single inferences.

    Args:
        samples_ms: `[N]` milliseconds.

    Raises:
        MeasurementError: There are no samples.
    """
    if not len(samples_ms):
        raise MeasurementError("nothing was timed, so there is nothing to summarise")
    p50, p90, p95, p99 = np.percentile(samples_ms, [50, 90, 95, 99])
    return LatencySummary(
        count=len(samples_ms),
        mean_ms=float(np.mean(samples_ms)),
        p50_ms=float(p50),
        p90_ms=float(p90),
        p95_ms=float(p95),
        p99_ms=float(p99) if len(samples_ms) >= FEWEST_SAMPLES_FOR_P99 else None,
        min_ms=float(np.min(samples_ms)),
        std_ms=float(np.std(samples_ms, ddof=1)) if len(samples_ms) > 1 else 0.0,
    )


def percentile_interval(starts: Sequence[NDArray[np.float64]], percentile: float) -> tuple[float, float] | None:
    """The 95 % interval of a percentile of latencies, from how far the starts differ: Student's t of their logarithms.

    Samples of one start are disturbed alike and share where its memory lies, so that among themselves they say nothing of
    the next start (docs/decisions/027).

    Args:
        starts: The latencies of each start, milliseconds above 0.
        percentile: 0 to 100; the interval lies about that of all samples together.

    Returns:
        Both ends; None of a single start.
    """
    if len(starts) < 2:
        return None
    logs = np.log([np.percentile(each, percentile) for each in starts])
    half = _t(len(starts) - 1) * float(logs.std(ddof=1)) / len(starts) ** 0.5
    middle = float(np.percentile(np.concatenate(starts), percentile))
    return middle * math.exp(-half), middle * math.exp(half)


def paired_speedup(
    base_blocks: Sequence[NDArray[np.float64]],
    other_blocks: Sequence[NDArray[np.float64]],
    *,
    starts: int = 1,
    seed: int = 0,
    resamples: int = 2000,
) -> Interval:
    """How many times faster `other` is than `base`: the median over blocks of the ratio of their medians.

    Block i of one was timed next to block i of the other, so what slows the machine down slows both and leaves their
    ratio alone. The interval is the 95 % percentile bootstrap over blocks: samples within a block are not independent.
    Nor are the blocks of one pair of processes, whose memory lies as it happens to lie: where the models were started
    several times, starts are resampled first, then the blocks of each.

    A bootstrap over few draws is too narrow: the ends are moved out as in the expanded percentile interval (Hesterberg 2015,
    arXiv 1411.5279), by the number of starts for the variance and by that of all blocks for the tails.

    Args:
        base_blocks: Latencies of the slower (or reference) model, one array for each block.
        other_blocks: Latencies of the other model in the same rounds.
        starts: How often the models were started; blocks are shared out among starts as `blocks_of_starts` says.
        seed: Seed of the resampling.
        resamples: Number of bootstrap resamples.

    Raises:
        MeasurementError: The numbers of blocks differ, or there are fewer than two.
    """
    if len(base_blocks) != len(other_blocks) or len(base_blocks) < 2:
        raise MeasurementError(
            f"{len(base_blocks)} and {len(other_blocks)} blocks cannot be paired; it takes two or more, equally many"
        )
    pairs = zip(base_blocks, other_blocks)
    ratios = np.array([np.median(base) / np.median(other) for base, other in pairs])
    sizes = blocks_of_starts(len(ratios), starts)
    drawn = _drawn(sizes, resamples, np.random.default_rng(seed))
    ratio = float(np.median(ratios))
    ends = np.percentile(np.median(ratios[drawn], axis=1), [2.5, 97.5])
    low, high = ratio * (ends / ratio) ** _few_draws(len(sizes) if len(sizes) > 1 else len(ratios), of=len(ratios))
    return Interval(ratio, float(low), float(high))


def _few_draws(number: int, *, of: int) -> float:
    """How much wider than its bootstrap an interval is that rests on `number` draws `of` so many blocks."""
    return float((number / (number - 1)) ** 0.5 * _by_expansion(of - 1) / NormalDist().inv_cdf(0.975))


def _t(free: int) -> float:
    """The 97.5 % quantile of Student's t with so many degrees of freedom."""
    return _T_OF_FEW[free - 1] if free <= len(_T_OF_FEW) else _by_expansion(free)


def _by_expansion(free: int) -> float:
    z = NormalDist().inv_cdf(0.975)
    return (
        z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    )  # Abramowitz and Stegun, 26.7.5


def blocks_of_starts(blocks: int, starts: int) -> list[int]:
    """How many of the blocks, in their order, each start gives: as equally as can be."""
    starts = max(1, min(starts, blocks))
    return [blocks // starts + (number < blocks % starts) for number in range(starts)]


def _drawn(sizes: Sequence[int], resamples: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """`[resamples, ...]`: positions of blocks, drawn from starts that were drawn; of a single start, blocks alone."""
    if len(sizes) == 1:
        return generator.integers(sizes[0], size=(resamples, sizes[0]))
    begins, lengths = np.cumsum([0, *sizes[:-1]]), np.array(sizes)
    chosen = generator.integers(len(sizes), size=(resamples, len(sizes), 1))
    within = generator.random((resamples, len(sizes), max(sizes)))
    positions: NDArray[np.int64] = begins[chosen] + np.floor(within * lengths[chosen]).astype(np.int64)
    return positions.reshape(resamples, -1)


@dataclass(frozen=True)
class PairedDifference:
    """Two sets of right and wrong answers to the same samples.

    Attributes:
        base_only: Samples that the base alone answers rightly.
        other_only: Samples that the other alone answers rightly.
        difference: Share of right answers of the other minus that of the base.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        p_value: Probability of at least this imbalance if both were equally good.
    """

    base_only: int
    other_only: int
    difference: float
    low: float
    high: float
    p_value: float


def paired_difference(base_right_N: NDArray[np.bool_], other_right_N: NDArray[np.bool_]) -> PairedDifference:
    """Whether one model answers better than another, by the samples on which they differ: McNemar's exact test.

    Args:
        base_right_N: Whether the base answers each sample rightly.
        other_right_N: Whether the other does.

    Raises:
        MeasurementError: There are no samples, or not equally many.
    """
    count = len(base_right_N)
    if not count or count != len(other_right_N):
        raise MeasurementError(f"{count} and {len(other_right_N)} answers cannot be paired")
    base_only = int((base_right_N & ~other_right_N).sum())
    other_only = int((other_right_N & ~base_right_N).sum())
    gained, lost = (other_only + 1) / (count + 2), (base_only + 1) / (count + 2)
    half = NormalDist().inv_cdf(0.975) * ((gained + lost - (gained - lost) ** 2) / (count + 2)) ** 0.5
    return PairedDifference(
        base_only=base_only,
        other_only=other_only,
        difference=(other_only - base_only) / count,
        low=max(-1.0, gained - lost - half),
        high=min(1.0, gained - lost + half),
        p_value=_sign_test(base_only, other_only),
    )


def _sign_test(one: int, other: int) -> float:
    """Two-sided probability of `one` to `other` or worse among fair coins."""
    return 1.0 if one == other else min(1.0, 2 * _tail(min(one, other), one + other))


def more_than_fair(more: int, fewer: int) -> float:
    """One-sided probability of at least `more` to `fewer` among fair coins: the sign test of one being better."""
    return 1.0 if more <= fewer else _tail(fewer, more + fewer)


def _tail(fewer: int, total: int) -> float:
    """Probability of at most `fewer` heads of `total` fair coins, summed in logarithms."""
    logs = [math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in range(fewer + 1)]
    largest = max(logs)
    return math.exp(largest + math.log(math.fsum(math.exp(value - largest) for value in logs)) - total * math.log(2))


@dataclass(frozen=True)
class ResampledDifference:
    """Two sets of predictions for the same samples, by a metric that follows from sums over samples.

    Attributes:
        difference: Metric of the other minus that of the base.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        p_value: Two-sided: twice the share of resamples in which the difference has the other sign or is 0.
        resamples: Of how many.
    """

    difference: float
    low: float
    high: float
    p_value: float
    resamples: int


_RESAMPLES = 2000
_RESAMPLED_AT_ONCE = 50

OfSums = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]
"""From sums over samples `[R, S]` to the metric `[R]`."""


def resampled_interval(statistics_NS: NDArray[np.float64], of_sums: OfSums) -> tuple[float, float]:
    """The 95 % interval of a metric over samples that are drawn again with replacement (percentile bootstrap, seed 0).

    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    metrics_R = np.concatenate([of_sums(counts @ statistics_NS) for counts in _draws(len(statistics_NS))])
    low, high = np.nanpercentile(metrics_R, [2.5, 97.5])
    return float(low), float(high)


def resampled_difference(
    base_NS: NDArray[np.float64], other_NS: NDArray[np.float64], of_sums: OfSums, *, sign: int = 1
) -> ResampledDifference:
    """Whether one model does better than another: both are judged on the same samples, drawn again with replacement.

    Args:
        base_NS: What is summed of each sample for the base.
        other_NS: For the other.
        of_sums: From sums to the metric.
        sign: -1 for a metric of which less is better, so that a difference above 0 is always a gain.

    Raises:
        MeasurementError: There are no samples, or not equally many.
    """
    count = len(base_NS)
    if not count or count != len(other_NS):
        raise MeasurementError(f"{count} and {len(other_NS)} samples cannot be paired")
    found_R = np.concatenate(
        [sign * (of_sums(counts @ other_NS) - of_sums(counts @ base_NS)) for counts in _draws(count)]
    )
    found_R = found_R[np.isfinite(found_R)]
    whole = float(sign * (of_sums(other_NS.sum(axis=0)[None]) - of_sums(base_NS.sum(axis=0)[None]))[0])
    low, high = (float(each) for each in np.percentile(found_R, [2.5, 97.5])) if len(found_R) else (-np.inf, np.inf)
    beyond = (min(int((found_R <= 0).sum()), int((found_R >= 0).sum())) + 1) / (len(found_R) + 1)
    return ResampledDifference(whole, low, high, min(1.0, 2 * beyond), len(found_R))


def _draws(count: int) -> Iterator[NDArray[np.float64]]:
    """How often each of `count` samples is drawn, `[R, N]`, a part of the resamples at a time; the same at every call."""
    generator = np.random.default_rng(0)
    for first in range(0, _RESAMPLES, _RESAMPLED_AT_ONCE):
        rows = min(_RESAMPLED_AT_ONCE, _RESAMPLES - first)
        drawn = generator.integers(count, size=(rows, count))
        yield np.stack([np.bincount(each, minlength=count) for each in drawn]).astype(np.float64)


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """The interval of a share of `successes` among `n` trials; sound near 0 and 1 and for few trials.

    Raises:
        MeasurementError: There are no trials.
    """
    if n < 1:
        raise MeasurementError("a share of no trials has no interval")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)
