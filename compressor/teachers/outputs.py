"""A teacher that is a file: predictions that were stored elsewhere, one row for each sample.

Shape letters: B batch, K classes, N rows of the file, M training samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor import array_files
from compressor.artifact import Decision
from compressor.data.keys import KEY_BYTES, content_keys, source_places
from compressor.data.samples import Samples
from compressor.errors import DataError
from compressor.models.network import SMALLEST, Network
from compressor.teachers._contract import Lesson, Teacher
from compressor.tensors import Batch, Outputs

if TYPE_CHECKING:
    from compressor.tensors import Inputs

_HINT = "compress evaluate MODEL --data D --save-outputs answers.npz writes such a file"


class StoredOutputs(Teacher):
    """A file of stored predictions; samples that it holds none for learn from their labels alone.

    An `.npz` with `logits` or `probabilities` `[N, K]`. With `keys` (uint8 `[N, 16]`, BLAKE2b of each sample's bytes as the
    data stores it), rows may stand in any order and be of any split. Without, there is one row for each training sample of
    the source, in its order, before validation and test are set apart. With `classes`, the K names, columns are put into
    the order of the data. `compress evaluate MODEL --data D --save-outputs answers.npz` writes one.

    The predictions are of the plain samples, whatever view of them the student is shown; where views mix two samples, so
    are their predictions. A teacher that sees what the student sees teaches better (Beyer et al. 2022, arXiv 2106.05237,
    section 3: "fixed teacher" against "consistent teaching"): where the model itself is at hand, let it answer.

    Args:
        file: the archive
        samples: the training samples
        classes: names of the classes of the data

    Raises:
        DataError: It cannot be read, does not fit the data, or leaves a sample with neither a prediction nor a label.
    """

    needs = ("one_class",)
    gives = ()
    keeps_answers = True

    def __init__(self, file: Path, samples: Samples, classes: Sequence[str]) -> None:
        self._file = file
        arrays = _read(file)
        self._logits_NK = _logits(arrays, file)
        self._row_of_key = _row_of_key(arrays.get("keys"), count=len(self._logits_NK), file=file)
        self._row_of_M, by = _rows_of(samples, self._row_of_key, count=len(self._logits_NK), file=file)
        self._columns, why_columns = _columns(arrays.get("classes"), classes, width=self._logits_NK.shape[1], file=file)
        missing_M = self._row_of_M < 0
        if missing_M.all():
            hint = "were they made from this data, stored the same way (8-bit or float, same size)? " + _HINT
            raise DataError(f"it holds no prediction for any of {len(missing_M)} samples", where=str(file), hint=hint)
        nothing = int((missing_M & ~samples.labelled).sum())
        if nothing:
            message = f"{nothing} of {len(missing_M)} training samples have neither a prediction in it nor a label"
            raise DataError(message, where=str(file), hint=_HINT)
        found = len(missing_M) - int(missing_M.sum())
        rest = "" if not missing_M.any() else "; the others learn from their labels alone"
        told = f"for {found} of {len(missing_M)} training samples, found by {by}{rest}"
        self._decisions = (Decision("teacher", f"stored predictions, {file.name}", told), *why_columns)

    def meet(self, student: Network, inputs: Inputs) -> tuple[Decision, ...]:
        """How many samples it knows."""
        return self._decisions

    def answer(self, batch: Batch) -> Outputs:
        """The stored logits of samples that it holds predictions for."""
        assert self._known(batch).all(), "asked for a sample that is not in the file"
        logits_BK = self._stored(batch.sample_ids)
        if batch.mixed is not None:
            assert batch.mixed.sample_ids is not None, "samples are mixed with unknown ones"
            share_B1 = batch.mixed.share.cpu().float()[:, None]
            partner_BK = self._stored(batch.mixed.sample_ids).softmax(dim=1)
            logits_BK = (share_B1 * logits_BK.softmax(dim=1) + (1 - share_B1) * partner_BK + SMALLEST).log()
        return Outputs.of(logits_BK.to(batch.device))

    def on_record(self, samples: Samples) -> NDArray[np.floating[Any]] | None:
        """What the file predicts for them, where it has keys and a row for each."""
        if self._row_of_key is None:
            return None
        rows_N = np.array([self._row_of_key.get(key.tobytes(), -1) for key in content_keys(samples)], np.int64)
        if not len(rows_N) or (rows_N < 0).any():
            return None
        return self._in_order(self._logits_NK[rows_N])

    def lessons(self, batch: Batch, student: Outputs) -> Sequence[Lesson]:
        """Rows with a prediction learn from it, the others from their labels, each in their share."""
        known_B = self._known(batch)
        if known_B.all():
            return (Lesson(student, self.answer(batch), batch),)
        found, share = [], float(known_B.mean())
        for wanted_B, weight in ((known_B, share), (~known_B, 1 - share)):
            if wanted_B.any():
                rows = torch.from_numpy(np.flatnonzero(wanted_B)).to(batch.device)
                part = batch.rows(rows)
                told = self.answer(part) if wanted_B is known_B else None
                found.append(Lesson(student.rows(rows), told, part, weight=weight))
        return found

    def _known(self, batch: Batch) -> NDArray[np.bool_]:
        known_B: NDArray[np.bool_] = self._row_of_M[batch.sample_ids.cpu().numpy()] >= 0
        if batch.mixed is not None and batch.mixed.sample_ids is not None:
            known_B = known_B & (self._row_of_M[batch.mixed.sample_ids.cpu().numpy()] >= 0)
        return known_B

    def _stored(self, sample_ids: Tensor) -> Tensor:
        return torch.from_numpy(self._in_order(self._logits_NK[self._row_of_M[sample_ids.cpu().numpy()]]))

    def _in_order(self, rows_BK: NDArray[Any]) -> NDArray[np.float32]:
        """Rows of the file with their columns in the order of the data's classes."""
        rows_BK = rows_BK.astype(np.float32)
        return rows_BK if self._columns is None else np.ascontiguousarray(rows_BK[:, self._columns])


