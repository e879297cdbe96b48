"""What a bench decides before it measures."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.recipe import BenchSettings
from compressor.scores import Metric
from compressor.stages.bench import Candidate, TaughtElsewhere, _before, _budgets, _timed_base
from compressor.tasks.multilabel import Multilabel
from compressor.tensors import LOGITS
from tests import records


def test_speed_is_held_against_the_base() -> None:
    candidates = [Candidate("teacher", "Teacher"), Candidate("control", "Control", timed=False)]

    assert _timed_base(candidates, "teacher") == "teacher"


def test_without_a_teacher_speed_is_held_against_the_first_that_is_timed() -> None:
    candidates = [Candidate("control", "Control", timed=False), Candidate("distilled", "D"), Candidate("student", "S")]

    assert _timed_base(candidates, "control") == "distilled"


def test_budgets_are_those_of_the_exported_file_whatever_else_was_measured() -> None:
    measured = [
        records.candidate(role, size_bytes=2_000_000, torch=0.9, torch_compile=0.9, ort_cpu=value)
        for role, value in (("teacher", 0.95), ("student", 0.94))
    ]
    timed = [
        records.timing("student", runtime=runtime, p50_ms=ms)
        for runtime, ms in (("torch", 9.0), ("torch_compile", 3.0), ("ort_cpu", 5.0))
    ]
    settings = BenchSettings(profiles=("edge",), max_drop=1.0, max_latency_ms=4.0, max_size_mb=2.0)

    before = _before(measured, base="teacher", taught_by=None, metric="accuracy")
    drop, latency, size = _budgets(settings, measured, timed, under="edge", before=before, metric=Metric("accuracy"))

    assert drop.met, "a drop of exactly what is accepted"
    assert (latency.value, latency.met) == (5.0, False)
    assert size.met


@pytest.mark.parametrize(
    ("taught_by", "before"),
    [
        (None, 0.2),  # nobody else taught: the control is what there is
        (TaughtElsewhere("answers.npz", {}), None),  # its teacher is not the control, and nobody knows how good it is
        (TaughtElsewhere("answers.npz", {"accuracy": 0.99}), 0.99),
    ],
)
def test_a_drop_is_from_the_teacher_wherever_that_is(taught_by: TaughtElsewhere | None, before: float | None) -> None:
    measured = [records.candidate("control", ort_cpu=0.2), records.candidate("student", ort_cpu=0.21)]

    assert _before(measured, base="control", taught_by=taught_by, metric="accuracy") == before


def test_a_class_that_is_left_out_of_a_set_is_counted_once() -> None:
    base = np.array([[1.0, -1.0]] * 10)
    this = np.array([[1.0, -1.0]] * 4 + [[-1.0, -1.0]] * 5 + [[-1.0, 1.0]])

    first, second = Multilabel().against({LOGITS: base}, {LOGITS: this}, num_classes=2)["sets"]

    assert first == {"both": 4, "base_alone": 6, "this_alone": 0}
    assert second == {"both": 0, "base_alone": 0, "this_alone": 1}
