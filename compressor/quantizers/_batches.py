"""Calibration batches by input name, and what a session makes of them: what quantizers share.

Shape letters: B batch, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Batch = Mapping[str, NDArray[Any]]
"""Inputs as a model takes them, by the model's own names, each `[B, ...]`."""


def count(batch: Batch) -> int:
    """How many samples."""
    return len(next(iter(batch.values())))


def taken(batch: Batch, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Some samples, by position."""
    return {name: np.ascontiguousarray(array[positions]) for name, array in batch.items()}


def joined(batches: Sequence[Batch]) -> dict[str, NDArray[Any]]:
    """All samples of some batches; those that are shorter along an axis are padded with zeros."""
    return {name: _joined([batch[name] for batch in batches]) for name in batches[0]}


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    longest = np.max([array.shape[1:] for array in arrays], axis=0) if arrays[0].ndim > 1 else ()
    padded = [
        np.pad(array, [(0, 0), *((0, int(size) - own) for size, own in zip(longest, array.shape[1:], strict=True))])
        for array in arrays
    ]
    return np.concatenate(padded)


def session_of(model: str | bytes, options: Any = None) -> Any:
    """A session on the CPU that prints nothing."""
    options = options or onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def outputs(session: Any, batch: Batch) -> NDArray[Any]:
    """What a model gives for a batch: its output `[B, ...]`, or all of several in a row for each sample."""
    wanted = {each.name for each in session.get_inputs()}
    given = session.run(None, {name: array for name, array in batch.items() if name in wanted})
    if len(given) == 1:
        return np.asarray(given[0])
    return np.concatenate([np.asarray(each).reshape(len(each), -1) for each in given], axis=1)
