"""Faults of a recipe that only the files can tell, found before anything is spent."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from compressor import preflight, trust
from compressor.recipe import parse
from tests.small import recipe, write_project

PRETRAINED = {"model": "timm:resnet18", "options": {"pretrained": True}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


def told(project: Path, **sections: Any) -> list[tuple[str, str]]:
    """Place and message of every fault of the small recipe with some sections replaced."""
    return [(fault.where, fault.message) for fault in preflight.check(recipe(project, **sections))]


def test_the_small_recipe_has_no_fault(project: Path) -> None:
    assert told(project) == []


@pytest.mark.parametrize(
    "sections",
    [
        {"teacher": {"kind": "last_batch"}, "train": None},
        {"teacher": {"kind": "born_again"}, "train": None},
        {"teacher": {"kind": "peers", "members": [{"model": "zoo:resnet8"}]}, "train": None},
        {"teacher": {"kind": "specialists", "model": "zoo:resnet8"}},
        {"teacher": PRETRAINED, "train": None, "distill": None, "data": {"source": "digits", "labels": False}},
        {"prune": {"macs": 0.5}, "quantize": {}},
    ],
)
def test_a_recipe_that_a_run_has_resolved_has_no_other_faults_than_it_had(
    project: Path, sections: dict[str, Any]
) -> None:
    stated = {key: table for key, table in recipe(project, **sections).items() if table is not None}

    resolved = json.loads(parse(stated, source="recipe").model_dump_json())

    assert preflight.check(resolved) == []


def test_the_files_of_assistants_are_looked_at(project: Path) -> None:
    found = told(project, assistants=[{"model": str(project / "student.py")}, {"model": "gone.py"}])

    assert found == [("assistants.1.model", "gone.py: no such file")]


def test_a_whole_network_in_one_file_is_no_assistant(project: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(project / "whole.pt")

    ((where, message),) = told(project, assistants=[{"model": str(project / "whole.pt")}])

    assert where == "assistants.0.model"
    assert message.endswith("is a whole network in one file, which can teach but not be trained")


@pytest.mark.parametrize("arch", [None, "teacher.py"])
def test_a_program_that_teaches_is_asked_about_before_anything_is_spent(project: Path, arch: str | None) -> None:
    file = project / "whole.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(file)
    teacher = {"model": str(file)} | ({"arch": str(project / arch)} if arch else {})

    ((where, message),) = told(project, teacher=teacher, train=None)

    assert where == "teacher.model"
    assert "a TorchScript program, which can read and write files" in message

    trust.remember(file)
    assert told(project, teacher=teacher, train=None) == []


def test_the_files_of_several_teachers_are_looked_at(project: Path) -> None:
    torch.save({"weight": torch.zeros(2, 2)}, project / "t.pt")
    members = [{"model": "gone.pt"}, {"model": str(project / "t.pt")}, {"model": "timm:resnet18"}]
    first = {"model": str(project / "t.pt"), "arch": str(project / "teacher.py")}

    found = told(project, teacher={"kind": "ensemble", **first, "members": members}, train=None)

    assert [(where, message.rpartition("/")[2]) for where, message in found] == [
        ("teacher.members.0.model", "gone.pt: no such file"),
        ("teacher.members.1.model", "t.pt: a state dict: weights without the network they belong to"),
        ("teacher.members.2.model", "timm:resnet18 is an architecture without weights, so it cannot teach"),
    ]


def test_a_member_without_weights_is_not_told_to_be_trained_here(project: Path) -> None:
    members = [{"model": "timm:resnet18"}]

    (fault,) = preflight.check(
        recipe(project, teacher={"kind": "ensemble", **PRETRAINED, "members": members}, train=None)
    )

    assert fault.hint == "give its checkpoint"


def test_peers_learn_so_they_need_no_weights(project: Path) -> None:
    members = [{"model": str(project / "student.py")}, {"model": "gone.py"}]

    found = told(project, teacher={"kind": "peers", "members": members}, train=None)

    assert found == [("teacher.members.1.model", "gone.py: no such file")]


COLD = [{"name": "hard"}, {"name": "kd", "temperature": 0}]
RISING = [{"name": "kd", "alpha": {"start": 0.5, "end": 3}}]


@pytest.mark.parametrize(
    ("sections", "place", "message"),
    [
        ({"distill": {"losses": COLD}}, "distill.losses.1.temperature", "above 0"),
        ({"distill": {"losses": RISING}}, "distill.losses.0.alpha", "between 0 and 1"),
        ({"quantize": {"options": {"percentile": 20}}}, "quantize.options.percentile", "50 to 100"),
    ],
)
def test_options_out_of_range_are_told_before_anything_is_trained(
    project: Path, sections: dict[str, Any], place: str, message: str
) -> None:
    ((where, said),) = told(project, **sections)

    assert where == place
    assert message in said


def inside(project: Path, **sections: Any) -> list[tuple[str, str]]:
    """Place and message of every fault of the small recipe that only reading its data and building networks can tell."""
    raw = recipe(project, **sections)
    assert preflight.check(raw) == []
    return [(fault.where, fault.message) for fault in preflight.content_faults(raw)]


def test_samples_of_the_small_recipe_have_no_fault(project: Path) -> None:
    assert inside(project) == []


def test_targets_of_another_kind_than_the_task_takes_are_found_without_training(project: Path) -> None:
    ((where, message),) = inside(project, task={"name": "segmentation"}, distill={"losses": [{"name": "mse_logits"}]})

    assert where.startswith("npz:")
    assert message == "this task takes a class of each pixel for each sample, and the data has one class"


def test_a_network_of_a_library_that_does_not_take_the_samples_is_found_without_training(project: Path) -> None:
    ((where, message),) = inside(project, student={"model": "zoo:lenet5"})

    assert where == "zoo:lenet5"
    assert "does not take a batch of shape" in message


def test_code_of_the_users_own_is_not_run_by_a_check(project: Path) -> None:
    (project / "student.py").write_text("raise SystemExit('run')", encoding="utf-8")

    assert inside(project) == []
    assert inside(project, data={"source": f"py:{project / 'student.py'}:load"}) == []
