"""What an artifact names by a relative path is the file it was made with, wherever a command is typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compressor import api, artifact, trust
from compressor.errors import TrustError
from tests.small import with_manifest

DATA = """
import numpy as np
from beside import CLASSES

def load():
    random = np.random.default_rng(0)
    y = np.arange(80) % 2
    return {"x_train": (y[:, None] + random.normal(0, 0.2, (80, 4))).astype("float32"), "y_train": y, "classes": CLASSES}
"""
NETWORK = """
from torch import nn

def build(num_classes):
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, num_classes))
"""
TASK = """
from compressor.tasks.classification import Classification
from tests.small import with_manifest

class Mine(Classification):
    '''As it is.'''
"""
TRAP = "open({mark!r}, 'w').close()\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, home_of_module: Path) -> Path:
    """A project whose network was trained on the data that a function of its own gives, with a task of its own."""
    project = tmp_path_factory.mktemp("own") / "project"
    project.mkdir()
    (project / "data.py").write_text(DATA)
    (project / "beside.py").write_text("CLASSES = ('low', 'high')\n")
    (project / "net.py").write_text(NETWORK)
    (project / "task.py").write_text(TASK)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        api.train("net.py", data="data.py:load", options={"epochs": 1}, assignments=["task.name=task.py:Mine"])
    return project


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one's own of it, which is the working directory."""
    copy = Path(shutil.copytree(original, tmp_path / "project"))
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that a trap writes."""
    return tmp_path / "code-has-run"


def other_files(folder: Path, mark: Path) -> Path:
    """A folder with other files of the same names."""
    folder.mkdir()
    for name in ("data.py", "beside.py", "task.py", "net.py"):
        (folder / name).write_text(TRAP.format(mark=str(mark)))
    return folder


def test_the_manifest_keeps_place_and_hash_of_what_its_settings_name(project: Path) -> None:
    made = artifact.read(project / "runs" / "net" / "train")

    assert set(made.manifest.code) == {"py:data.py:load", "task.py:Mine"}
    kept = made.manifest.code["py:data.py:load"]
    assert kept["path"] == "../../../data.py"
    assert kept["files"] == {name: artifact.sha256(project / name) for name in ("data.py", "beside.py")}


def test_where_it_was_made_nothing_is_asked(project: Path) -> None:
    assert api.evaluate(project / "runs" / "net" / "train")["samples"] == 12


def test_elsewhere_the_same_files_are_taken_and_not_others_of_their_names(
    project: Path, tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(other_files(tmp_path / "elsewhere", mark))

    assert api.evaluate(project / "runs" / "net" / "train")["samples"] == 12

    assert not mark.exists()


@pytest.mark.parametrize("name", ["data.py", "beside.py", "task.py"])
@pytest.mark.parametrize("call", [api.evaluate, api.export, api.prune])
def test_an_edited_file_is_told_and_does_not_run(
    project: Path, mark: Path, name: str, call: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project / name
    file.write_text(file.read_text() + TRAP.format(mark=str(mark)))

    with pytest.raises(TrustError, match=r"is not what the artifact was made with.*(--data|--set).*compress trust"):
        call(project / "runs" / "net" / "train")  # type: ignore[operator]

    assert not mark.exists()


def test_a_file_that_is_new_beside_it_and_would_be_imported_is_told(project: Path, mark: Path) -> None:
    (project / "numpy.py").write_text(TRAP.format(mark=str(mark)))

    with pytest.raises(TrustError, match="is not what the artifact was made with"):
        api.evaluate(project / "runs" / "net" / "train")

    assert not mark.exists()


def test_files_that_are_gone_are_told(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "data.py").unlink()

    with pytest.raises(TrustError, match="neither here nor where it was"):
        api.evaluate(project / "runs" / "net" / "train")


def test_an_edited_file_runs_when_the_user_names_or_trusts_it(project: Path, mark: Path) -> None:
    (project / "data.py").write_text(DATA + TRAP.format(mark=str(mark)))
    api.evaluate(project / "runs" / "net" / "train", data="py:data.py:load")
    assert mark.exists()

    mark.unlink()
    (project / "data.py").write_text(DATA + "# again\n" + TRAP.format(mark=str(mark)))
    for name in ("data.py", "beside.py"):
        trust.remember(project / name)
    api.evaluate(project / "runs" / "net" / "train")
    assert mark.exists()


def test_an_artifact_that_does_not_say_which_file_it_was_is_told(project: Path) -> None:
    made = project / "runs" / "net" / "train"
    with_manifest(made, lambda raw: raw.pop("code"))
    trust.remember(made)

    with pytest.raises(TrustError, match=r"does not say which file.*--data py:data\.py:load"):
        api.evaluate(made)


@pytest.mark.parametrize("name", ["net.py", "data.py"])
def test_a_training_whose_code_was_edited_is_not_timed(project: Path, mark: Path, name: str) -> None:
    file = project / name
    file.write_text(file.read_text() + TRAP.format(mark=str(mark)))

    with pytest.raises(TrustError, match="is not what it was trained with"):
        api.profile(project / "runs" / "net" / "train", steps=2)

    assert not mark.exists()
