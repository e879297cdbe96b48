"""What may be replaced: the one rule for every file and folder that a command writes.

- A file is replaced when we wrote it, or when the user says `--overwrite`; never when the command reads it, and never
  through a link.
- A folder is replaced when a manifest of ours lists what is in it. What nobody listed stops the command, or goes along
  into the new folder where people put files beside ours. What was listed and has changed since is set aside.
- In a run's folder no link may stand where we write, since it would lead what is written somewhere else.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from compressor.errors import NotOursError
from compressor.files import sha256

# What is written in a run's folder beside finished artifacts, which are replaced as a whole.
_WRITTEN = re.compile(
    r"\.lock|\.job|recipe\.json|devices|tensorboard"
    r"|\..+\.(state|sweep)(\..+)?|\..+\.(writing|replaced)-\d+"
)
LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<what>writing|replaced)-\d+")
"""What a process leaves in a run's folder that was killed while it wrote."""
_COMPILED = "__pycache__"


def require_free(
    file: Path,
    *,
    is_ours: Callable[[Path], bool],
    where: str,
    inputs: Iterable[Path] = (),
    overwrite: bool = False,
    can_overwrite: bool = True,
) -> None:
    """Refuse to write a file where something else stands.

    Args:
        file: Where it is to be written.
        is_ours: Whether a file that is there already is one that this command writes.
        where: The option that names it, or the place.
        inputs: Files and folders that the command reads.
        overwrite: Whether the user has said that a file of another origin may go.
        can_overwrite: Whether there is a way to say so.

    Raises:
        NotOursError: It would replace what is read, a folder, a link, or a file that we did not write.
    """
    if not os.path.lexists(file):
        return
    if file.is_symlink():
        hint = "name the file that it leads to, or remove it"
        raise NotOursError(f"{file} is a link, which is neither followed nor replaced", where=where, hint=hint)
    if file.is_dir():
        raise NotOursError(f"{file} is a folder", where=where, hint="name a file")
    if any(_is_in(file, each) for each in inputs):
        raise NotOursError(f"{file} is what is read here, and would be replaced", where=where, hint="name another file")
    if overwrite or is_ours(file):
        return
    more = ", or add --overwrite" if can_overwrite else ", or move it away"
    message = f"{file} is there already, and compress did not write it; nothing was changed"
    raise NotOursError(message, where=where, hint=f"name another file{more}")


def require_no_links(run_folder: Path) -> None:
    """Refuse a run's folder where a link stands in a place that is written.

    Raises:
        NotOursError: There is one; nothing was changed.
    """
    for path in _written_in(run_folder):
        if path.is_symlink():
            raise NotOursError(
                "is a link, and what is written here would go where it leads; nothing was changed",
                where=str(path),
                hint=f"where does this folder come from? remove the link: rm {path}",
            )


@dataclass(frozen=True)
class Standing:
    """What stands in a folder that is to be replaced, beside what its manifest lists and what is as it was written.

    Attributes:
        unlisted: Names that the manifest does not know; links are always among them.
        changed: Names that it knows, of files that are not what was written.
    """

    unlisted: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def standing_in(folder: Path, *, files: Mapping[str, str], manifest: str) -> Standing:
    """Compare a folder with what its manifest lists.

    Args:
        folder: Where it stands.
        files: SHA-256 of each file, by path in the folder.
        manifest: Name of the manifest, which is not listed.
    """
    unlisted, changed = [], []
    for path in _files_below(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            unlisted.append(name)
        elif name in files:
            if sha256(path) != files[name]:
                changed.append(name)
        elif name != manifest and not is_compiled(name):
            unlisted.append(name)
    return Standing(tuple(unlisted), tuple(changed))


def is_compiled(name: str) -> bool:
    """Whether a file is what Python makes of a source beside it, and makes again."""
    parts = name.split("/")
    return _COMPILED in parts[:-1] and parts[-1].endswith(".pyc")


def take_along(names: Iterable[str], source: Path, destination: Path) -> None:
    """Put files of the user's from the folder that is replaced into the one that replaces it; links stay links.

    Until the folder has been replaced, they are in both.

    Raises:
        NotOursError: The new folder has a file of the same name.
        OSError: They cannot be copied.
    """
    for name in names:
        old, new = source / name, destination / name
        if os.path.lexists(new):
            message = f"'{name}' is there already, and compress did not write it; nothing was changed"
            raise NotOursError(message, where=str(source), hint="move it, or write to another folder")
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(old, new, follow_symlinks=False)


def _is_in(file: Path, place: Path) -> bool:
    """Whether a file is the one at a place, or lies in the folder there, by whatever names."""
    try:
        return file.samefile(place) or (place.is_dir() and file.resolve().is_relative_to(place.resolve()))
    except OSError:  # it is not there, so nothing is in it
        return False


def _files_below(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder; a link to one is a link."""
    for place, folders, names in os.walk(folder):
        for name in sorted([*names, *(each for each in folders if (Path(place) / each).is_symlink())]):
            yield Path(place) / name


def _written_in(run_folder: Path) -> Iterator[Path]:
    """Every path in a run's folder that is written, as far as it is there."""
    for entry in sorted(run_folder.iterdir()) if run_folder.is_dir() else ():
        if _WRITTEN.fullmatch(entry.name):
            yield entry
            if entry.is_dir() and not entry.is_symlink():
                yield from _files_below(entry)
