"""Numbers as people read them: one place for units, digits and signs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

from compressor.scores import Metric

ABSENT = "–"

_SIZE_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_COUNT_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def significant(value: float, *, digits: int = 3) -> str:
    """`value` with `digits` significant digits, thousands separated, never in exponent form."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ABSENT
    rounded = float(f"{value:.{digits - 1}e}")
    return f"{rounded:,.{max(0, digits - 1 - math.floor(math.log10(abs(rounded))))}f}"


def percent(share: float | None, *, digits: int = 2) -> str:
    """A share in 0–1 as a percentage."""
    return f"{share * 100:.{digits}f} %" if _known(share) else ABSENT


def percent_range(interval: tuple[float, float] | None) -> str:
    """An interval of shares in 0–1 as percentages."""
    if interval is None:
        return ABSENT
    low, high = (100 * bound for bound in interval)
    digits = 1 if high - low >= 1 else 2  # of a narrow one, one digit would round past the value itself
    return f"{low:.{digits}f}–{high:.{digits}f} %"


def points(difference: float | None) -> str:
    """A difference of shares in 0–1 as signed percentage points."""
    if not _known(difference):
        return ABSENT
    text = f"{abs(difference) * 100:.2f} points"
    return text if text.startswith("0.00") else f"{'+' if difference > 0 else '−'}{text}"


def headed(text: str) -> str:
    """Text as a heading begins."""
    return text[:1].upper() + text[1:]


def called(metric: Metric) -> str:
    """What texts call the metric: accuracy, where it is a share."""
    return "accuracy" if metric.is_share else metric.words


def measured(metric: Metric, value: float | None) -> str:
    """A value of a metric: a share as a percentage, else four significant digits in its unit."""
    if not _known(value):
        return ABSENT
    return percent(value) if metric.is_share else f"{significant(value, digits=4)} {metric.unit}".rstrip()


def measured_range(metric: Metric, interval: tuple[float, float] | None) -> str:
    """An interval of a metric, with its unit."""
    if metric.is_share or interval is None:
        return percent_range(interval)
    low, high = (significant(bound, digits=4) for bound in interval)
    return f"{low}–{high} {metric.unit}".rstrip()


def change(metric: Metric, difference: float | None) -> str:
    """A difference of a metric with its sign; `better` or `worse` where less of it is better, since a sign would mislead."""
    if not _known(difference):
        return ABSENT
    if metric.is_share and metric.larger_is_better:
        return points(difference)
    size = (
        f"{abs(difference) * 100:.2f} points"
        if metric.is_share
        else f"{significant(abs(difference))} {metric.unit}".rstrip()
    )
    if float(size.split()[0].replace(",", "")) == 0:
        return size
    if metric.larger_is_better:
        return f"{'+' if difference > 0 else '−'}{size}"
    return f"{size} {'better' if metric.gain(difference) > 0 else 'worse'}"


def change_range(metric: Metric, low: float, high: float) -> str:
    """An interval of a difference, both ends with their signs and without a unit: `−3.10 to +0.25`."""
    ends = f"{100 * low:+.2f} to {100 * high:+.2f}" if metric.is_share else f"{low:+.3g} to {high:+.3g}"
    return ends.replace("-", "−")


def milliseconds(value: float | None) -> str:
    """Milliseconds with three significant digits."""
    return f"{significant(value)} ms" if _known(value) else ABSENT


def size(num_bytes: float | None) -> str:
    """Bytes in decimal units (1 MB is 10^6 bytes), three significant digits."""
    if not _known(num_bytes):
        return ABSENT
    scale, unit = next((entry for entry in _SIZE_UNITS if num_bytes >= entry[0]), (1.0, "B"))
    return f"{significant(num_bytes / scale) if scale > 1 else f'{num_bytes:.0f}'} {unit}"


def megabytes(value: float | None) -> str:
    """Megabytes with three significant digits."""
    return f"{significant(value)} MB" if _known(value) else ABSENT


def conditions(threads: int, batch: int, sizes: Mapping[str, int] | None = None) -> str:
    """What a latency was measured under: `1 thread, batch 1, 16 tokens`; no threads stand for all cores."""
    cores = "all cores" if threads == 0 else f"{count(threads)} thread{'' if threads == 1 else 's'}"
    return ", ".join([f"{cores}, batch {batch}", *([of_sizes(sizes)] if sizes else [])])


def of_sizes(sizes: Mapping[str, int]) -> str:
    """How large axes that vary were: `16 tokens`."""
    return ", ".join(f"{count(size)} {axis}" for axis, size in sizes.items())


def times(ratio: float | None) -> str:
    """A ratio with three significant digits: `5.31×`."""
    return f"{significant(ratio)}×" if _known(ratio) else ABSENT


def ratio(value: float | None, *, low: float | None = None, high: float | None = None) -> str:
    """A ratio with its interval: `5.31× (5.24–5.38)`."""
    if _known(low) and _known(high):
        return f"{times(value)} ({significant(low)}–{significant(high)})"
    return times(value)


def count(number: float | None) -> str:
    """A whole number with its thousands separated."""
    return f"{number:,.0f}" if _known(number) else ABSENT


def magnitude(number: float | None) -> str:
    """A large number in short: `1.23 M`; below ten thousand it is written out, a fraction below a hundred too."""
    if not _known(number):
        return ABSENT
    if abs(number) < 10_000:
        return count(number) if abs(number) >= 100 or float(number).is_integer() else significant(number)
    scale, unit = next(entry for entry in _COUNT_UNITS if abs(number) >= entry[0])
    return f"{significant(number / scale)} {unit}"


def duration(seconds: float | None) -> str:
    """A span of time: `0.42 s`, `38 s`, `3 min 20 s`, `1 h 02 min`."""
    if not _known(seconds):
        return ABSENT
    if seconds < 10:
        return f"{significant(seconds, digits=2)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def anything(value: object) -> str:
    """Any recorded value as text: numbers to four significant digits, lists joined, nothing as a dash."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return ABSENT if not math.isfinite(value) else f"{value:.4g}"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, list | tuple):
        return ", ".join(anything(item) for item in value) or ABSENT
    return str(value)


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
