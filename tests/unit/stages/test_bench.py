"""What a bench decides before it measures."""

from __future__ import annotations

from compressor.stages.bench import Candidate, _timed_base


def test_speed_is_held_against_the_base() -> None:
    candidates = [Candidate("teacher", "Teacher"), Candidate("control", "Control", timed=False)]

    assert _timed_base(candidates, "teacher") == "teacher"


def test_without_a_teacher_speed_is_held_against_the_first_that_is_timed() -> None:
    candidates = [Candidate("control", "Control", timed=False), Candidate("distilled", "D"), Candidate("student", "S")]

    assert _timed_base(candidates, "control") == "distilled"
