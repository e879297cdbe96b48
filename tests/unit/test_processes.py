"""Which process this is, and how the others get into the folder that the main one holds."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from compressor import artifact, processes

LAUNCHED = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "first-machine",
    "MASTER_PORT": "29500",
}


@pytest.fixture(autouse=True)
def nothing_launched(monkeypatch):
    for name in (*LAUNCHED, "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def launched(monkeypatch):
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)


def test_without_a_launcher_there_is_one_process_and_it_is_the_main_one():
    assert (processes.rank(), processes.world_size(), processes.local_world_size()) == (0, 1, 1)
    assert processes.is_main()


@pytest.mark.usefixtures("launched")
def test_a_launcher_says_which_process_this_is():
    assert (processes.rank(), processes.world_size(), processes.local_world_size()) == (3, 4, 2)
    assert not processes.is_main()


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"])
def test_what_is_left_over_from_something_else_is_no_launcher(launched, monkeypatch, name):
    monkeypatch.delenv(name)
    assert (processes.rank(), processes.world_size(), processes.local_world_size()) == (0, 1, 1)


@pytest.mark.usefixtures("launched")
def test_others_come_in_when_the_main_process_has_opened(tmp_path):
    opener = threading.Timer(0.2, processes.open_to_others, [tmp_path])
    began = time.monotonic()
    opener.start()
    assert processes.await_opening(tmp_path, timeout_s=30)
    opener.join()
    assert 0.2 <= time.monotonic() - began < 30


@pytest.mark.usefixtures("launched")
def test_a_folder_that_the_main_process_does_not_share_stays_closed(tmp_path):
    assert not processes.await_opening(tmp_path / "not there", timeout_s=0.2)


@pytest.mark.parametrize(("name", "value"), [("MASTER_PORT", "29501"), ("TORCHELASTIC_RESTART_COUNT", "1")])
def test_what_an_earlier_job_has_opened_is_closed_to_the_next(launched, tmp_path, monkeypatch, name, value):
    processes.open_to_others(tmp_path)
    assert processes.await_opening(tmp_path, timeout_s=1)
    monkeypatch.setenv(name, value)
    assert not processes.await_opening(tmp_path, timeout_s=0.2)


def test_a_process_alone_leaves_no_mark(tmp_path):
    processes.open_to_others(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_process_that_waits_to_be_ended_ends_without_a_word():
    code = "from compressor import processes; print('waits', flush=True); processes.wait_to_be_ended(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == -signal.SIGTERM


def leave(folder: Path, *, key: str, text: str) -> artifact.Artifact:
    with artifact.folder_for(folder) as temporary:
        (temporary / "a.txt").write_text(text, encoding="utf-8")
        return artifact.seal(temporary, folder, artifact.Manifest("torch", "train", "teacher", key, 0, {}))


@pytest.mark.parametrize(("key", "text"), [("older", "whole"), ("wanted", "damaged")])
def test_the_artifact_of_another_process_is_awaited_where_an_older_or_a_damaged_one_stands(tmp_path, key, text):
    folder = tmp_path / "train"
    leave(folder, key=key, text="whole").file("a.txt").write_text(text, encoding="utf-8")
    other = threading.Timer(0.5, leave, [folder], {"key": "wanted", "text": "new"})
    other.start()
    found = artifact.await_other(folder, key="wanted")
    other.join()
    assert found.file("a.txt").read_text(encoding="utf-8") == "new"
