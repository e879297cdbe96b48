"""`compress pack`: a run's models, with what measures them, to be carried to a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options


def pack(
    source: Annotated[
        str | None, typer.Argument(help="A run folder or a network in it; by default the newest network below runs/.")
    ] = None,
    teacher: Annotated[bool, typer.Option("--teacher/--no-teacher", help="Take the teacher along.")] = True,
    links: Annotated[bool, typer.Option("--links", help="Take along what lies between teacher and student.")] = False,
    samples: Annotated[int, typer.Option("--samples", help="Test samples that go along.", min=1)] = 500,
    zipped: Annotated[bool, typer.Option("--zip", help="Write it as one zip file, too.")] = False,
    overwrite: options.Overwrite = False,
    profiles: Annotated[str | None, typer.Option("--profiles", help="edge, server or your own; comma between.")] = None,
    data: options.OtherData = None,
    runs: options.Runs = Path("runs"),
    assignments: options.Assignments = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Write one small folder that measures the models on a device with Python, NumPy and ONNX Runtime alone.

    Example: compress pack runs/digits --zip
    """
    from compressor import api, artifact, console

    options.trusted((source,), trust=trust, with_run=True)
    made = api.pack(
        source,
        teacher=teacher,
        links=links,
        samples=samples,
        zipped=zipped,
        overwrite=overwrite,
        data=data,
        runs=runs,
        options=options.given(profiles=options.listed(profiles)),
        assignments=assignments or (),
        command=options.command_line(),
    )
    manifest = made.folder.manifest
    if as_json:
        archive = None if made.archive is None else str(made.archive)
        console.as_json({"path": str(made.folder.path), "archive": archive, **artifact.as_json(manifest)})
        return
    rows = [(entry["title"], f"{entry['bytes'] / 1e6:.3g} MB") for entry in manifest.details["models"].values()]
    console.table(("model", "ONNX"), rows)
    console.show(f"\n{manifest.details['samples']} test samples; {manifest.details['size_bytes'] / 1e6:.3g} MB in all")
    console.show(f"{made.archive or made.folder.path}")
    console.show("on the device: python3 -m pip install numpy onnxruntime; python3 run.py")
    console.show(f"and then here: compress report {made.folder.path.parent} --add device.json")
