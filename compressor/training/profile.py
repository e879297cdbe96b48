"""Where each millisecond of a training step goes, measured on some steps of the real job; nothing is kept."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from compressor.artifact import Decision
from compressor.teachers._cache import CachedTeacher
from compressor.teachers._contract import Teacher
from compressor.teachers._records import AnswerStore, Form
from compressor.training import engine
from compressor.training.engine import Job
from compressor.training.stopwatch import Phase
from compressor.training.teaching import may_be_kept

_WARM_UP = 16  # as many as compiling waits for, so that what is timed is compiled if anything is
_LARGE: dict[Phase, float] = {"data": 0.15, "views": 0.15, "teacher": 0.25, "losses": 0.2, "optimiser": 0.2}


@dataclass(frozen=True)
class Profile:
    """The time of a training step.

    Attributes:
        title: What was timed.
        images_per_s: Samples in a second.
        ms_per_step: Milliseconds of a step by phase (see `stopwatch.WHAT`).
        advice: What takes much of it, and what to do about that.
        decisions: What was chosen automatically.
    """

    title: str
    images_per_s: float
    ms_per_step: Mapping[Phase, float]
    advice: tuple[str, ...]
    decisions: tuple[Decision, ...]


def profile(job: Job, *, teacher: Teacher | None, steps: int, form: Form | None = None) -> list[Profile]:
    """Time a job as it is, and, where a teacher's answers can be kept, with all of them kept.

    Args:
        job: With the teacher that it would ask.
        teacher: The same teacher without a cache; None when the job has none.
        steps: Timed in each case.
        form: In which the teacher's answers would be kept; None where they would not.
    """
    if teacher is None:
        return [_timed(job, "training", steps)]
    asked = _timed(_with(job, teacher), "the teacher asked", steps)
    if form is None or not may_be_kept(teacher) or job.plan.count == 0:
        return [asked]
    with tempfile.TemporaryDirectory(prefix="compress-profile-") as folder:
        store = AnswerStore(Path(folder), key="profile", num_samples=len(job.dataset.train), form=form)
        # the same steps again: the first time fills the store with what the second reads
        engine.profile(_with(job, CachedTeacher(teacher, store)), steps=steps, warm_up=_WARM_UP)
        kept = _timed(_with(job, CachedTeacher(teacher, store)), "its answers kept", steps)
    return [asked, kept]


def _with(job: Job, teacher: Teacher) -> Job:
    return replace(job, teacher=teacher, network=copy.deepcopy(job.network))


def _timed(job: Job, title: str, steps: int) -> Profile:
    watch, decisions = engine.profile(replace(job, network=copy.deepcopy(job.network)), steps=steps, warm_up=_WARM_UP)
    total_s = sum(watch.seconds.values())
    shares = {name: seconds / total_s for name, seconds in watch.seconds.items()}
    return Profile(
        title=title,
        images_per_s=watch.samples / total_s,
        ms_per_step=watch.ms_per_step(),
        advice=tuple(_advice(shares, decisions, counted=job.plan.count > 0)),
        decisions=decisions,
    )


def _advice(shares: Mapping[Phase, float], decisions: tuple[Decision, ...], *, counted: bool) -> list[str]:
    large = {name for name, least in _LARGE.items() if shares.get(name, 0.0) > least}
    found = []
    if "data" in large:
        found.append(f"{shares['data']:.0%} waiting for data: decode once (data.options.decode), or give it more cores")
    if "views" in large:
        found.append(f"{shares['views']:.0%} for views: fewer or cheaper ones in [data.views]")
    if "teacher" in large and counted:
        found.append(f"{shares['teacher']:.0%} for the teacher, until each view has been shown once")
    elif "teacher" in large:
        found.append(f"{shares['teacher']:.0%} for the teacher: count the views (data.views.count) to keep its answers")
    if "losses" in large:
        found.append(f"{shares['losses']:.0%} for the losses")
    if "optimiser" in large:
        found.append(f"{shares['optimiser']:.0%} for the optimiser: a larger batch_size takes fewer steps")
    for decision in decisions:
        if decision.what.startswith("compile ") and decision.choice == "off":
            found.append(f"{decision.what}: off, {decision.reason}")
    return found or ["nothing stands out: the time goes into the student's own forward and backward pass"]
