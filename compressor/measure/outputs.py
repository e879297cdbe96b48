"""A model's answers to all samples of a data set as a file that teaches (`teachers/outputs.py`)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from compressor import places
from compressor.data.keys import content_keys
from compressor.errors import InputError
from compressor.files import replacing
from compressor.measure.accuracy import batches_of, outputs_of
from compressor.tensors import LOGITS

if TYPE_CHECKING:
    from compressor.data.samples import Samples
    from compressor.measure.accuracy import Predict


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


def save(file: Path, model: Predict, splits: Mapping[str, Samples], *, classes: Sequence[str]) -> int:
    """Write the answers `[N, K]` to every split, each row beside the key of its sample; whole or not at all.

    Rows go to the file batch by batch, so that a set's outputs are never held.

    Args:
        file: Where to; see `require_free_for`.
        model: What answers.
        splits: The samples that it answers to.
        classes: Names of the K outputs.

    Returns:
        How many rows there are.

    Raises:
        InputError: The file cannot be written.
    """
    keys = np.concatenate([content_keys(samples) for samples in splits.values()])
    try:
        with replacing(file) as written, zipfile.ZipFile(written, "w", allowZip64=True) as archive:
            with archive.open("logits.npy", "w", force_zip64=True) as stream:
                _write_rows(stream, model, splits, count=len(keys))
            for name, array in (("keys", keys), ("classes", np.array(list(classes)))):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)
    except OSError as fault:
        raise InputError(f"cannot be written: {fault.strerror}", where=str(file)) from fault
    return len(keys)


def _write_rows(stream: IO[bytes], model: Predict, splits: Mapping[str, Samples], *, count: int) -> None:
    """One array in NumPy's own format (version 1.0), whose rows come batch by batch."""
    begun = False
    for samples in splits.values():
        for _, inputs in batches_of(samples):
            rows = np.ascontiguousarray(outputs_of(model, inputs)[LOGITS], np.float32)
            if not begun:
                header = {"descr": rows.dtype.str, "fortran_order": False, "shape": (count, *rows.shape[1:])}
                np.lib.format.write_array_header_1_0(stream, header)
                begun = True
            stream.write(rows.tobytes())
