"""`compress report`: the report of a run's measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options


def report(
    source: Annotated[
        str | None, typer.Argument(help="A run folder or a bench artifact; by default the newest measurements.")
    ] = None,
    runs: options.Runs = Path("runs"),
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the report.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write the report of a run as one HTML file, as Markdown and as JSON.

    Example: compress report runs/digits
    """
    from compressor import api, console

    made = api.report(source, runs=runs, destination=out)
    files = [made.file(name) for name in made.manifest.files]
    if as_json:
        console.as_json({"path": str(made.path), "files": [str(file) for file in files]})
        return
    for file in files:
        console.show(f"report: {file}")
