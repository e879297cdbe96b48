"""Which of how many processes this is, as `torchrun` says in the environment.

A job of several processes runs the same command in each. They share every training step; all else is done by the main
one, while the others wait for what it leaves on the disk, which they must share.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from compressor.files import replacing

_JOB = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")
_POLL_S = 0.05


def world_size() -> int:
    """Processes of the job; 1 without a launcher."""
    return _number("WORLD_SIZE", 1) if _launched() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return _number("RANK", 0) if _launched() else 0


def local_world_size() -> int:
    """Processes of the job on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1) if _launched() else 1


def is_main() -> bool:
    """Whether this is the process that writes and talks."""
    return rank() == 0


def open_to_others(folder: Path) -> None:
    """Let the other processes of the job into a folder, which the main one has put in order.

    Raises:
        OSError: The folder cannot be written.
    """
    if world_size() > 1:
        with replacing(folder / ".job") as written:
            written.write_text(_job(), encoding="utf-8")


def await_opening(folder: Path, *, timeout_s: float) -> bool:
    """Whether the main process has let the others into a folder; waits for it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if (folder / ".job").read_text(encoding="utf-8") == _job():
                return True
        except FileNotFoundError:
            pass
        time.sleep(_POLL_S)
    return False


def wait_to_be_ended(seconds: float) -> None:
    """Leave the launcher time to end this process, as it does when another one fails; returns if it does not."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(seconds)


def _job() -> str:
    """The same in all processes of a job, and another one in the next job."""
    return " ".join(os.environ.get(name, "") for name in _JOB)


def _launched() -> bool:
    # A launcher sets all of these; one of them alone may be left over from something else.
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"} <= os.environ.keys()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
