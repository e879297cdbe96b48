"""Losses in whole runs: those on features, together with others, exported without what was learned along."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from compressor import api, registry
from compressor.cli import main as command_line
from compressor.errors import InputError
from tests.small import recipe, write_project

TRAINING = {"epochs": 6, "batch_size": 32, "lr": 0.03}
DEEPER = """
from torch import nn

def build(num_classes: int, in_channels: int = 1, width: int = {width}) -> nn.Module:
    def stage(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
    return nn.Sequential(
        stage(in_channels, width), nn.MaxPool2d(2), stage(width, 2 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2 * width, num_classes),
    )
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = write_project(tmp_path_factory.mktemp("losses"))
    (folder / "teacher.py").write_text(DEEPER.format(width=12), encoding="utf-8")
    (folder / "student.py").write_text(DEEPER.format(width=8), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPRESS_HOME", str(folder / "home"))
        api.run(recipe(folder, name="teacher", stages=["train"]))
    return folder


@pytest.fixture(autouse=True)
def at_home(project, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))


def distilled(project, name, *losses, **training):
    """A student of the teacher that all tests here share."""
    raw = recipe(project, name=name, stages=["distill"], teacher={"model": str(project / "runs" / "teacher" / "train")})
    del raw["train"]
    return api.run(raw | {"distill": {**TRAINING, **training, "losses": list(losses)}}).artifacts["student"]


@pytest.mark.parametrize("name", [member.name for member in registry.members("losses")])
def test_every_loss_trains_a_student_beside_the_labels(project, name):
    takes = {option.name for option in registry.find("losses", name).options}
    beside = [{"name": "hard"}] if "pairs" in takes else []

    made = distilled(project, f"with-{name}", {"name": name}, *beside)

    curve = made.manifest.details["curve"]
    assert curve[-1]["losses"][name] == pytest.approx(curve[-1]["losses"][name])  # a number, not NaN
    assert made.manifest.metrics["test"]["metrics"]["accuracy"] > 0.4


def test_pairs_are_chosen_and_told_and_the_projector_stays_behind(project):
    made = distilled(project, "hint", {"name": "kd"}, {"name": "fitnet", "weight": 10.0})

    (told,) = [decision.reason for decision in made.manifest.decisions if decision.what == "features of fitnet"]
    assert "2 16×4×4 ← 2 24×4×4" in told
    assert not [name for name in load_file(made.file("weights.safetensors")) if "projector" in name]
    assert [d.reason for d in made.manifest.decisions if d.what == "teacher cache"] == [
        "a loss reads features, which are too large to keep"
    ]


def test_the_same_run_twice_gives_the_same_weights(project):
    losses = {"name": "kd"}, {"name": "fitnet"}
    first, second = (distilled(project, name, *losses) for name in ("once", "twice"))

    ours, theirs = (load_file(made.file("weights.safetensors")) for made in (first, second))
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_features_alone_are_refused_since_they_leave_the_last_layer_untaught(project):
    with pytest.raises(InputError, match="leaves the last layer untaught") as told:
        distilled(project, "alone", {"name": "rkd"})

    assert "add kd" in (told.value.hint or "")


def test_recovery_compares_answers_alone(project):
    teacher = distilled(project, "to-prune", {"name": "kd"})

    with pytest.raises(InputError, match="recovery compares answers alone"):
        api.prune(teacher.path, loss={"name": "pkt"}, options={"epochs": 1})


def test_the_command_takes_several_losses_and_gives_each_the_options_it_has(project, monkeypatch, capsys):
    teacher = distilled(project, "for-cli", {"name": "kd"}).parent("teacher")
    words = ["distill", "--teacher", str(teacher.path), "--student", str(project / "student.py"), "--name", "cli"]
    words += ["--data", f"npz:{project / 'data.npz'}", "--runs", str(project / "runs"), "--epochs", "1", "--json"]
    words += ["--loss", "dkd", "--loss", "attention_transfer", "--temperature", "2"]
    monkeypatch.setattr("sys.argv", ["compress", *words])
    try:
        command_line.main()
    except SystemExit as end:
        assert not end.code  # noqa: PT017

    kept = api.artifact.read(project / "runs" / "cli" / "distill").manifest.settings["training"]["losses"]
    assert [(entry["name"], entry.get("temperature")) for entry in kept] == [("dkd", 2.0), ("attention_transfer", None)]


def test_an_option_that_no_loss_has_is_refused(project, monkeypatch, capsys):
    words = [
        "distill",
        "--teacher",
        "t.pt",
        "--student",
        "s.py",
        "--data",
        "digits",
        "--loss",
        "dist",
        "--alpha",
        "0.5",
    ]
    monkeypatch.setattr("sys.argv", ["compress", *words])
    with pytest.raises(SystemExit) as end:
        command_line.main()

    assert end.value.code == 2
    assert "dist has no alpha" in capsys.readouterr().err
