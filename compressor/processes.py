"""Which of how many processes this is, as `torchrun` says in the environment; standard library only.

A job of several processes runs the same command in each. They share every training step; all else is done by the main
one, while the others wait for what it leaves on the disk, which they must share.
"""

from __future__ import annotations

import os


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


def _launched() -> bool:
    # A launcher sets all of these; one of them alone may be left over from something else.
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"} <= os.environ.keys()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
