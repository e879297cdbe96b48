"""Flags that several commands share, said once."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Data = Annotated[
    str, typer.Option("--data", help="digits, images:DIR, idx:DIR, cifar:DIR, npz:FILE, py:FILE:callable, or a path.")
]
OtherData = Annotated[
    str | None, typer.Option("--data", help="Other data than the artifact was made with.", show_default=False)
]
Name = Annotated[str | None, typer.Option("--name", help="Folder of the run; by default the model's name.")]
Runs = Annotated[Path, typer.Option("--runs", help="Where runs are kept.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.", min=0)]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="Any recipe setting: --set data.val_share=0.2 (repeatable).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Trust = Annotated[bool, typer.Option("--trust", help="Let the code inside the named model files run, this once.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file that compress did not write; never one that is read here.")
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", help="Passes over the training set; by default 300 steps in all or more.", min=1),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", help="Samples in a step; by default 128, fewer of a small set.", min=2)
]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")]
Optimizer = Annotated[str | None, typer.Option("--optimizer", help="adamw or sgd.")]
Source = Annotated[
    str | None, typer.Argument(help="An artifact or a checkpoint; by default the newest network below runs/.")
]
Arch = Annotated[str | None, typer.Option("--arch", help="The architecture of a source that is a state dict.")]
Teacher = Annotated[
    str | None, typer.Option("--teacher", help="What it learns from; by default its own teacher, else itself.")
]
TeacherArch = Annotated[
    str | None, typer.Option("--teacher-arch", help="The architecture of a teacher that is a state dict.")
]
Loss = Annotated[
    list[str] | None, typer.Option("--loss", help="compress list losses shows them; kd by default (repeatable).")
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]

TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Also write TensorBoard event files: RUN/tensorboard.")
]


def command_line() -> str:
    """What the user typed, to be shown as the line that goes on or does it again."""
    return shlex.join(["compress", *sys.argv[1:]])


def given(**settings: Any) -> dict[str, Any]:
    """The settings that were stated; the others keep the recipe's defaults."""
    return {name: value for name, value in settings.items() if value is not None}


def listed(text: str | None) -> list[str] | None:
    """The words of `a, b`."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def event_files(wanted: bool) -> None:
    """With `--tensorboard`, let trainings write event files."""
    if wanted:
        from compressor.training import events

        events.switch_on()


def trusted(named: Iterable[str | Path | None], *, trust: bool, with_run: bool = False) -> None:
    """With `--trust`, let the code inside the named model files run in this process and those it starts.

    Args:
        named: What was named; None where nothing was.
        trust: Whether `--trust` was typed.
        with_run: Whether the run of an artifact is read along: the networks and measurements beside it.
    """
    if not trust:
        return
    from compressor import artifact
    from compressor import trust as store

    places = [Path(each) for each in named if each is not None]
    if with_run:
        places = [place.resolve().parent if artifact.is_artifact(place) else place for place in places]
    for place in places:
        if place.exists():
            store.for_this_process(place)


def models_in(recipe: Path, assignments: Sequence[str]) -> list[str]:
    """What stands as `model` anywhere in a recipe: teacher and its members, assistants, student."""
    from compressor import recipe as recipes

    return list(_models_below(recipes.override(recipes.read_file(recipe), assignments)))


def _models_below(raw: object) -> Iterator[str]:
    if isinstance(raw, Mapping):
        if isinstance(raw.get("model"), str):
            yield raw["model"]
        raw = list(raw.values())
    for part in raw if isinstance(raw, list) else ():
        yield from _models_below(part)
