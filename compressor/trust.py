"""Which Python source, which programs and which pickles may run.

Trust is by content: the SHA-256 of a file is remembered in `$COMPRESS_HOME/trusted.json` (default `~/.config/compress`),
so an edited file must be trusted again. Source that a user names on the command line or in a recipe runs as asked; what
needs trust is a full pickle, a program (TorchScript, torch.export), and whatever an artifact made elsewhere would run. An
artifact is trusted by its manifest, which holds the hashes of all its files.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressor import artifact, plain_json
from compressor.errors import InputError, TrustError
from compressor.files import lock_file, replacing

logger = logging.getLogger(__name__)

_PICKLES = (".pt", ".pth", ".th", ".ckpt", ".bin", ".tar", ".pkl")
_PROGRAMS = (".pt2", ".ts", ".torchscript")  # TorchScript may have any of the suffixes of pickles, too
_RUNNABLE = frozenset({".json", ".py", *_PICKLES, *_PROGRAMS})
_this_process: set[str] = set()


def home() -> Path:
    """Where compress keeps what it remembers between runs."""
    default = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "compress"
    return Path(os.environ.get("COMPRESS_HOME") or default).expanduser().absolute()


def require(file: Path, *, what: str) -> None:
    """Refuse to go on unless `file` is trusted.

    Args:
        file: The file whose content would run.
        what: What it is, in words ("a pickled network of class net.Net").

    Raises:
        TrustError: The content is not trusted.
    """
    if not is_trusted(file):
        raise TrustError(
            f"{what}: reading it runs code that it carries",
            where=str(file),
            hint=f"if you know where it comes from: compress trust {file} (or add --trust)",
        )


def is_trusted(file: Path) -> bool:
    """Whether the content of `file` may run."""
    return artifact.sha256(file) in _this_process | set(_read())


def remember(path: Path) -> list[Path]:
    """Trust a file, or every Python source and pickle in an artifact folder, from now on.

    Returns:
        The files that are trusted now.

    Raises:
        InputError: `path` does not exist, or its folder holds nothing that could run.
    """
    files = runnable_files(path)
    if not files:
        raise InputError("holds no artifact, source or pickle, so there is nothing to trust", where=str(path))
    _add({artifact.sha256(file): str(file.resolve()) for file in files})
    return files


def remember_made(made: artifact.Artifact) -> None:
    """Trust an artifact that this machine has just written; a home that cannot be written only costs a warning."""
    file = made.path / artifact.MANIFEST
    try:
        _add({artifact.sha256(file): str(file.resolve())})
    except InputError as fault:
        _this_process.add(artifact.sha256(file))
        logger.warning("%s; this artifact will need `compress trust` in later runs", fault)


def require_artifact(source: artifact.Artifact, *, what: str) -> None:
    """Refuse to run anything that an artifact carries or names unless the artifact is trusted, and whole.

    Args:
        source: The artifact whose code would run.
        what: What would run, in words.

    Raises:
        TrustError: It was made elsewhere and has not been trusted.
        ArtifactError: A file differs from what was written, or one lies there that was not.
    """
    if not is_trusted(source.path / artifact.MANIFEST):
        raise TrustError(
            f"{what}, from an artifact that was not made here",
            where=str(source.path),
            hint=f"if you know where it comes from: compress trust {source.path} (or add --trust)",
        )
    source.verify()


def for_this_process(path: Path) -> None:
    """Trust a path until this process ends (`--trust`)."""
    _this_process.update(artifact.sha256(file) for file in runnable_files(path))


def granted() -> list[str]:
    """Hashes trusted for this process only, to be handed to the processes it starts."""
    return sorted(_this_process)


def grant(hashes: list[str]) -> None:
    """Take over the trust of the process that started this one."""
    _this_process.update(hashes)


def forget(named: str | Path) -> int:
    """Take trust back; returns how many entries went.

    Args:
        named: A file or folder: what is in it now, and whatever was trusted under that path, though it be edited or gone
            since; or the first characters (8 or more) of a hash, where there is no such file.

    Raises:
        InputError: There is no such file or folder, and nothing was trusted under that path or hash.
    """
    path = Path(named)
    present = {artifact.sha256(file) for file in runnable_files(path)} if path.exists() else set()
    place = path.resolve()
    begins = str(named).lower() if not path.exists() and re.fullmatch("[0-9a-fA-F]{8,64}", str(named)) else None
    with _locked():
        kept = _read()
        left = {
            digest: name
            for digest, name in kept.items()
            if digest not in present
            and not Path(name).is_relative_to(place)
            and not (begins and digest.startswith(begins))
        }
        _write(left)
    if len(left) == len(kept) and not path.exists():
        hint = "compress trust --list shows paths and hashes"
        raise InputError("no such file or folder, and nothing was trusted under it", where=str(named), hint=hint)
    return len(kept) - len(left)


def entries() -> dict[str, str]:
    """Trusted hashes and the paths they were trusted under."""
    return _read()


def runnable_files(path: Path) -> list[Path]:
    """What is trusted with `path`: itself, or the manifests, sources, programs and pickles of a folder."""
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix in _RUNNABLE and file.is_file())
    raise InputError("no such file or folder", where=str(path))


def _add(entries_: dict[str, str]) -> None:
    with _locked():
        _write(_read() | entries_)


@contextmanager
def _locked() -> Iterator[None]:
    """Hold the list while it is read and written: two runs that end together must not lose each other's entry."""
    try:
        home().mkdir(parents=True, exist_ok=True)
        lock = lock_file(home() / ".lock")
    except OSError as fault:
        raise InputError(f"the list of trusted files cannot be written: {fault.strerror}", where=str(home())) from fault
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read() -> dict[str, str]:
    file = home() / "trusted.json"
    try:
        known = plain_json.read(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as fault:
        message = f"the list of trusted files cannot be read: {fault}"
        raise InputError(message, where=str(file), hint=f"delete it: rm {file}") from fault
    if not isinstance(known, dict):
        raise InputError("the list of trusted files is damaged", where=str(file), hint=f"delete it: rm {file}")
    return {str(digest): str(name) for digest, name in known.items()}


def _write(known: dict[str, str]) -> None:
    file = home() / "trusted.json"
    try:
        with replacing(file) as written:
            written.write_text(json.dumps(known, indent=2, sort_keys=True), encoding="utf-8")
    except OSError as fault:
        raise InputError(f"the list of trusted files cannot be written: {fault.strerror}", where=str(file)) from fault
