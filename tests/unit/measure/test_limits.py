"""Less memory and less processor time than the machine has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compressor.errors import MeasurementError
from compressor.measure.limits import CpuQuota, limit_memory

TAKES_300_MB = "import sys; sys.stdin.readline(); held = bytearray(300_000_000); print(len(held))"


def run_with(megabytes: int) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", TAKES_300_MB],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit_memory(process.pid, megabytes=megabytes)
    out, err = process.communicate("go\n")
    return subprocess.CompletedProcess([], process.returncode, out, err)


def test_a_process_gets_no_more_memory_than_it_may_have() -> None:
    assert run_with(1000).stdout.strip() == "300000000"
    assert "MemoryError" in run_with(200).stderr


def test_a_process_that_is_gone_cannot_be_limited() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    with pytest.raises(MeasurementError, match="memory cannot be limited here"):
        limit_memory(process.pid, megabytes=100)


def test_a_quota_is_written_where_version_2_has_it_and_taken_away(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch()
    quota = CpuQuota(0.5, name="ours", cgroups=tmp_path)
    folder = tmp_path / "ours"

    assert (folder / "cpu.max").read_text() == "50000 100000"
    quota.add(7)
    assert (folder / "cgroup.procs").read_text() == "7"
    for file in folder.iterdir():
        file.unlink()  # the kernel's files go with their folder
    quota.close()
    assert not folder.exists()


def test_a_folder_that_is_no_control_group_is_passed_over(tmp_path: Path) -> None:
    """A file of that name in any other folder would limit nothing, and nobody would hear of it."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cgroup.procs").touch()
    CpuQuota(0.5, name="ours", cgroups=tmp_path)

    assert not (tmp_path / "ours").exists()
    assert (tmp_path / "cpu" / "ours" / "cpu.cfs_quota_us").read_text() == "50000"


def test_a_process_gets_no_more_time_than_its_share_where_that_can_be_limited() -> None:
    program = (
        "import sys, time; input(); began = time.process_time(), time.perf_counter()\n"
        "while time.perf_counter() < began[1] + 1: pass\n"
        "print(time.process_time() - began[0])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        quota = CpuQuota(0.2, name=f"compress-test-{process.pid}")
    except MeasurementError:  # no right to; the test below says what is told then
        process.kill()
        process.communicate()
        return
    quota.add(process.pid)
    took = float(process.communicate("\n")[0])
    quota.close()

    assert took < 0.3


def test_without_the_right_to_make_a_group_the_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="processor time cannot be limited here") as told:
        CpuQuota(0.5, name="ours", cgroups=tmp_path / "nowhere")

    assert "leave cpu_share out" in (told.value.hint or "")
