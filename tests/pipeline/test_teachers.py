"""Kinds of teacher in whole runs: each ends in a student; killed and resumed it ends the same; combinations are networks."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from compressor import api, artifact, registry
from compressor.cli import main as command_line
from compressor.errors import InputError, RecipeError
from compressor.models import checkpoint
from tests.small import recipe, write_project

TRAINING = {"epochs": 3, "batch_size": 32, "lr": 0.02, "compile": False}
STAGED = """
from torch import nn

def build(num_classes: int, in_channels: int = 1, width: int = {width}) -> nn.Module:
    def stage(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
    return nn.Sequential(
        stage(in_channels, width), nn.MaxPool2d(2), stage(width, 2 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2 * width, num_classes),
    )
"""
ALONE = ["previous_epoch", "last_batch", "second_view", "same_class", "own_depth", "ema", "peers", "born_again"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = write_project(tmp_path_factory.mktemp("teachers"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COMPRESS_CACHE", str(folder / "caches"))
        yield written(folder)


def written(folder):
    (folder / "student.py").write_text(STAGED.format(width=8), encoding="utf-8")
    (folder / "mid.py").write_text(STAGED.format(width=10), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def teachers(project):
    """Two trained teachers."""
    return [
        api.train(
            project / "teacher.py",
            data=f"npz:{project / 'data.npz'}",
            name=f"taught-{seed}",
            runs=project / "runs",
            seed=seed,
            options={"epochs": 3, "batch_size": 32, "lr": 0.01},
        )
        for seed in (0, 1)
    ]


def distilled(project, teacher=None, **asked):
    options = {**TRAINING, **asked.pop("options", {})}
    return api.distill(
        teacher,
        project / "student.py",
        data=f"npz:{project / 'data.npz'}",
        runs=project / "runs",
        options=options,
        assignments=("data.views.crop=1", "data.views.flip=false", *asked.pop("assignments", ())),
        **asked,
    )


def accuracy(made):
    return made.manifest.metrics["test"]["metrics"]["accuracy"]


def weights(made):
    return load_file(made.file("weights.safetensors"))


def test_every_kind_without_another_network_is_here():
    alone = {
        m.name
        for m in registry.members("teachers")
        if not {"network", "networks", "file"} & {o.name for o in m.positional}
    }

    assert alone | {"born_again"} == {*ALONE, "none"}


@pytest.mark.parametrize("kind", ALONE)
def test_a_student_learns_without_another_network(project, kind):
    made = distilled(project, kind=kind, name=f"alone-{kind}", options={"epochs": 6})

    told = made.manifest.details["teacher"]
    assert told["kind"] == kind
    assert accuracy(made) > 0.5
    assert set(weights(made)) == set(weights(distilled(project, kind="none", name="labels")))


def test_an_ensemble_is_a_network_of_its_own_that_reads_back_the_same(project, teachers):
    made = distilled(project, [each.path for each in teachers], name="ensemble", options={"epochs": 5})

    whole = artifact.read(made.parent("teacher").path)
    assert whole.manifest.details["network"]["form"] == "combined"
    assert made.manifest.details["teacher"]["kind"] == "ensemble"
    assert len(made.manifest.details["teacher"]["members"]) == 2
    some = torch.rand(3, 1, 8, 8)
    network = checkpoint.load(whole).network
    members = [checkpoint.load(each).network for each in teachers]
    mean = torch.stack([member(some).softmax(dim=1) for member in members]).mean(dim=0)
    torch.testing.assert_close(network(some).softmax(dim=1), mean)
    assert accuracy(made) > 0.7


def test_a_union_knows_what_its_members_know_apart(project):
    source = f"npz:{project / 'data.npz'}"
    halves = [["north-west", "north-east"], ["south-west", "south-east"]]
    raw = recipe(project, name="union", stages=["distill"], distill={**TRAINING, "epochs": 6})
    del raw["train"]
    raw["data"]["source"] = source
    members = []
    for number, names in enumerate(halves):
        file = project / f"half{number}.npz"
        write_half(project / "data.npz", file, names)
        trained = api.train(
            project / "teacher.py",
            data=f"npz:{file}",
            name=f"half-{number}",
            runs=project / "runs",
            options={"epochs": 4, "batch_size": 32, "lr": 0.01},
        )
        members.append({"model": str(trained.path)})
    raw["teacher"] = {"kind": "union", **members[0], "members": members[1:]}

    student = api.run(raw).artifacts["student"]

    whole = student.parent("teacher")
    assert whole.manifest.data["classes"] == [*halves[0], *halves[1]]
    assert accuracy(whole) > 0.5
    assert accuracy(student) > 0.5
    told = student.manifest.details["teacher"]["members"]
    assert [each.rpartition(": ")[2] for each in told] == ["north-west, north-east", "south-west, south-east"]
    assert api.export(whole.path).manifest.details["parity"]["agreement"] == 1.0


def write_half(source, target, names):
    import numpy as np

    data = dict(np.load(source))
    classes = [str(name) for name in data["classes"]]
    for split in ("train", "test"):
        labels = data[f"y_{split}"]
        wanted = np.isin(labels, [classes.index(name) for name in names])
        data[f"x_{split}"] = data[f"x_{split}"][wanted]
        data[f"y_{split}"] = np.array([names.index(classes[label]) for label in labels[wanted]])
    data["classes"] = np.array(names)
    np.savez(target, **data)


def test_assistants_stand_between_teacher_and_student(project, teachers):
    made = distilled(project, teachers[0].path, name="via", via=[project / "mid.py"])

    assistant = made.parent("teacher")
    assert assistant.manifest.role == "assistant"
    assert assistant.parent("teacher").path == teachers[0].path
    assert assistant.manifest.details["network"]["params"] > made.manifest.details["network"]["params"]


def test_generations_are_born_of_one_another(project):
    made = distilled(project, kind="born_again", kind_options={"generations": 2}, name="generations")

    last = made.parent("teacher")
    assert last.path.name == "generation-1"
    assert last.parent("teacher").path.name == "generation-0"
    assert len({made.manifest.seed, last.manifest.seed, last.parent("teacher").manifest.seed}) == 3


def test_deeper_features_of_its_own_teach_shallower_ones(project):
    made = distilled(
        project, kind="own_depth", name="features", loss=[{"name": "kd", "alpha": 0.3}, {"name": "fitnet"}]
    )

    (told,) = [d.reason for d in made.manifest.decisions if d.what == "features of fitnet"]
    assert told.startswith("0 8×8×8 ← 2 16×4×4")
    assert "fitnet:features" in made.manifest.details["curve"][-1]["losses"]


def test_the_report_of_a_student_without_a_teacher_is_written(project):
    raw = recipe(project, name="self", distill={**TRAINING, "control": True})
    del raw["train"]
    raw["teacher"] = {"kind": "last_batch"}

    finished = api.run(raw)

    page = (finished.report.path / "report.html").read_text(encoding="utf-8")
    assert "last_batch" in page


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kind": None}, "who teaches"),
        ({"kind": "network"}, "'network' needs a network"),
        ({"kind": "ensemble", "teacher": "one"}, "'ensemble' needs several networks"),
        ({"kind": "last_batch", "teacher": "one"}, "'last_batch' takes no trained network"),
        ({"kind": "network", "teacher": "two"}, "'network' accepts only one network"),
        ({"kind": "emma"}, "no teacher is called 'emma'"),
        ({"kind": "ema", "kind_options": {"decai": 0.9}}, "ema has no option 'decai'"),
    ],
)
def test_a_teacher_that_cannot_be_is_told_of_before_anything_is_spent(project, teachers, asked, message):
    named = {"one": teachers[0].path, "two": [each.path for each in teachers]}
    given = {**asked, "teacher": named.get(asked.get("teacher"))}

    with pytest.raises((InputError, RecipeError), match=message):
        distilled(project, name="refused", **given)


def test_the_kind_is_named_on_the_command_line(project, monkeypatch, capsys):
    line = ["compress", "distill", "--student", str(project / "student.py"), "--data", f"npz:{project / 'data.npz'}"]
    line += ["--teacher-kind", "second_view", "--epochs", "1", "--runs", str(project / "runs"), "--json"]

    monkeypatch.setattr("sys.argv", line)

    with pytest.raises(SystemExit) as ended:
        command_line.main()

    assert ended.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["path"].endswith("distill")


def test_a_temperature_may_change_over_the_run(project, teachers):
    cooling = {
        "name": "kd",
        "temperature": {"start": 8.0, "end": 1.0, "shape": "cosine"},
        "weight": {"end": 1.0, "until": 0.2},
    }

    made = distilled(project, teachers[0].path, name="cooling", loss=cooling)

    assert made.manifest.settings["training"]["losses"][0]["temperature"]["end"] == 1.0
    assert accuracy(made) > 0.4
