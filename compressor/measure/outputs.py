"""A model's answers to all samples of a data set as a file that teaches (`teachers/outputs.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.data.keys import content_keys
from compressor.errors import InputError
from compressor.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.data.samples import Samples


def save(
    file: Path, answers: Mapping[str, NDArray[Any]], splits: Mapping[str, Samples], *, classes: Sequence[str]
) -> int:
    """Write the answers `[N, K]` to every split, each row beside the key of its sample; whole or not at all.

    Args:
        file: Where to; `.npz`.
        answers: By split.
        splits: The samples that were answered to.
        classes: Names of the K outputs.

    Returns:
        How many rows there are.

    Raises:
        InputError: The file cannot be written, or is no `.npz`.
    """
    if file.suffix != ".npz":
        raise InputError("is no name of a NumPy archive", where=str(file), hint=f"write {file.with_suffix('.npz')}")
    logits_NK = np.concatenate([answers[split] for split in splits]).astype(np.float32)
    keys = np.concatenate([content_keys(samples) for samples in splits.values()])
    try:
        with replacing(file) as written, written.open("wb") as stream:
            np.savez(stream, logits=logits_NK, keys=keys, classes=np.array(list(classes)))
    except OSError as fault:
        raise InputError(f"cannot be written: {fault.strerror}", where=str(file)) from fault
    return len(logits_NK)
