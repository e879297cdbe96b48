"""The words of a report, explained for someone who reads their first one; only those that the report uses."""

from __future__ import annotations

from compressor.measure.sizes import profile_of
from compressor.report import format as fmt
from compressor.report.facts import ReportData

_ROLES = {
    "teacher": "the trained network that the student learnt from; large, and as good as it gets here",
    "control": "the student's network, trained as long on the labels alone: what the teacher is worth shows beside it",
    "distilled": "the student as it was before it was cut or quantized",
    "pruned": "the student after channels were cut out, before it was quantized",
    "student": "what would be shipped",
}
_PROFILES = {
    "edge": "nothing kept busy in between: as on a small device",
    "gpu": "on a graphics card",
}


def _profile(data: ReportData, profile: str) -> str:
    """What it was as measured, which a recipe may have changed."""
    timing = next(each for each in data.timings if each.profile == profile)
    conditions = fmt.conditions(timing.threads, timing.batch, timing.sizes)
    return ", ".join(filter(None, (conditions, _PROFILES.get(profile_of(profile)))))


def used(data: ReportData) -> tuple[tuple[str, str], ...]:
    """(word, meaning), in the order in which a reader meets them."""
    found = [] if data.compared else [(role, meaning) for role, meaning in _ROLES.items() if data.candidate(role)]
    if data.primary.is_share:
        found.append(("points", "percentage points: from 99 % to 97 % are −2 points"))
    found.append(
        ("within the noise", "so few samples differ that chance alone would do it more than one time in twenty")
    )
    found.append(("95 % interval", "holds the true value 19 times out of 20"))
    if data.timings:
        found += [(profile, _profile(data, profile)) for profile in data.profiles]
        found.append(("p50, p90", "half, or nine tenths, of all inferences are at least as fast"))
        found.append(("speed-up", "how many times as fast; where its interval holds 1, no difference was shown"))
    if any(candidate.macs for candidate in data.candidates):
        found.append(("MACs", "multiplications with additions for one sample: work, which need not be time"))
    if any(not each.calm for each in data.interference):
        found.append(("restless", "other work disturbed the clock: times here may not come out the same again"))
    return tuple(found)
