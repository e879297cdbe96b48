"""Networks between the rounds of a long change, kept so that an interrupted run goes on where it was.

What is not there exactly as it was written is done again, and that is said: one changed bit would end in another network.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor import artifact, console, sealed_json
from compressor.data.samples import Dataset
from compressor.errors import CompressError
from compressor.models import checkpoint
from compressor.models.build import Loaded
from compressor.training.start import fit_of

_RECORD = "round.json"
_KEY = "key.txt"


class Rounds:
    """Finished steps of a stage, by name, below its state folder, which is made for the first of them.

    Args:
        folder: Where they are kept.
        key: Of the stage; what another key left is removed.
    """

    def __init__(self, folder: Path, *, key: str) -> None:
        self.folder = folder
        self._key = key
        if folder.is_dir() and not self._is_of_this_key():
            console.note(f"{folder.name}: belongs to other settings or data, or is damaged, so it starts anew")
            shutil.rmtree(folder, ignore_errors=True)

    def _is_of_this_key(self) -> bool:
        try:
            return (self.folder / _KEY).read_text(encoding="utf-8") == self._key
        except (OSError, ValueError):
            return False

    def keep(
        self, name: str, loaded: Loaded, record: Mapping[str, Any], *, dataset: Dataset
    ) -> tuple[Loaded, dict[str, Any]]:
        """Keep a network and what is known about it under `name`; there as a whole, or not at all.

        Returns:
            Both as they are read again. Whoever goes on with these ends with the same numbers as whoever goes on after an
            interruption: a network fresh from training may lie in memory in another order, and round otherwise.
        """
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            (self.folder / _KEY).write_text(self._key, encoding="utf-8")
        final = self.folder / name
        temporary = self.folder / f".{name}.writing-{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        details = checkpoint.write(temporary, loaded, fit=fit_of(dataset))
        files = {file.relative_to(temporary).as_posix(): artifact.sha256(file) for file in _files_in(temporary)}
        kept = {"name": name, "key": self._key, "network": details, "record": record, "files": files}
        (temporary / _RECORD).write_text(sealed_json.text(kept), encoding="utf-8")
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        found = self.find(name)
        assert found is not None, f"{final} cannot be read again"
        return found

    def find(self, name: str) -> tuple[Loaded, dict[str, Any]] | None:
        """What was kept under `name`, if it is there as it was written."""
        folder = self.folder / name
        if not folder.is_dir():
            return None
        try:
            kept = self._read(name)
            return checkpoint.read(folder, kept["network"]), kept["record"]
        except (OSError, ValueError, KeyError, TypeError, CompressError) as fault:
            console.note(f"{name}: what was kept of it is damaged ({fault}), so it is done again")
            return None

    def _read(self, name: str) -> dict[str, Any]:
        """The record under `name`; raises a ValueError where it, or a file beside it, is not what was written."""
        folder = self.folder / name
        kept = sealed_json.read_file(folder / _RECORD)
        if (kept["name"], kept["key"]) != (name, self._key):
            raise ValueError("it belongs elsewhere")
        found = {file.relative_to(folder).as_posix(): artifact.sha256(file) for file in _files_in(folder)}
        found.pop(_RECORD)
        if found != kept["files"]:
            raise ValueError("its files are not what was written")
        return kept


def _files_in(folder: Path) -> list[Path]:
    """The files of a kept network; what Python leaves beside source that it has read is none of them."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
