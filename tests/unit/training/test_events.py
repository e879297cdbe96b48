"""Event files for TensorBoard, read back with its own reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor import api
from compressor.errors import InputError
from compressor.training import events
from tests.small import recipe, write_project


@pytest.fixture(autouse=True)
def off_again():
    yield
    events.switch_on(False)
    events._writers.clear()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.iterdir()):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                number = value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value
                found.setdefault(value.tag, []).append((event.step, number))
    return found


def test_every_epoch_of_every_training_is_a_point(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "home"))
    events.switch_on()

    done = api.run(recipe(write_project(tmp_path), stages=["distill"]))

    assert {folder.name for folder in (done.folder / "tensorboard").iterdir()} == {"teacher", "control", "student"}
    read = scalars(done.folder / "tensorboard" / "student")
    curve = done.artifacts["student"].manifest.details["curve"]
    assert [step for step, _ in read["train/loss"]] == [1, 2, 3, 4]
    assert [value for _, value in read["val/accuracy"]] == pytest.approx([e["val"]["accuracy"] for e in curve])
    assert [value for _, value in read["losses/kd"]] == pytest.approx([e["losses"]["kd"] for e in curve])


def test_nothing_is_written_unless_it_was_asked_for(tmp_path):
    events.write_epoch({"epoch": 0}, state=tmp_path / ".distill.state", title="student")

    assert not list(tmp_path.iterdir())


def test_recovery_within_a_link_writes_into_the_same_run(tmp_path):
    assert events._run_folder(tmp_path / ".prune.state" / "training-1") == tmp_path
    assert events._run_folder(tmp_path / ".distill.state") == tmp_path


def test_without_the_library_the_line_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.summary.writer.event_file_writer", None)

    with pytest.raises(InputError, match="TensorBoard's library is not here") as told:
        events.switch_on()

    assert told.value.hint == "pip install 'compressor[tensorboard]'"
