"""Parity: what passes, what fails, and that nothing broken passes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compressor.errors import ParityError
from compressor.measure.parity import ParityReport, compare
from compressor.tasks.classification import Classification

RNG = np.random.default_rng(0)
LABELS = np.arange(200) % 10
REFERENCE = (RNG.normal(size=(200, 10)) + 4 * np.eye(10)[LABELS]).astype(np.float32)


def compared(candidate: np.ndarray, *, reference: np.ndarray = REFERENCE) -> ParityReport:
    return compare({"logits": reference}, {"logits": candidate}, task=Classification(), targets={"label": LABELS})


def failures(report: ParityReport) -> list[str]:
    return report.failures(tolerance=1e-3, min_agreement=0.999)


def test_equal_outputs_have_no_difference_and_pass() -> None:
    report = compared(REFERENCE)

    assert (report.max_abs, report.mean_abs, report.max_relative, report.agreement) == (0.0, 0.0, 0.0, 1.0)
    assert failures(report) == []


def test_the_difference_is_a_share_of_the_spread_of_the_reference() -> None:
    candidate = REFERENCE.astype(np.float64)
    candidate[7, 3] += 0.5

    report = compared(candidate)

    assert report.max_abs == pytest.approx(0.5)
    assert report.max_relative == pytest.approx(0.5 / REFERENCE.astype(np.float64).std())
    assert report.worst[0] == (7, pytest.approx(0.5))


def test_scaling_both_changes_nothing_that_decides() -> None:
    noisy = REFERENCE + RNG.normal(scale=1e-4, size=REFERENCE.shape)

    small, large = compared(noisy), compared(noisy * 1000, reference=REFERENCE * np.float32(1000))

    assert small.max_relative == pytest.approx(large.max_relative, rel=1e-2)


def test_a_large_difference_fails_with_the_place() -> None:
    candidate = REFERENCE.copy()
    candidate[7, LABELS[7]] += 1

    (sentence,) = failures(compared(candidate))

    assert "0.001 is allowed" in sentence
    assert "sample 7" in sentence


def test_other_decisions_and_another_metric_each_have_their_sentence() -> None:
    report = compared(np.roll(REFERENCE, 1, axis=1))

    found = "\n".join(failures(report))

    assert "decisions agree on" in found
    assert "accuracy goes from" in found


def test_a_metric_that_rises_is_a_change_too() -> None:
    report = compared((100 * np.eye(10)[LABELS]).astype(np.float32))

    assert report.metric_candidate == 1.0
    assert any("accuracy goes from" in sentence for sentence in report.failures(tolerance=1e9, min_agreement=0.1))


def test_samples_without_labels_are_compared_by_their_answers_alone() -> None:
    same, other = (
        compare({"logits": REFERENCE}, {"logits": candidate}, task=Classification(), targets=None)
        for candidate in (REFERENCE, np.roll(REFERENCE, 1, axis=1))
    )

    assert failures(same) == []
    assert same.metric_reference is None
    assert not any("accuracy" in sentence for sentence in failures(other))
    assert any("decisions agree on" in sentence for sentence in failures(other))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["reference", "candidate", "both"])
def test_nan_and_infinity_fail_whatever_is_allowed(value: float, side: str) -> None:
    broken = REFERENCE.copy()
    broken[42, 0] = value
    reference = REFERENCE if side == "candidate" else broken
    candidate = REFERENCE if side == "reference" else broken

    report = compared(candidate, reference=reference)

    assert report.failures(tolerance=1e9, min_agreement=0.01, max_metric_change=1.0) == [
        "the outputs for sample 42 hold a NaN or an infinity"
    ]


def test_constant_outputs_pass_only_when_nothing_differs() -> None:
    constant = np.ones((200, 10), dtype=np.float32)

    assert compared(constant, reference=constant).max_relative == 0.0
    assert compared(constant + 1, reference=constant).max_relative == math.inf


@pytest.mark.parametrize("shape", [(200, 9), (199, 10)])
def test_outputs_of_another_shape_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ParityError, match=r"cannot be compared with \[200, 10\]"):
        compared(np.zeros(shape))


def test_nothing_to_compare_is_refused() -> None:
    nothing = {"logits": np.zeros((0, 10))}
    with pytest.raises(ParityError, match="cannot be compared"):
        compare(nothing, nothing, task=Classification(), targets={"label": LABELS[:0]})
