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
from compressor.data.loader import in_torch
from compressor.errors import ModelError
from compressor.measure.accuracy import evaluate, paired
from compressor.scores import RIGHT
from compressor.tasks._contract import NumberTask, Task
from compressor.tensors import LABEL, LOGITS, Batch, Schema, TensorSpec

MEMBERS = registry.members("tasks")
N, K = 12, 4
CLASSES = [str(number) for number in range(K)]
INPUTS = Schema.of(TensorSpec("image", "float32", (3, 6, 8)))


@pytest.fixture(params=MEMBERS, ids=lambda member: member.name)
def task(request: pytest.FixtureRequest) -> Task:
    made: Task = request.param.load()()
    return made.for_spread(np.ones(K)) if isinstance(made, NumberTask) else made


def outputs_for(task: Task, *, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Some outputs of the schema that the task asks a network for."""
    generator = np.random.default_rng(seed)
    return {
        spec.name: generator.normal(size=(N, *spec.at({}))).astype(np.float32) for spec in task.outputs(CLASSES, INPUTS)
    }


def arrays_for(task: Task) -> dict[str, NDArray[Any]]:
    """Some targets of the schema that the task asks for."""
    (spec,) = task.targets(CLASSES)
    sizes = {axis: size for axis, size in zip(("height", "width"), (6, 8), strict=True) if axis in spec.varying}
    shape = (N, *spec.at(sizes))
    generator = np.random.default_rng(2)
    if spec.dtype in ("int64", "uint8"):
        return {spec.name: generator.integers(K, size=shape).astype(spec.dtype)}
    if spec.dtype == "bool":
        return {spec.name: generator.random(shape) < 0.5}
    return {spec.name: generator.normal(size=shape).astype(np.float32)}


def targets_for(task: Task) -> dict[str, torch.Tensor]:
    """The same as tensors."""
    return {name: torch.from_numpy(array) for name, array in arrays_for(task).items()}


def findings_for(task: Task) -> dict[str, NDArray[Any]]:
    """What the task keeps of some outputs."""
    return task.findings(outputs_for(task), arrays_for(task))


def test_there_are_tasks() -> None:
    assert "classification" in {member.name for member in MEMBERS}


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_it_has_a_summary_and_every_option_has_help(member: registry.Member) -> None:
    assert member.summary.endswith(".")
    assert all(option.help for option in member.options)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_what_a_recipe_reads_in_its_source_is_what_its_class_gives(member: registry.Member) -> None:
    assert member.gives == member.load()().gives
    assert member.gives


def test_what_it_gives_is_what_its_rows_targets_and_outputs_are(task: Task) -> None:
    outputs, targets = outputs_for(task), targets_for(task)
    tensors = {name: torch.from_numpy(array) for name, array in outputs.items()}
    rows = task.rows(tensors, Batch({}, targets, torch.ones(N, dtype=torch.bool), torch.arange(N), -1, task))

    assert [word for word in task.gives if word.startswith("rows:")] == [f"rows:{rows.kind}"]
    assert ("rows:softmax" in task.gives) == (rows.target is not None)
    assert ("one_class" in task.gives) == (LABEL in targets)
    assert ("rows:values" in task.gives) == isinstance(task, NumberTask)
    assert ("maps" in task.gives) == (outputs[LOGITS].ndim == 4)


def test_the_primary_metric_is_a_metric_that_says_its_unit(task: Task) -> None:
    metric = task.metric(task.primary)
    value = task.metrics(findings_for(task))[task.primary]

    assert metric.name == task.primary
    assert not metric.is_share or 0.0 <= value <= 1.0
    assert metric.shown(value)


def test_metrics_are_plain_floats(task: Task) -> None:
    assert all(type(value) is float for value in task.metrics(findings_for(task)).values())


def test_findings_have_a_row_for_each_sample_and_do_not_hang_on_the_batch(task: Task) -> None:
    outputs, targets = outputs_for(task), arrays_for(task)
    parts = [
        task.findings({n: a[rows] for n, a in outputs.items()}, {n: a[rows] for n, a in targets.items()})
        for rows in (slice(0, 5), slice(5, N))
    ]

    for name, column in findings_for(task).items():
        assert len(column) == N
        np.testing.assert_array_equal(column, np.concatenate([part[name] for part in parts]))


def test_hard_loss_is_a_scalar_with_a_gradient(task: Task) -> None:
    outputs = {name: torch.from_numpy(array).requires_grad_() for name, array in outputs_for(task).items()}

    task.hard_loss(outputs, targets_for(task)).backward()

    assert all(each.grad is not None and torch.isfinite(each.grad).all() for each in outputs.values())


def test_the_loss_of_each_sample_has_the_loss_of_all_for_a_mean(task: Task) -> None:
    outputs, targets = in_torch(outputs_for(task)), targets_for(task)

    each_B = task.hard_losses(outputs, targets)

    assert each_B.shape == (N,)
    torch.testing.assert_close(each_B.mean(), task.hard_loss(outputs, targets))


def test_rows_have_two_axes_and_as_many_for_each_sample_as_it_says(task: Task) -> None:
    targets = targets_for(task)
    batch = Batch({}, targets, torch.ones(N, dtype=torch.bool), torch.arange(N), -1, task)

    rows = task.rows(in_torch(outputs_for(task)), batch)

    assert rows.values.dim() == 2
    assert len(rows.values) == N * rows.per_sample
    assert rows.kind in ("softmax", "sigmoid", "values", "embedding")


def test_its_outputs_have_a_name_for_what_a_network_returns(task: Task) -> None:
    assert "logits" in task.outputs(CLASSES, INPUTS)


def test_outputs_agree_with_themselves(task: Task) -> None:
    assert task.alike(outputs_for(task), outputs_for(task)).tolist() == [1.0] * N


def test_right_confusion_and_per_class_tell_the_same_story(task: Task) -> None:
    found = findings_for(task)
    confusion = task.confusion(found, K)
    per_class = task.per_class(found, num_classes=K)

    if RIGHT in found:
        assert task.metrics(found)[task.primary] == found[RIGHT].mean()
    assert len(per_class) == K
    assert (confusion is None) == isinstance(task, NumberTask)
    if confusion is not None:
        assert np.diag(confusion).tolist() == [round((each["accuracy"] or 0) * each["samples"]) for each in per_class]


def test_no_sample_is_lost_to_oneself_and_some_are_to_what_is_always_right(task: Task) -> None:
    found = findings_for(task)

    assert task.worst(found, found, most=5) == []
    assert isinstance(task.against(found, found, num_classes=K), dict)


def test_a_metric_has_an_interval_and_a_paired_test(task: Task) -> None:
    found, other = findings_for(task), task.findings(outputs_for(task, seed=1), arrays_for(task))
    told = evaluate(task, found, classes=CLASSES)
    low, high = told["interval"]

    assert low <= told["metrics"][task.primary] <= high
    test = paired(task, found, other)
    assert test is not None
    assert test["low"] <= test["difference"] <= test["high"]
    assert 0.0 < test["p_value"] <= 1.0


def test_one_answer_to_everything_is_not_shown_to_be_better_than_the_best_of_them(task: Task) -> None:
    alike = {name: np.repeat(array[:1], N, axis=0) for name, array in outputs_for(task).items()}
    found = evaluate(task, task.findings(alike, arrays_for(task)), classes=["a", "b", "c", "d"])["majority"]

    assert (found is None) == (RIGHT not in findings_for(task))
    if found is not None:
        assert found["p_value"] == 1.0
        assert 0.0 <= found["metric"] < 1.0


def test_outputs_of_another_width_are_refused(task: Task) -> None:
    with pytest.raises(ModelError, match=rf"{K} (classes|numbers)"):
        task.check_outputs((N, K + 1, *outputs_for(task)["logits"].shape[2:]), K)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_it_judges_without_importing_torch(member: registry.Member) -> None:
    program = (
        "import sys, numpy as np; from compressor import registry; from compressor.tensors import Schema, TensorSpec\n"
        f"task = registry.find('tasks', '{member.name}').load()()\n"
        "task = task.for_spread(np.ones(3)) if hasattr(task, 'for_spread') else task\n"
        "(given,) = task.outputs('abc', Schema.of(TensorSpec('image', 'uint8', (3, 4, 4))))\n"
        "(wanted,) = task.targets('abc')\n"
        "shape = wanted.at({'height': 4, 'width': 4})\n"
        "outputs = {given.name: np.zeros((2, *given.shape), np.float32)}\n"
        "task.metrics(task.findings(outputs, {wanted.name: np.zeros((2, *shape), wanted.dtype)}))\n"
        "task.check_outputs((2, *given.shape), 3)\n"
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
