"""`compress demo`: the main job on embedded data, from nothing to a report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put it; what is there already is used.")] = Path(
        "compress-demo"
    ),
    as_json: options.AsJson = False,
) -> None:
    """Teacher → student → ONNX → report on scikit-learn's handwritten digits, in about two minutes.

    It writes what `compress init` writes and runs its recipe.

    Example: compress demo
    """
    import contextlib

    from compressor import console
    from compressor.cli import init, run

    if not (folder / "recipe.toml").exists():
        with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
            init.init(folder)
    with contextlib.chdir(folder):
        run.run(Path("recipe.toml"), as_json=as_json)
    console.note(f"the folder is yours to change: {folder}/recipe.toml, then compress run recipe.toml in it")
