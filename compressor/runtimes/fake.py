"""A runtime without a model: for tests, and for trying the measurements themselves.

A file for it is JSON: `{"weights": [[...], ...], "ms_per_call": 2.0}`, weights `[F, K]` for samples of F numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor import plain_json
from compressor.errors import MeasurementError, ModelError
from compressor.runtimes._contract import OperatorTime
from compressor.tensors import LOGITS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Fake:
    """A stand-in that multiplies by a table and takes a stated time; to test measurements without a model."""

    def __init__(
        self,
        *,
        threads: int = 0,
        ms_per_call: float = 0.0,
        answer: Callable[[NDArray[Any]], NDArray[np.float32]] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Set up; with `answer` given, nothing needs to be loaded.

        Args:
            threads: reported, not used
            ms_per_call: time that each call takes, in milliseconds; a loaded file may say otherwise
            answer: from the one input of a batch to its one output
            sleep: how time passes, given seconds
        """
        self._threads = threads
        self._ms_per_call = ms_per_call
        self._answer = answer
        self._sleep = sleep

    def unavailable(self) -> str | None:
        """It is always here."""
        return None

    def load(self, path: Path) -> None:
        """Read the table and the time for each call.

        Raises:
            ModelError: No such file, or not a table.
        """
        try:
            described = plain_json.read(path)
            weights_FK = np.asarray(described["weights"], dtype=np.float32)
            ms_per_call = float(described.get("ms_per_call", self._ms_per_call))
        except OSError as fault:
            raise ModelError(f"cannot be read: {fault.strerror}", where=str(path)) from fault
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as fault:
            hint = 'write {"weights": [[1.0, 0.0], [0.0, 1.0]], "ms_per_call": 2.0}'
            raise ModelError(f"not a table for the fake runtime: {fault}", where=str(path), hint=hint) from fault
        self._answer = _Table(weights_FK)
        self._ms_per_call = ms_per_call

    def prepare(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """`inputs` as float32; uint8 pixels become 0–1."""
        return {name: _as_taken(array) for name, array in inputs.items()}

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Wait for the stated time, then answer.

        Raises:
            MeasurementError: Nothing is loaded, or the table does not fit the inputs.
        """
        if self._answer is None:
            raise MeasurementError("no model is loaded", hint="call load(path) first")
        if self._ms_per_call:
            self._sleep(self._ms_per_call / 1000)
        (array,) = self.prepare(inputs).values()
        return {LOGITS: self._answer(array)}

    def operators(self, inputs: Mapping[str, NDArray[Any]], *, runs: int) -> list[OperatorTime]:
        """One operator that takes the stated time.

        Raises:
            MeasurementError: Nothing is loaded, or the table does not fit the inputs.
        """
        self(inputs)
        return [OperatorTime("table", "MatMul", "fake", self._ms_per_call)]

    def close(self) -> None:
        """Forget the table."""
        self._answer = None

    def describe(self) -> dict[str, str | int]:
        """A provider called `fake`."""
        return {"runtime": "fake", "version": "1", "provider": "fake", "threads": self._threads}

    def file_size(self, path: Path) -> int:
        """Size in bytes of the table's file.

        Raises:
            ModelError: There is no such file.
        """
        if not path.is_file():
            raise ModelError("no such file", where=str(path))
        return path.stat().st_size


def _as_taken(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    return array.astype(np.float32, copy=False)


class _Table:
    """Outputs of a linear model, `[B, F] @ [F, K]`."""

    def __init__(self, weights_FK: NDArray[np.float32]) -> None:
        if weights_FK.ndim != 2:
            raise ModelError(f"weights have shape {list(weights_FK.shape)}", hint="write rows of equal length, [F, K]")
        self._weights_FK = weights_FK

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        rows_BF = inputs.reshape(len(inputs), -1)
        if rows_BF.shape[1] != len(self._weights_FK):
            raise MeasurementError(
                f"samples have {rows_BF.shape[1]} numbers, the table has {len(self._weights_FK)} rows"
            )
        return rows_BF @ self._weights_FK
