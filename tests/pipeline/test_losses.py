"""Losses in whole runs: those on features, together with others, exported without what was learned along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from compressor import api, registry
from compressor.cli import main as command_line
from compressor.errors import InputError, ModelError
from compressor.losses._attention import AttentionLoss
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

ATTENDING = """
from timm.models.vision_transformer import VisionTransformer

def build(num_classes: int, in_channels: int = 1):
    return VisionTransformer(
        img_size=8, patch_size=2, in_chans=in_channels, num_classes=num_classes,
        embed_dim={width}, depth={depth}, num_heads=2,
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


@pytest.fixture(scope="module")
def attending(tmp_path_factory, project):
    """The same with transformers, for losses on attention."""
    folder = write_project(tmp_path_factory.mktemp("attending"))
    (folder / "teacher.py").write_text(ATTENDING.format(width=24, depth=3), encoding="utf-8")
    (folder / "student.py").write_text(ATTENDING.format(width=16, depth=2), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPRESS_HOME", str(project / "home"))
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


def reads_attention(member):
    return issubclass(member.load(), AttentionLoss)


@pytest.mark.parametrize("name", [m.name for m in registry.members("losses") if not reads_attention(m)])
def test_every_loss_trains_a_student_beside_the_labels(project, name):
    takes = {option.name for option in registry.find("losses", name).options}
    beside = [{"name": "hard"}] if "pairs" in takes else []

    made = distilled(project, f"with-{name}", {"name": name}, *beside)

    curve = made.manifest.details["curve"]
    assert curve[-1]["losses"][name] == pytest.approx(curve[-1]["losses"][name])  # a number, not NaN
    assert made.manifest.metrics["test"]["metrics"]["accuracy"] > 0.4


def test_losses_on_attention_train_a_transformer_from_another(attending):
    names = [member.name for member in registry.members("losses") if reads_attention(member)]
    assert names

    made = distilled(attending, "attending", {"name": "hard"}, *({"name": name} for name in names), lr=0.005)

    first, last = (made.manifest.details["curve"][at]["losses"] for at in (0, -1))
    assert all(last[name] < first[name] for name in names)
    told = {decision.what: decision.reason for decision in made.manifest.decisions}
    assert "blocks.0.attn.qkv 17×48 ← blocks.1.attn.qkv 17×72" in told["features of attention_maps"]
    assert told["features of minilm"].endswith("(the last attention layers)")


def test_convolutional_networks_have_no_attention_to_read(project):
    with pytest.raises(ModelError, match="no attention layer of the student can be read"):
        distilled(project, "no-attention", {"name": "kd"}, {"name": "minilm"})


def test_the_students_own_depth_teaches_by_moving_places(project):
    section = {**TRAINING, "losses": [{"name": "kd"}, {"name": "emd"}]}
    raw = recipe(project, name="own", stages=["distill"], teacher={"kind": "own_depth"}, distill=section)
    del raw["train"]

    made = api.run(raw).artifacts["student"]

    curve = made.manifest.details["curve"]
    assert curve[-1]["losses"]["emd:features"] < curve[0]["losses"]["emd:features"]


def test_recovery_may_learn_from_a_discriminator_of_answers(project):
    teacher = distilled(project, "to-judge", {"name": "kd"})

    pruned = api.prune(teacher.path, loss={"name": "adversarial"}, options={"epochs": 1, "rounds": 1})

    assert pruned.manifest.settings


def test_pairs_are_chosen_and_told_and_the_projector_stays_behind(project):
    made = distilled(project, "hint", {"name": "kd"}, {"name": "fitnet", "weight": 10.0})

    assert "2 16×4×4 ← 2 24×4×4" in _told(made, "features of fitnet")
    assert not [name for name in load_file(made.file("weights.safetensors")) if "projector" in name]
    assert _told(made, "teacher cache") == "a loss reads features, which are too large to keep"


def test_the_same_run_twice_gives_the_same_weights(project):
    losses = {"name": "kd"}, {"name": "fitnet"}
    first, second = (distilled(project, name, *losses) for name in ("once", "twice"))

    ours, theirs = (load_file(made.file("weights.safetensors")) for made in (first, second))
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_features_alone_are_refused_since_they_leave_the_last_layer_untaught(project):
    with pytest.raises(InputError, match="leaves the last layer untaught") as told:
        distilled(project, "alone", {"name": "rkd"})

    assert "add kd" in (told.value.hint or "")


def test_recovery_may_compare_features_with_the_network_that_was_cut(project):
    whole = distilled(project, "to-prune", {"name": "kd"})
    losses = [{"name": "kd"}, {"name": "fitnet", "pairs": [["2", "2"]], "projected": False}]

    options = {"epochs": 2, "rounds": 1, "losses": losses, "ignore": ["2"]}
    made = api.prune(whole.path, teacher=whole.path, options=options)

    curve = made.manifest.details["curve"]
    assert curve[-1]["losses"]["fitnet"] < curve[0]["losses"]["fitnet"]
    assert "2 16×4×4 ← 2 16×4×4" in _told(made, "features of fitnet")
    assert _told(made, "teacher cache") == "a loss reads features, which are too large to keep"


@pytest.mark.slow
def test_training_with_rounding_may_compare_features(project):
    source = distilled(project, "to-round", {"name": "kd"})
    losses = [{"name": "kd"}, {"name": "fitnet", "projected": False}]

    options = {"method": "qat", "epochs": 1, "losses": losses}
    made = api.quantize(source.path, teacher=source.path, options=options)

    assert "fitnet" in made.manifest.details["curve"][0]["losses"]


def _told(made, what):
    (told,) = [decision.reason for decision in made.manifest.decisions if decision.what == what]
    return told


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


def test_the_commands_that_recover_take_losses_too(project, monkeypatch, capsys):
    source = distilled(project, "to-recover", {"name": "kd"})
    words = ["prune", str(source.path), "--loss", "similarity_preserving", "--macs", "0.8", "--rounds", "1"]
    words += ["--max-drop", "100"]  # one epoch brings little back, which is not what is asked here
    words += ["--epochs", "1", "--runs", str(project / "runs"), "--json"]
    monkeypatch.setattr("sys.argv", ["compress", *words])
    try:
        command_line.main()
    except SystemExit as end:
        assert not end.code  # noqa: PT017

    made = api.artifact.read(Path(json.loads(capsys.readouterr().out)["path"]))
    kept = made.manifest.settings["training"]["losses"]
    assert [entry["name"] for entry in kept] == ["kd", "similarity_preserving"]
