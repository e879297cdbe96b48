"""`compress report`: the report of a run's measurements; several runs side by side; a gate for CI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options
from compressor.errors import InputError


def report(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="A run folder or a bench artifact (by default the newest); several are put side by side."),
    ] = None,
    add: Annotated[
        list[Path] | None, typer.Option("--add", help="A device.json that a pack of the run wrote (repeatable).")
    ] = None,
    fail_if: Annotated[
        str | None, typer.Option("--fail-if", help="End with 1 if: 'latency_p50_ms > 5 or accuracy_drop > 1.0'.")
    ] = None,
    runs: options.Runs = Path("runs"),
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report; of several runs, a .md or .json file.")
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Write the report of a run as one HTML file, as Markdown, as JSON and as a model card; or compare several runs.

    Example: compress report runs/digits --fail-if "accuracy_drop > 2 or speedup_low < 1.5"
    """
    from compressor import api, console

    named = sources or []
    if len(named) > 1:
        if fail_if is not None or add:
            raise InputError("is about one run", where="--fail-if" if fail_if else "--add", hint="name one run folder")
        _compare(named, runs=runs, out=out, overwrite=overwrite, as_json=as_json)
        return
    if overwrite:
        message = "is about the file of a comparison; a folder that is not ours is never replaced"
        raise InputError(message, where="--overwrite", hint="leave it out, or name another folder with --out")
    source = named[0] if named else None
    made = api.report(source, runs=runs, destination=out, devices=add or ())
    files = [made.file(name) for name in made.manifest.files]
    verdict = None if fail_if is None else api.gate(fail_if, source, runs=runs)
    if as_json:
        gate = None if verdict is None else {"failed": verdict.failed, "because": verdict.sentence}
        console.as_json({"path": str(made.path), "files": [str(file) for file in files], "gate": gate})
    else:
        for file in files:
            console.show(f"report: {file}")
    if verdict is not None:
        _judge(verdict.failed, verdict.sentence, quiet=as_json)


def _judge(failed: bool, sentence: str, *, quiet: bool) -> None:
    from compressor import console
    from compressor.errors import BudgetMissedError

    if failed:
        raise BudgetMissedError(sentence, where="--fail-if", hint="the report says which link costs what")
    if not quiet:
        console.show(f"passed: {sentence}")


def _compare(sources: list[str], *, runs: Path, out: Path | None, overwrite: bool, as_json: bool) -> None:
    from compressor import api, console, places
    from compressor.files import replacing
    from compressor.report import compare

    if out is not None:
        read = [each for source in sources for each in (Path(source), runs / source)]
        places.require_free(out, is_ours=compare.is_one, where="--out", inputs=read, overwrite=overwrite)
    found = api.compare_reports(sources, runs=runs)
    if out is not None:
        content = compare.as_json(found) if out.suffix == ".json" else compare.as_markdown(found)
        try:
            with replacing(out) as written:
                written.write_text(content, encoding="utf-8")
        except OSError as fault:
            hint = "name a file in a folder that is there"
            raise InputError(f"cannot be written: {fault.strerror}", where=str(out), hint=hint) from fault
    if as_json:
        console.as_json(json.loads(compare.as_json(found)))
        return
    console.table(found.results.columns, found.results.rows)
    for caveat in found.caveats:
        console.show(f"note: {caveat}")
    if found.settings.rows:
        console.show("")
        console.table(found.settings.columns, found.settings.rows, title=found.settings.caption)
    if out is not None:
        console.show(f"\n{out}")
