"""A model's answers to all samples of a data set as a file that teaches (`teachers/outputs.py`)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor import places
from compressor.data.keys import content_keys
from compressor.errors import InputError
from compressor.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.data.samples import Samples


_HELD = {"logits", "keys", "classes"}


def require_free_for(file: Path, *, inputs: Iterable[Path], overwrite: bool) -> None:
    """Refuse a place where something else stands than earlier answers.

    Args:
        file: Where answers are to be saved.
        inputs: What the command reads.
        overwrite: Whether a file of another origin may go.

    Raises:
        InputError: It is no name of a NumPy archive.
        NotOursError: It is what is read, or a file that was not written here.
    """
    if file.suffix != ".npz":
        raise InputError("is no name of a NumPy archive", where=str(file), hint=f"write {file.with_suffix('.npz')}")
    places.require_free(file, is_ours=_holds_answers, where="--save-outputs", inputs=inputs, overwrite=overwrite)


def _holds_answers(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return {Path(name).stem for name in archive.namelist()} == _HELD
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def save(
    file: Path, answers: Mapping[str, NDArray[Any]], splits: Mapping[str, Samples], *, classes: Sequence[str]
) -> int:
    """Write the answers `[N, K]` to every split, each row beside the key of its sample; whole or not at all.

    Args:
        file: Where to; see `require_free_for`.
        answers: By split.
        splits: The samples that were answered to.
        classes: Names of the K outputs.

    Returns:
        How many rows there are.

    Raises:
        InputError: The file cannot be written.
    """
    logits_NK = np.concatenate([answers[split] for split in splits]).astype(np.float32)
    keys = np.concatenate([content_keys(samples) for samples in splits.values()])
    try:
        with replacing(file) as written, written.open("wb") as stream:
            np.savez(stream, logits=logits_NK, keys=keys, classes=np.array(list(classes)))
    except OSError as fault:
        raise InputError(f"cannot be written: {fault.strerror}", where=str(file)) from fault
    return len(logits_NK)
