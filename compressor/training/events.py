"""TensorBoard event files of a run's trainings: `runs/NAME/tensorboard/TITLE/`, one point an epoch.

Off unless `switch_on` was called. What is written is the curve that the manifest keeps as well, while it grows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from compressor import processes
from compressor.errors import InputError

FOLDER = "tensorboard"
_writers: dict[Path, Any] = {}
_on = False


def switch_on(wanted: bool = True) -> None:
    """Write event files from now on, in this process.

    Raises:
        InputError: TensorBoard's library is not here.
    """
    global _on
    if wanted:
        try:
            import tensorboard.summary.writer.event_file_writer  # noqa: F401
        except ImportError as fault:
            raise InputError(
                "TensorBoard's library is not here", where="--tensorboard", hint="pip install 'compressor[tensorboard]'"
            ) from fault
    _on = wanted


def is_on() -> bool:
    """Whether event files are written."""
    return _on


def write_epoch(entry: Mapping[str, Any], *, state: Path, title: str) -> None:
    """Add one entry of a training curve.

    Args:
        entry: As the manifest keeps it: `epoch`, `lr`, `losses`, `train_loss`, `val`, `images_per_s`.
        state: Where the training keeps its unfinished work; its run's folder lies above it.
        title: Of the training, as the terminal calls it.
    """
    if not _on or not processes.is_main():
        return
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    folder = _run_folder(state) / FOLDER / title.replace("/", "-")
    if folder not in _writers:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder.mkdir(parents=True, exist_ok=True)
        _writers[folder] = EventFileWriter(str(folder))
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(entry)]
    _writers[folder].add_event(Event(wall_time=time.time(), step=entry["epoch"] + 1, summary=Summary(value=values)))
    _writers[folder].flush()


def _scalars(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield "train/lr", entry["lr"]
    yield "train/loss", entry["train_loss"]
    yield "train/images_per_s", entry["images_per_s"]
    for name, value in entry["losses"].items():
        yield f"losses/{name}", value
    for name, value in (entry["val"] or {}).items():
        yield f"val/{name}", value
    for phase, milliseconds in entry.get("ms_per_step", {}).items():
        yield f"ms_per_step/{phase}", milliseconds


def _run_folder(state: Path) -> Path:
    """The folder that holds the hidden folder that `state` lies in, or is."""
    hidden = [folder for folder in (state, *state.parents) if folder.name.startswith(".") and folder.name != ".."]
    return (hidden[-1] if hidden else state).parent
