"""Networks between the rounds of a long change, kept so that an interrupted run goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor import plain_json
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
        file = folder / _KEY
        if not (file.is_file() and file.read_text(encoding="utf-8") == key):
            shutil.rmtree(folder, ignore_errors=True)

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
        text = json.dumps({"network": details, "record": record})
        (temporary / _RECORD).write_text(text, encoding="utf-8")
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        kept = self.find(name)
        assert kept is not None, f"{final} cannot be read again"
        return kept

    def find(self, name: str) -> tuple[Loaded, dict[str, Any]] | None:
        """What was kept under `name`, if it is there and can be read."""
        folder = self.folder / name
        try:
            kept = plain_json.read(folder / _RECORD)
            return checkpoint.read(folder, kept["network"]), dict(kept["record"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, CompressError):
            return None
