"""What every member of `tasks` must do; a new file joins by existing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from compressor import registry
from compressor.errors import ModelError
from compressor.measure.accuracy import evaluate
from compressor.tasks._contract import NumberTask, Task

MEMBERS = registry.members("tasks")
N, K = 12, 4
LOGITS = np.random.default_rng(0).normal(size=(N, K)).astype(np.float32)
LABELS = np.arange(N) % K


TARGETS = np.random.default_rng(1).normal(size=(N, K)).astype(np.float32)


@pytest.fixture(params=MEMBERS, ids=lambda member: member.name)
def task(request: pytest.FixtureRequest) -> Task:
    made: Task = request.param.load()()
    return made.for_targets(TARGETS, TARGETS.std(axis=0)) if isinstance(made, NumberTask) else made


def test_there_are_tasks() -> None:
    assert "classification" in {member.name for member in MEMBERS}


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_it_has_a_summary_and_every_option_has_help(member: registry.Member) -> None:
    assert member.summary.endswith(".")
    assert all(option.help for option in member.options)


def test_the_primary_metric_is_a_metric_in_zero_to_one(task: Task) -> None:
    assert 0.0 <= task.metrics(LOGITS, LABELS)[task.primary] <= 1.0


def test_metrics_are_plain_floats(task: Task) -> None:
    assert all(type(value) is float for value in task.metrics(LOGITS, LABELS).values())


def test_hard_loss_is_a_scalar_with_a_gradient(task: Task) -> None:
    logits = torch.from_numpy(LOGITS).requires_grad_()

    task.hard_loss(logits, torch.from_numpy(LABELS)).backward()

    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_decisions_have_two_axes(task: Task) -> None:
    assert task.decisions(torch.from_numpy(LOGITS)).dim() == 2


def test_outputs_agree_with_themselves(task: Task) -> None:
    assert task.agreement(LOGITS, LOGITS) == 1.0


def test_correct_confusion_and_per_class_tell_the_same_story(task: Task) -> None:
    correct = task.correct(LOGITS, LABELS)
    confusion = task.confusion(LOGITS, LABELS, K)
    per_class = task.per_class(LOGITS, LABELS, num_classes=K)

    assert task.metrics(LOGITS, LABELS)[task.primary] == correct.mean()
    assert len(per_class) == K
    assert (confusion is None) == isinstance(task, NumberTask)
    if confusion is not None:
        assert np.diag(confusion).tolist() == [round((each["accuracy"] or 0) * each["samples"]) for each in per_class]


def test_one_answer_to_everything_is_not_shown_to_be_better_than_the_best_of_them(task: Task) -> None:
    found = evaluate(task, np.repeat(LOGITS[:1], N, axis=0), LABELS, classes=["a", "b", "c", "d"])["majority"]

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
        "task = task.for_targets(np.eye(3), np.ones(3)) if hasattr(task, 'for_targets') else task\n"
        "task.metrics(np.eye(3), np.arange(3)); task.check_outputs((1, 3), 3)\n"
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
