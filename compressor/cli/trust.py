"""`compress trust`: say which Python source, which programs and which pickles may run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.errors import InputError


def trust(
    path: Annotated[
        Path | None, typer.Argument(help="A file, or an artifact folder: every source, program and pickle in it.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show what is trusted.")] = False,
    forget: Annotated[
        Path | None,
        typer.Option("--forget", help="Take trust back: from a file or folder, also one that is gone, or by its hash."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Trust the code that a file or an artifact carries, by its content: an edited file must be trusted again.

    Example: compress trust teacher.pt
    """
    from compressor import artifact, console
    from compressor import trust as trusted

    if (path is not None) + list_ + (forget is not None) != 1:
        raise InputError("takes one of PATH, --list and --forget PATH", where="trust", hint="compress trust --list")
    if list_:
        entries = trusted.entries()
        if as_json:
            console.as_json({"trusted": [{"path": name, "sha256": digest} for digest, name in entries.items()]})
        elif entries:
            by_path = sorted(entries.items(), key=lambda entry: entry[1])
            console.table(("trusted as", "sha256"), [(name, digest[:16]) for digest, name in by_path])
        else:
            console.show("nothing is trusted")
    elif path is not None:
        files = trusted.remember(path)
        if as_json:
            console.as_json({"trusted": [{"path": str(file), "sha256": artifact.sha256(file)} for file in files]})
        else:
            for file in files:
                console.show(f"trusted: {file}")
    elif forget is not None:
        num_forgotten = trusted.forget(forget)
        if as_json:
            console.as_json({"forgotten": num_forgotten})
        else:
            console.show(f"forgotten: {num_forgotten} {'entry' if num_forgotten == 1 else 'entries'}")
