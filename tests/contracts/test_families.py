"""What every member of every family must keep to; a new file joins by existing."""

from __future__ import annotations

import ast
import inspect
import sys

import numpy as np
import pytest
import torch
from torch import nn

from compressor import registry
from compressor.errors import InputError
from compressor.losses._contract import Context, Prepared
from compressor.recipe import Asking, DistillSettings, LossSettings, loss_faults
from compressor.tasks._contract import NumberTask, Task
from compressor.teachers.network import FrozenNetwork
from compressor.tensors import MASK, Batch, Outputs
from compressor.training.sources import losses_of
from tests.named import named_batch

MEMBERS = [member for family in registry.FAMILIES for member in registry.members(family)]
LOSSES, TASKS = (registry.members(family) for family in ("losses", "tasks"))
B, K = 6, 3


def named(member: registry.Member) -> str:
    return f"{member.family}-{member.name}"


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_a_family_has_members_whose_names_are_unique(family: str) -> None:
    names = [member.name for member in registry.members(family)]

    assert names
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name == name.lower() for name in names)


@pytest.mark.parametrize("member", MEMBERS, ids=named)
def test_a_member_is_one_public_class_or_function_in_a_file_of_its_own(member: registry.Member) -> None:
    tree = ast.parse(member.file.read_text())
    defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]

    assert [name for name in defined if not name.startswith("_")] == [member.attr]


@pytest.mark.parametrize("member", MEMBERS, ids=named)
def test_a_member_says_in_one_line_what_it_is(member: registry.Member) -> None:
    assert 10 < len(member.summary) <= 120
    assert member.summary.endswith((".", ")."))


@pytest.mark.parametrize("member", MEMBERS, ids=named)
def test_the_options_read_from_source_are_those_of_the_real_signature(member: registry.Member) -> None:
    parameters = list(inspect.signature(member.load()).parameters.values())
    options = {option.name: option for option in (*member.positional, *member.options)}

    assert [p.name for p in parameters] == list(options)
    for parameter in parameters:
        option = options[parameter.name]
        assert option.required == (parameter.default is parameter.empty)
        assert option.annotation == str(parameter.annotation)
        if option.default is not None:
            assert eval(option.default, vars(sys.modules[member.load().__module__])) == parameter.default


@pytest.mark.parametrize("member", [m for m in MEMBERS if m.options], ids=named)
def test_every_option_is_explained(member: registry.Member) -> None:
    assert all(option.help for option in member.options)


@pytest.mark.parametrize("member", MEMBERS, ids=named)
def test_a_member_is_found_by_its_name(member: registry.Member) -> None:
    assert registry.find(member.family, member.name.replace("_", "-")) == member


def small_network(seed: int, task: Task) -> nn.Module:
    torch.manual_seed(seed)
    if MASK in task.targets(["a"]):
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, K, 1))
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, K))


def fitted(task: registry.Member) -> Task:
    made: Task = task.load()()
    if isinstance(made, NumberTask):
        return made.for_spread(np.ones(K))
    return made


def small_batch(task: Task) -> Batch:
    torch.manual_seed(2)
    (spec,) = task.targets([str(number) for number in range(K)])
    classes_B = torch.arange(B) % K
    labels = {
        "int64": classes_B,
        "bool": torch.nn.functional.one_hot(classes_B, K).bool(),
        "float32": torch.randn(B, K),
        "uint8": (torch.arange(B * 25).reshape(B, 5, 5) % K).to(torch.uint8),
    }
    inputs = torch.rand(B, 1, 5, 5)
    if spec.name == MASK:
        known = torch.ones(B, dtype=torch.bool)
        return Batch({"image": inputs}, {MASK: labels[spec.dtype]}, known, torch.arange(B), -1, task)
    return named_batch(inputs, labels[spec.dtype], torch.arange(B), -1, task)


def reads_features(loss: registry.Member) -> bool:
    """Whether a loss compares tapped modules; `test_losses.py` gives it some."""
    return any(option.name == "pairs" for option in loss.options)


ON_ANSWERS = [loss for loss in LOSSES if not reads_features(loss)]


@pytest.mark.parametrize("task", TASKS, ids=named)
@pytest.mark.parametrize("loss", ON_ANSWERS, ids=named)
def test_a_loss_is_a_finite_scalar_whose_gradient_reaches_the_student_alone(
    loss: registry.Member, task: registry.Member
) -> None:
    meaning = fitted(task)
    batch, student, frozen = small_batch(meaning), small_network(0, meaning), small_network(1, meaning)
    answer = FrozenNetwork(frozen).answer(batch)

    made = loss.load()()
    if isinstance(made, Prepared):
        made.prepare(Context(torch.arange(B) % K, K))
    if loss_faults([Asking.reading(loss, {}, where="")], task=meaning.gives, where=""):
        with pytest.raises(InputError, match=r"and this task (predicts numbers|has sets of classes)"):
            losses_of(DistillSettings(losses=(LossSettings(name=loss.name),)), meaning)
        return
    value = made(Outputs.of(student(batch.call)), answer, batch)
    value.backward()

    assert value.shape == ()
    assert torch.isfinite(value)
    gradients = [parameter.grad for parameter in student.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients if gradient is not None)
    assert all(parameter.grad is None for parameter in frozen.parameters())
