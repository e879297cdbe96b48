"""What every member of `tasks` must do; a new file joins by existing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from compressor import registry
from compressor.errors import ModelError
from compressor.measure.accuracy import evaluate
from compressor.tasks._contract import NumberTask, Task, tells_sets
from compressor.tensors import Batch, Schema, TensorSpec

MEMBERS = registry.members("tasks")
N, K = 12, 4
LOGITS = np.random.default_rng(0).normal(size=(N, K)).astype(np.float32)
LABELS = np.arange(N) % K


TARGETS = np.random.default_rng(1).normal(size=(N, K)).astype(np.float32)


@pytest.fixture(params=MEMBERS, ids=lambda member: member.name)
def task(request: pytest.FixtureRequest) -> Task:
    made: Task = request.param.load()()
    return made.for_spread(TARGETS.std(axis=0)) if isinstance(made, NumberTask) else made


@pytest.fixture
def labels(task: Task) -> NDArray[Any]:
    """Targets as the task judges by them."""
    return TARGETS if isinstance(task, NumberTask) else LABELS


CLASSES = [str(number) for number in range(K)]
INPUTS = Schema.of(TensorSpec("features", "float32", (3,)))


def targets_for(task: Task) -> dict[str, torch.Tensor]:
    """Some targets of the schema that the task asks for."""
    (spec,) = task.targets(CLASSES)
    generator = np.random.default_rng(2)
    arrays = {
        "int64": generator.integers(K, size=(N, *spec.at({}))),
        "bool": generator.random((N, *spec.at({}))) < 0.5,
        "float32": generator.normal(size=(N, *spec.at({}))).astype(np.float32),
    }
    return {spec.name: torch.from_numpy(arrays[spec.dtype])}


def test_there_are_tasks() -> None:
    assert "classification" in {member.name for member in MEMBERS}


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_it_has_a_summary_and_every_option_has_help(member: registry.Member) -> None:
    assert member.summary.endswith(".")
    assert all(option.help for option in member.options)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_what_a_recipe_reads_of_sets_in_its_source_is_what_its_targets_say(member: registry.Member) -> None:
    assert ("label_sets" in member.flags) == tells_sets(member.load()())


def test_the_primary_metric_is_a_metric_in_zero_to_one(task: Task, labels: NDArray[Any]) -> None:
    assert 0.0 <= task.metrics(LOGITS, labels)[task.primary] <= 1.0


def test_metrics_are_plain_floats(task: Task, labels: NDArray[Any]) -> None:
    assert all(type(value) is float for value in task.metrics(LOGITS, labels).values())


def test_hard_loss_is_a_scalar_with_a_gradient(task: Task) -> None:
    logits = torch.from_numpy(LOGITS).requires_grad_()

    task.hard_loss({"logits": logits}, targets_for(task)).backward()

    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_loss_of_each_sample_has_the_loss_of_all_for_a_mean(task: Task) -> None:
    outputs, targets = {"logits": torch.from_numpy(LOGITS)}, targets_for(task)

    each_B = task.hard_losses(outputs, targets)

    assert each_B.shape == (N,)
    torch.testing.assert_close(each_B.mean(), task.hard_loss(outputs, targets))


def test_it_judges_by_one_label_for_each_sample(task: Task) -> None:
    targets = {name: tensor.numpy() for name, tensor in targets_for(task).items()}

    assert len(task.labels(targets)) == N


def test_rows_have_two_axes_and_as_many_for_each_sample_as_it_says(task: Task) -> None:
    targets = targets_for(task)
    batch = Batch({}, targets, torch.ones(N, dtype=torch.bool), torch.arange(N), -1, task)

    rows = task.rows({"logits": torch.from_numpy(LOGITS)}, batch)

    assert rows.values.dim() == 2
    assert len(rows.values) == N * rows.per_sample
    assert rows.kind in ("softmax", "sigmoid", "values", "embedding")


def test_its_outputs_have_a_name_for_what_a_network_returns(task: Task) -> None:
    assert "logits" in task.outputs(CLASSES, INPUTS)


def test_outputs_agree_with_themselves(task: Task) -> None:
    assert task.agreement(LOGITS, LOGITS) == 1.0


def test_correct_confusion_and_per_class_tell_the_same_story(task: Task, labels: NDArray[Any]) -> None:
    correct = task.correct(LOGITS, labels)
    confusion = task.confusion(LOGITS, labels, K)
    per_class = task.per_class(LOGITS, labels, num_classes=K)

    assert task.metrics(LOGITS, labels)[task.primary] == correct.mean()
    assert len(per_class) == K
    assert (confusion is None) == isinstance(task, NumberTask)
    if confusion is not None:
        assert np.diag(confusion).tolist() == [round((each["accuracy"] or 0) * each["samples"]) for each in per_class]


def test_one_answer_to_everything_is_not_shown_to_be_better_than_the_best_of_them(
    task: Task, labels: NDArray[Any]
) -> None:
    found = evaluate(task, np.repeat(LOGITS[:1], N, axis=0), labels, classes=["a", "b", "c", "d"])["majority"]

    assert found["p_value"] == 1.0
    assert 0.0 <= found["metric"] < 1.0


def test_outputs_of_another_width_are_refused(task: Task) -> None:
    with pytest.raises(ModelError, match=rf"{K} (classes|numbers)"):
        task.check_outputs((N, K + 1), K)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_it_judges_without_importing_torch(member: registry.Member) -> None:
    program = (
        "import sys, numpy as np; from compressor import registry\n"
        f"task = registry.find('tasks', '{member.name}').load()()\n"
        "numbers = hasattr(task, 'for_spread')\n"
        "task = task.for_spread(np.ones(3)) if numbers else task\n"
        "task.metrics(np.eye(3), np.eye(3) if numbers else np.arange(3)); task.check_outputs((1, 3), 3)\n"
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
