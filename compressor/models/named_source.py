"""Python files that an artifact's settings name (`py:data.py:load`, `mine.py:Loss`): known by place and hash.

A name is relative to the folder that a command is typed in, and another folder may have a file of that name. What runs for
an artifact is the file it was made with, by content, wherever that lies now.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor import trust
from compressor.artifact import Artifact
from compressor.errors import TrustError
from compressor.models import spec as specs


def recorded(file: Path, *, beside: Path) -> dict[str, Any]:
    """What a manifest keeps of a file: its place relative to the artifact, and the SHA-256 of it and of what it imports."""
    return {"path": os.path.relpath(file.resolve(), beside.resolve()), "files": _hashes(file)}


def inherited(parents: Mapping[str, Artifact], *, beside: Path) -> dict[str, dict[str, Any]]:
    """What the manifests that something is made from keep, for an artifact in another place."""
    kept: dict[str, dict[str, Any]] = {}
    for parent in parents.values():
        for name, entry in parent.manifest.code.items():
            place = os.path.relpath(_place_of(parent, entry), beside.resolve())
            kept[name] = {**entry, "path": place}
    return kept


def file_for(made: Artifact, name: str, *, named: Path, what: str, hint: str) -> Path:
    """The file that an artifact means by a name: the one that is called so here, or the one at its old place.

    Args:
        made: The artifact.
        name: As its settings have it.
        named: The file of that name, from the working directory.
        what: What would run, in words.
        hint: How the user can name the file instead.

    Raises:
        TrustError: The artifact was made elsewhere and has not been trusted; or neither file is the one it was made with.
        ArtifactError: A file in it differs from what was written.
    """
    trust.require_artifact(made, what=what)
    entry = made.manifest.code.get(name)
    if entry is None:
        message = f"{what}, and the artifact does not say which file of that name it was made with"
        raise TrustError(message, where=str(made.path), hint=hint)
    places = [named, _place_of(made, entry)]
    there = [place for place in places if place.is_file()]
    same = next((place for place in there if _hashes(place) == entry["files"]), None)
    if same is not None:
        return same
    if not there:
        message = f"{what}, and the file is neither here nor where it was ({places[1]})"
        raise TrustError(message, where=str(made.path), hint=hint)
    trusted = next((place for place in there if all(map(trust.is_trusted, specs.local_sources(place)))), None)
    if trusted is not None:
        return trusted
    message = f"{what}, but {there[0]} is not what the artifact was made with: it was edited, or is another file"
    raise TrustError(message, where=str(made.path), hint=f"{hint}; or, if you know it: compress trust {there[0]}")


def _place_of(made: Artifact, entry: Mapping[str, Any]) -> Path:
    return Path(os.path.normpath(made.path.resolve() / str(entry["path"])))


def _hashes(file: Path) -> dict[str, str]:
    return specs.source_hashes(file, lenient=True)
