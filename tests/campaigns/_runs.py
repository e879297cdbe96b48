"""Small runs of the whole chain that campaigns attack, and the processes that make them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compressor import artifact
from tests.small import QUICK_BENCH, recipe

SAME_EACH_TIME = {"compile": False, "channels_last": False, "device": "cpu", "precision": "32"}
"""Nothing that hangs on how long a step took: an interrupted run must end with equal bytes."""


def chain(folder: Path, **sections: Any) -> dict[str, Any]:
    """A recipe of the whole chain over the small project in `folder`: train, distill, prune, quantize, export."""
    training = {"batch_size": 32, "lr": 0.01, **SAME_EACH_TIME}
    raw = recipe(folder, stages=["train", "distill", "prune", "quantize", "export"])
    raw["data"]["views"]["count"] = 2  # the teacher's predictions are kept
    raw |= {
        "train": {"epochs": 4, **training},
        "distill": {"epochs": 4, "control": True, **training},
        "prune": {"macs": 0.6, "epochs": 2, "rounds": 2, "round_to": 1, **training},
        "quantize": {"calibration": 32, "mixed": False},
        "bench": QUICK_BENCH,
    }
    return raw | sections


def warm_up() -> None:
    """Import what a chain needs, so that forked children begin with the work itself.

    The exporter reads its 1 500 operator translations anew for every model, half of the time of a small export: once here.
    """
    from onnxscript._framework_apis import torch_2_5

    for name in ("train", "distill", "prune", "export", "quantize"):
        importlib.import_module(f"compressor.stages.{name}")
    importlib.import_module("torch.onnx._internal.exporter._core")
    torch_2_5.get_torchlib_ops = functools.cache(torch_2_5.get_torchlib_ops)
    torch_2_5.get_torchlib_ops()


def in_child(work: Callable[[], object], *, log: Path, home: Path) -> int:
    """Fork a process that does some work and ends with 0, or writes its traceback to `log` and ends with 1.

    The parent has everything imported, so that a child starts at once; it has run nothing, so that no thread is lost.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.environ["COMPRESS_HOME"] = str(home)
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - it goes to the log
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def ended(pid: int, *, within_s: float) -> int | None:
    """The exit code of a child (negative: of the signal that ended it); None where it is still at work after that time."""
    until = time.monotonic() + within_s
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.002)


def kill(pid: int) -> None:
    """End a child as the system does that is out of memory: at once, it alone."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def end_rest(pid: int) -> None:
    """End what a killed child has started, which would end by itself a little later."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def results(run: Path) -> dict[str, str]:
    """SHA-256 of the weights and ONNX models of a run, by their path in it."""
    files = [*run.glob("[!.]*/weights.safetensors"), *run.glob("[!.]*/model.onnx")]
    return {file.relative_to(run).as_posix(): artifact.sha256(file) for file in sorted(files)}


def left_behind(run: Path) -> list[str]:
    """Hidden files and folders that a finished run should not have."""
    usual = {artifact.LOCK, ".job", ".recipe.sha256"}
    return sorted(entry.name for entry in run.glob(".*") if entry.name not in usual)


def copied(source: Path, destination: Path) -> Path:
    """A copy of a folder, symbolic links as they are."""
    return Path(shutil.copytree(source, destination, symlinks=True))
