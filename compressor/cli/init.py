"""`compress init`: a folder to start from, that runs as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.errors import InputError


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; made when it is not there.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of the same names.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the written files as JSON.")] = False,
) -> None:
    """Write a recipe, a teacher, a student and data to start from; they run as they are.

    Example: compress init digits
    """
    import os

    from compressor import console

    templates = _templates()
    taken = [name for name in templates if (folder / name).is_dir() or (os.path.lexists(folder / name) and not force)]
    if taken:
        raise InputError(
            f"{', '.join(taken)} {'is' if len(taken) == 1 else 'are'} already here; nothing was written",
            where=str(folder),
            hint="name another folder, or overwrite with --force",
        )
    _write_all(folder, templates)
    if as_json:
        console.as_json({"folder": str(folder), "files": list(templates)})
        return
    console.show(f"written to {folder}: {', '.join(templates)}")
    console.show("next:")
    if folder.resolve() != Path.cwd():
        console.show(f"  cd {folder}")
    console.show("  compress check recipe.toml")
    console.show("  compress run recipe.toml")


def _templates() -> dict[str, bytes]:
    """Content of each file to write, by name."""
    from compressor.registry import PACKAGE

    files = sorted(file for file in (PACKAGE / "templates").iterdir() if file.suffix in (".toml", ".py", ".md"))
    return {file.name: file.read_bytes() for file in files}


def _write_all(folder: Path, contents: dict[str, bytes]) -> None:
    """Write every file beside its place, then rename all; a failure to write leaves what was there.

    Raises:
        InputError: The folder cannot be written.
    """
    import os

    from compressor.files import clear

    temporary = {name: folder / f".{name}.writing-{os.getpid()}" for name in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            clear(temporary[name])
            temporary[name].write_bytes(content)
        for name in contents:
            temporary[name].replace(folder / name)
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise InputError(f"cannot write here: {reason}", where=str(folder), hint="name another folder") from fault
    finally:
        if folder.is_dir():
            for file in temporary.values():
                file.unlink(missing_ok=True)