def _read(file: Path) -> dict[str, NDArray[Any]]:
    try:
        return array_files.read(file, names=("logits", "probabilities", "keys", "classes"))
    except (OSError, ValueError) as fault:
        raise DataError(f"cannot be read as a NumPy archive: {fault}", where=str(file), hint=_HINT) from fault


def _logits(arrays: dict[str, NDArray[Any]], file: Path) -> NDArray[Any]:
    """`[N, K]`, of the type it is stored in."""
    names = [name for name in ("logits", "probabilities") if name in arrays]
    if len(names) != 1:
        what = "both logits and probabilities" if names else "neither logits nor probabilities"
        raise DataError(f"it holds {what}", where=str(file), hint=_HINT)
    stored = arrays[names[0]]
    if stored.ndim != 2 or stored.dtype.kind != "f" or not len(stored):
        message = f"{names[0]} is {stored.dtype} of shape {list(stored.shape)}"
        raise DataError(message, where=str(file), hint="give floats [N, K], one row for each sample")
    if not np.isfinite(stored).all():
        raise DataError(f"{names[0]} holds NaN or infinity", where=str(file))
    if names[0] == "logits":
        return stored
    if stored.min() < 0 or np.abs(stored.sum(axis=1, dtype=np.float64) - 1).max() > 0.02:
        raise DataError("probabilities do not add up to 1 in each row", where=str(file), hint="are they logits?")
    logits_NK: NDArray[np.float32] = np.log(stored.astype(np.float32) + np.float32(SMALLEST))
    return logits_NK


def _row_of_key(keys: NDArray[Any] | None, *, count: int, file: Path) -> dict[bytes, int] | None:
    """The row of each key, None where the file has no keys."""
    if keys is None:
        return None
    if keys.shape != (count, KEY_BYTES) or keys.dtype != np.uint8:
        message = f"keys is {keys.dtype} of shape {list(keys.shape)} beside {count} rows"
        raise DataError(message, where=str(file), hint=f"give uint8 [N, {KEY_BYTES}]. " + _HINT)
    return {key.tobytes(): row for row, key in enumerate(keys)}


def _rows_of(
    samples: Samples, row_of_key: dict[bytes, int] | None, *, count: int, file: Path
) -> tuple[NDArray[np.int64], str]:
    """The row of each training sample `[M]`, −1 for none; and what it was found by."""
    if row_of_key is None:
        places, size = source_places(samples)
        if count != size:
            message = f"it holds {count} rows without keys, the source of the data has {size} training samples"
            hint = "give a row for each, in their order, before any are set apart; or keys. " + _HINT
            raise DataError(message, where=str(file), hint=hint)
        return places, "their place in the source"
    found = [row_of_key.get(key.tobytes(), -1) for key in content_keys(samples)]
    return np.array(found, np.int64), "their content"


def _columns(
    names: NDArray[Any] | None, classes: Sequence[str], *, width: int, file: Path
) -> tuple[NDArray[np.int64] | None, tuple[Decision, ...]]:
    """Which column each class of the data is, None for the same order."""
    knows = None if names is None else [str(name) for name in names.reshape(-1).tolist()]
    if width != len(classes) or (knows is not None and len(knows) != width):
        told = "" if knows is None or len(knows) == width else f" and {len(knows)} names"
        raise DataError(f"it holds {width} outputs{told}, the data has {len(classes)} classes", where=str(file))
    if knows is None or knows == list(classes):
        return None, ()
    strange = [name for name in classes if name not in knows]
    if strange:
        message = f"it knows no class '{strange[0]}' ({', '.join(knows[:3])}, ...)"
        raise DataError(message, where=str(file), hint="file and data need the same classes")
    order = np.array([knows.index(name) for name in classes], np.int64)
    reason = "the file names the same classes in another order"
    return order, (Decision("columns of the predictions", "put into the order of the data's classes", reason),)
