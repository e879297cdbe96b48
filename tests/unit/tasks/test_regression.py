"""Numbers told within a tolerance, against slow calculations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as reference

from compressor.errors import DataError, InputError, ModelError
from compressor.tasks._contract import NumberTask
from compressor.tasks.regression import Regression
from compressor.tensors import Outputs
from tests.named import Judging, hard_loss, mixed_with, named_batch

TARGETS = np.array([[0.0, 10.0], [1.0, 30.0], [4.0, 20.0], [3.0, 0.0]], np.float32)
SPREADS = TARGETS.std(axis=0)
LABELS = TARGETS[[2, 0, 3]]
OUTPUTS = np.array([[4.1, 25.0], [0.3, 11.0], [2.0, 1.0]], np.float32)


def fitted(**options: Any) -> NumberTask:
    task = Regression(**options).for_spread(SPREADS)
    assert isinstance(task, NumberTask)
    return task


def judged(**options: float) -> dict[str, float]:
    return Judging(Regression(**options).for_spread(SPREADS)).metrics(OUTPUTS, LABELS)


def test_metrics_are_those_of_scikit_learn() -> None:
    found = judged()
    wanted: NDArray[Any] = LABELS.astype(np.float64)

    assert found["r2"] == pytest.approx(reference.r2_score(wanted, OUTPUTS.astype(np.float64)))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(wanted, OUTPUTS.astype(np.float64)))
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(wanted, OUTPUTS.astype(np.float64)))


def test_targets_that_are_all_alike_leave_nothing_or_everything_unexplained() -> None:
    task = Judging(Regression().for_spread(np.zeros(1)))

    assert task.metrics(np.full((3, 1), 2.0), np.full((3, 1), 2.0))["r2"] == 1
    assert task.metrics(np.full((3, 1), 2.5), np.full((3, 1), 2.0))["r2"] == 0


def test_a_sample_is_right_when_every_output_is_within_the_tolerance() -> None:
    task = Judging(Regression(tolerance=1.0).for_spread(SPREADS))

    assert task.correct(OUTPUTS, LABELS).tolist() == [False, True, True]
    assert [each["accuracy"] for each in task.per_class(OUTPUTS, LABELS, num_classes=2)] == [1.0, pytest.approx(2 / 3)]
    assert judged(tolerance=1.0)["within_tolerance"] == pytest.approx(2 / 3)


def test_the_tolerance_follows_from_the_spread_of_each_output_unless_it_is_stated() -> None:
    np.testing.assert_allclose(fitted().tolerances, SPREADS / 4)
    np.testing.assert_allclose(fitted(tolerance=3.0).tolerances, [3.0, 3.0])
    np.testing.assert_allclose(fitted(tolerance=[0.5, 0.0]).tolerances, [0.5, SPREADS[1] / 4])
    with pytest.raises(InputError, match="3 tolerances for 2 numbers"):
        fitted(tolerance=[1.0, 2.0, 3.0])


@pytest.mark.parametrize("tolerance", [None, True, -1.0, float("nan"), "wide", [1.0, None]])
def test_a_tolerance_that_is_no_number_is_refused(tolerance: Any) -> None:
    with pytest.raises(InputError, match="must be 0 or more"):
        Regression(tolerance=tolerance)


def test_the_error_of_a_sample_is_that_of_its_worst_output_in_tolerances() -> None:
    np.testing.assert_allclose(Judging(fitted(tolerance=0.5)).errors(OUTPUTS, LABELS), [10.0, 2.0, 2.0])


def test_outputs_agree_where_none_is_further_apart_than_the_tolerance() -> None:
    task = Judging(Regression(tolerance=1.0).for_spread(SPREADS))
    other = OUTPUTS + np.array([[0.5, 0.5], [0.0, 1.5], [-1.0, 0.0]], np.float32)

    assert task.agreement(OUTPUTS, other) == pytest.approx(2 / 3)


def test_a_row_with_a_nan_is_wrong_and_agrees_with_nothing() -> None:
    task = Judging(Regression(tolerance=100.0).for_spread(SPREADS))
    broken = OUTPUTS.copy()
    broken[0, 1] = np.nan

    assert task.correct(broken, LABELS).tolist() == [False, True, True]
    assert task.agreement(broken, broken) == pytest.approx(2 / 3)


def test_the_loss_is_the_squared_error_in_spreads_and_so_is_its_gradient() -> None:
    task = Regression().for_spread(SPREADS)
    outputs = torch.tensor(OUTPUTS, dtype=torch.float64, requires_grad=True)

    loss = hard_loss(task, outputs, torch.from_numpy(LABELS))
    loss.backward()

    value = float(loss.detach())
    apart = (OUTPUTS.astype(np.float64) - LABELS) / SPREADS.astype(np.float32)
    assert value == pytest.approx((apart**2).mean(), rel=1e-6)
    assert value == pytest.approx(judged()["loss"], rel=1e-6)
    assert outputs.grad is not None
    np.testing.assert_allclose(outputs.grad.numpy(), 2 * apart / SPREADS / apart.size, rtol=1e-6)


def test_an_output_that_never_varies_counts_in_its_own_unit() -> None:
    task = Regression().for_spread(np.zeros(1))

    assert float(hard_loss(task, torch.tensor([[7.0]]), torch.tensor([[5.0]]))) == 4.0


def test_mixed_samples_are_drawn_to_the_mixed_target() -> None:
    """The gradient of two squared errors in shares is that of one against the target in the same shares."""
    task = Regression().for_spread(SPREADS)
    outputs = torch.tensor(OUTPUTS, requires_grad=True)
    share_B = torch.tensor([0.3, 0.8, 0.5])
    labels, partners = torch.from_numpy(LABELS), torch.from_numpy(TARGETS[[1, 2, 0]])
    mixed = mixed_with(partners, share_B)
    named_batch(torch.zeros(3, 1), labels, torch.arange(3), -1, task, mixed).hard_loss(Outputs.of(outputs)).backward()

    both = share_B[:, None] * labels + (1 - share_B[:, None]) * partners
    wanted = 2 * (torch.tensor(OUTPUTS) - both) / torch.from_numpy(SPREADS) ** 2 / 6
    assert outputs.grad is not None
    torch.testing.assert_close(outputs.grad, wanted.float())


def test_samples_without_a_target_teach_nothing_and_break_nothing() -> None:
    task = Regression().for_spread(SPREADS)
    outputs = torch.tensor(OUTPUTS, requires_grad=True)
    batch = named_batch(torch.zeros(3, 1), torch.from_numpy(LABELS), torch.arange(3), -1, task)
    replace(batch, labelled=torch.tensor([True, False, True])).hard_loss(Outputs.of(outputs)).backward()

    assert outputs.grad is not None
    assert outputs.grad[1].abs().sum() == 0
    assert outputs.grad[0].abs().sum() > 0


def test_a_task_that_has_met_no_data_says_so() -> None:
    with pytest.raises(DataError, match="takes numbers, and the data has none"):
        Judging(Regression()).metrics(OUTPUTS, LABELS)


def test_what_does_not_fit_is_refused() -> None:
    task = Regression().for_spread(SPREADS)
    with pytest.raises(DataError, match="do not fit targets"):
        Judging(task).metrics(OUTPUTS[:, :1], LABELS)
    with pytest.raises(DataError, match="no sample to judge"):
        Judging(task).metrics(OUTPUTS[:0], LABELS[:0])
    with pytest.raises(ModelError, match="2 numbers need"):
        task.check_outputs((3,), 2)
    for tolerance in (-1.0, float("nan"), float("inf"), [1.0, -1.0], "wide", [True]):
        with pytest.raises(InputError, match="tolerance"):
            Regression(tolerance=tolerance)  # type: ignore[arg-type]
