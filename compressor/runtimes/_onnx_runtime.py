"""ONNX Runtime, whatever provider runs the model: what all `ort_*` members share. Does not import torch.

A provider that is not there, does not start, or fails at an inference is an error: ONNX Runtime's own way of going on with
the CPU is switched off, so that a model that was to run on a GPU is never timed on the CPU instead. Nodes that the wanted
provider cannot run go to the CPU, as ONNX Runtime does; `operators` shows them, node by node.

A model of one input takes the one input of a sample, whatever either is called; of several each is found by its name.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

from compressor import external_data, plain_json
from compressor.errors import CompressError, MeasurementError, ModelError
from compressor.runtimes._contract import OperatorTime
from compressor.tensors import LOGITS, Schema, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Its own exceptions have no common base; ValueError and RuntimeError come from its Python layer and its bindings.
_FOREIGN_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    RuntimeError,
    *(
        kind
        for kind in vars(onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)

_INPUT_TYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
_OUTPUT_TYPES: Mapping[str, type[np.generic]] = {**_INPUT_TYPES, "tensor(int8)": np.int8}


class _Prepared(dict[str, "NDArray[Any]"]):
    """Inputs by the model's own names that have been through `prepare`, so that they are not normalised twice."""


CPU = "CPUExecutionProvider"
# The smallest model, an Identity of one float (ir 8, opset 13): a provider that cannot start here says so with it.
_NOTHING = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01nZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
_PROFILED_AT_FIRST = 3  # runs that a profile leaves out, as kernels are still being chosen


class OnnxRuntime:
    """A session of ONNX Runtime with one provider; the CPU takes what that cannot run."""

    def __init__(
        self,
        *,
        threads: int = 0,
        spinning: bool = False,
        arena: bool = True,
        provider: str = CPU,
        provider_options: Mapping[str, str] | None = None,
        then: Sequence[tuple[str, Mapping[str, str]]] = (),
        install: str = "pip install onnxruntime",
    ) -> None:
        """Set up without a model.

        Args:
            threads: Threads within an operator; 0 for all cores this process may use.
            spinning: Whether idle threads wait busily.
            arena: Whether memory is kept for the next inference.
            provider: Execution provider that must run the model.
            provider_options: Of the provider.
            then: Providers with their options that take what it cannot run, before the CPU does.
            install: The line that installs a build with the provider.
        """
        self._threads = threads or _usable_cores()
        self._spinning, self._arena = spinning, arena
        self._provider, self._provider_options, self._install = provider, dict(provider_options or {}), install
        self._then = then
        self._session: Any = None
        self._file: Path | None = None
        self.inputs, self.outputs = Schema(()), Schema(())
        self._takes: tuple[_Input, ...] = ()
        self._gives: tuple[str, ...] = ()
        self._widens = False
        self._batch: int | None = None
        self._normalisation: tuple[NDArray[Any], NDArray[Any]] | None = None
        self._metadata: Mapping[str, str] = {}

    def unavailable(self) -> str | None:
        """Why the provider is not here or does not start, with the line that installs it; None when it runs."""
        if self._provider == CPU:
            return None
        if not self._is_built_in:
            return f"this build of ONNX Runtime has no {self._provider}; {self._install}"
        try:
            self._session_of(_NOTHING, self._options())
        except _FOREIGN_ERRORS as fault:
            return f"{self._provider} does not start here: {_first_line(fault)}; {self._install}"
        return None

    @property
    def _is_built_in(self) -> bool:
        return self._provider in onnxruntime.get_available_providers()

    def load(self, path: Path) -> None:
        """Make a session.

        Args:
            path: An `.onnx` file, or an artifact folder that holds `model.onnx`.

        Raises:
            ModelError: No such file, not a model that ONNX Runtime can execute, not one with a single numeric input, or
                the provider is not here.
        """
        file = self._converted(model_file(path))
        session = self._started(file, self._options())
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if not inputs or any(each.type not in _INPUT_TYPES for each in inputs):
            found = ", ".join(f"{each.name}: {each.type}" for each in inputs)
            raise ModelError(
                f"the model takes ({found})", where=str(file), hint=f"give one with inputs of {', '.join(_INPUT_TYPES)}"
            )
        self._session, self._file = session, file
        self._takes = tuple(_Input(each.name, _INPUT_TYPES[each.type], tuple(each.shape[1:])) for each in inputs)
        self._gives = tuple(each.name for each in outputs) if len(outputs) > 1 else (LOGITS,)
        self._widens = any(each.type in _WIDENED for each in outputs)
        self.inputs, self.outputs = _schema(inputs), _schema(outputs, names=self._gives)
        sizes = [each.shape[0] for each in inputs if each.shape and isinstance(each.shape[0], int)]
        self._batch = sizes[0] if sizes else None
        try:
            self._metadata = dict(session.get_modelmeta().custom_metadata_map)
        except UnicodeDecodeError as fault:
            raise ModelError("what it says of itself is no UTF-8 text", where=str(file)) from fault
        self._normalisation = _outside_normalisation(self._metadata)

    @property
    def takes_bytes(self) -> bool:
        """Whether the loaded model takes pixels as they are stored, uint8 0-255."""
        return len(self._takes) == 1 and self._takes[0].dtype is np.uint8

    @property
    def batch(self) -> int | None:
        """The one batch size that the loaded model takes; None where it takes any."""
        return self._batch

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the loaded model says of itself, by key; one of ours says `compress.classes`, `compress.input`, ..."""
        return self._metadata

    def operators(self, inputs: Mapping[str, NDArray[Any]], *, runs: int) -> list[OperatorTime]:
        """Median time of each node that runs, in a session of its own that is profiled.

        Raises:
            MeasurementError: No model is loaded, or it cannot take these inputs.
        """
        self._loaded()
        assert self._file is not None
        prepared = self.prepare(inputs)
        if self._batch is not None and _count(prepared) != self._batch:
            prepared = next(self._in_parts(prepared))
        with tempfile.TemporaryDirectory(prefix="compress-profile-") as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = self._started(self._file, options)
            with edge(MeasurementError, f"ONNX Runtime cannot run a batch of {_in_words(prepared)}"):
                for _ in range(_PROFILED_AT_FIRST + runs):
                    session.run(None, prepared)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return _operator_times(events)

    def _options(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = (
            4  # errors are raised as well, and here would reach the terminal with names as they are
        )
        options.enable_cpu_mem_arena = self._arena
        # Idle threads that spin would take the cores from the model that is being timed in another process.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if self._spinning else "0")
        return options

    def _started(self, file: Path, options: Any) -> Any:
        fault: Exception | None = None
        if self._is_built_in:
            try:
                return self._session_of(str(file), options)
            except _FOREIGN_ERRORS as raised:
                fault = raised
        # Only now, since what is asked here starts a session of its own, which would count as loading time.
        reason = self.unavailable()
        if fault is None or reason is not None:
            raise ModelError(str(reason), where=str(file), hint="compress list runtimes shows what is here") from fault
        raise _translated(fault, ModelError, "ONNX Runtime cannot load this model", where=file) from fault

    def _session_of(self, model: str | bytes, options: Any) -> Any:
        """A session that runs on the provider or not at all; raises what ONNX Runtime raises."""
        self._load_libraries()
        wanted = [] if self._provider == CPU else [(self._provider, self._provider_options), *self._then]
        session = onnxruntime.InferenceSession(model, options, providers=[*wanted, CPU], enable_fallback=0)
        if self._provider not in session.get_providers():  # it only warned
            raise RuntimeError("its driver or its libraries are not installed, or the device is not there")
        return session

    def _load_libraries(self) -> None:
        """Bring in what the provider needs beside ONNX Runtime; nothing, for most."""

    def _converted(self, file: Path) -> Path:
        """The file that is really loaded; a format of its own is made here."""
        return file

    def prepare(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """`inputs` by the model's own names and in its data types, pixels moved to `[B, H, W, C]` if that is their shape.

        uint8 pixels become 0–1 for a model that takes floats, and are normalised for one that says it was exported
        without its normalisation.

        Raises:
            MeasurementError: No model is loaded, or an input that it takes is not there.
        """
        self._loaded()
        if isinstance(inputs, _Prepared):
            return inputs
        if len(self._takes) == 1 and len(inputs) == 1:
            (array,) = inputs.values()
            return _Prepared({self._takes[0].name: self._as_taken(self._takes[0], array)})
        missing = [each.name for each in self._takes if each.name not in inputs]
        if missing:
            raise MeasurementError(
                f"the model takes '{missing[0]}', which samples do not have; they have {', '.join(inputs)}",
                hint="inputs are matched by name where there are several",
            )
        return _Prepared({each.name: self._as_taken(each, inputs[each.name]) for each in self._takes})

    def _as_taken(self, taken: _Input, array: NDArray[Any]) -> NDArray[Any]:
        """One input as the model takes it."""
        # The plain comparison spares a model that answers in microseconds the longer look.
        moved = array.shape[1:] != taken.shape and _is_channels_last(taken.shape, array.shape[1:])
        if moved:
            array = np.moveaxis(array, 1, -1)
        is_float = issubclass(taken.dtype, np.floating)
        if array.dtype == np.uint8 and is_float:
            array = array.astype(taken.dtype) / taken.dtype(255)
        elif (array.dtype.kind == "f" and taken.dtype is not np.uint8) or (array.dtype.kind in "ib" and not is_float):
            array = array.astype(taken.dtype, copy=False)
        if self._normalisation is not None and is_float:
            behind = 0 if moved else array.ndim - 2
            mean, std = (part.reshape(-1, *[1] * behind) for part in self._normalisation)
            array = ((array - mean) / std).astype(taken.dtype)
        return np.ascontiguousarray(array)

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The model's outputs for a batch by name, in parts where the model takes another size of batch alone.

        Raises:
            MeasurementError: No model is loaded, or it cannot take these inputs.
        """
        # Every microsecond here is charged to a model that answers in thirty: no context manager, no text made in vain.
        session = self._session if self._session is not None else self._loaded()
        prepared = inputs if type(inputs) is _Prepared else self.prepare(inputs)
        if self._batch is not None and _count(prepared) != self._batch:
            parts = [self(part) for part in self._in_parts(prepared)]
            return {name: np.concatenate([part[name] for part in parts])[: _count(prepared)] for name in parts[0]}
        try:
            outputs = session.run(None, prepared)
        except _FOREIGN_ERRORS as fault:
            sentence = f"ONNX Runtime cannot run a batch of {_in_words(prepared)}"
            raise _translated(fault, MeasurementError, sentence) from fault
        if not self._widens:
            return dict(zip(self._gives, outputs))
        return {
            name: output.astype(np.float32, copy=False) if output.dtype.kind == "f" else output
            for name, output in zip(self._gives, outputs)
        }

    def _in_parts(self, prepared: Mapping[str, NDArray[Any]]) -> Iterator[_Prepared]:
        """Batches of the size that the model takes; what the last one lacks is filled up with its last sample."""
        assert self._batch is not None
        count = _count(prepared)
        for first in range(0, count, self._batch):
            positions = np.arange(first, first + self._batch).clip(max=count - 1)
            yield _Prepared({name: np.ascontiguousarray(array[positions]) for name, array in prepared.items()})

    def close(self) -> None:
        """Let go of the session."""
        self._session = None

    def describe(self) -> dict[str, str | int]:
        """The first provider of the session (of the library, before `load`) and the number of threads."""
        providers = self._session.get_providers() if self._session else [self._provider]
        return {
            "runtime": "onnxruntime",
            "version": str(onnxruntime.__version__),
            "provider": str(providers[0]),
            "threads": self._threads,
        }

    def file_size(self, path: Path) -> int:
        """Size in bytes of the model file and of the files that hold its weights outside it.

        Raises:
            ModelError: There is no such file, it is not an ONNX model, or its weights are not there.
        """
        file = model_file(path)
        beside = external_files(file)
        gone = sorted(other.name for other in beside if not other.is_file())
        if gone:
            raise ModelError(f"its weights lie in '{gone[0]}' beside it, which is not there", where=str(file))
        return file.stat().st_size + sum(other.stat().st_size for other in beside)

    def _loaded(self) -> Any:
        if self._session is None:
            raise MeasurementError("no model is loaded", hint="call load(path) first")
        return self._session


@dataclass(frozen=True)
class _Input:
    """What a model says of one of its inputs: its name, type, and shape without the batch axis."""

    name: str
    dtype: type[np.generic]
    shape: tuple[int | str | None, ...]


_WIDENED = ("tensor(float16)", "tensor(double)")


def _schema(tensors: Sequence[Any], *, names: Sequence[str] | None = None) -> Schema:
    """What a session says of its inputs or outputs; an axis without a name or a size is called by its position."""
    specs = []
    for name, each in zip(names or [tensor.name for tensor in tensors], tensors):
        kind = _OUTPUT_TYPES.get(each.type)
        shape = tuple(
            axis if isinstance(axis, int) else str(axis or f"axis {number}") for number, axis in enumerate(each.shape)
        )
        specs.append(TensorSpec(name, str(each.type) if kind is None else np.dtype(kind).name, shape[1:]))
    return Schema(tuple(specs))


def _count(inputs: Mapping[str, NDArray[Any]]) -> int:
    return len(next(iter(inputs.values())))


def _in_words(inputs: Mapping[str, NDArray[Any]]) -> str:
    return ", ".join(f"{array.dtype} {list(array.shape)}" for array in inputs.values())


def _operator_times(events: list[Mapping[str, Any]]) -> list[OperatorTime]:
    """The nodes in ONNX Runtime's profile, in the order they run."""
    taken: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time"):
            told = event.get("args", {})
            name = str(event["name"])[: -len("_kernel_time")]
            taken[name, str(told.get("op_name", "")), str(told.get("provider", ""))].append(float(event["dur"]) / 1000)
    return [
        OperatorTime(name, op, provider, float(np.median(each[_PROFILED_AT_FIRST:] or each)))
        for (name, op, provider), each in taken.items()
    ]


def _outside_normalisation(metadata: Mapping[str, str]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Mean and deviation to apply to 0–1 inputs, when the model says that they are not part of it."""
    try:
        told = plain_json.parse(metadata.get("compress.input", "{}"), finite=True).get("normalisation", {})
        if told.get("baked_in", True) or not told.get("mean"):
            return None
        mean, std = np.asarray(told["mean"], np.float32), np.asarray(told["std"], np.float32)
        if mean.ndim != 1 or mean.shape != std.shape or not (std > 0).all():
            raise ValueError("a mean and a deviation above 0 for each channel are due")
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise ModelError(f"what it says of its input (compress.input) is damaged: {fault}") from fault
    return mean, std


@contextmanager
def edge(error: type[CompressError], sentence: str, *, where: Path | None = None) -> Iterator[None]:
    """Turn whatever ONNX Runtime raises into `error`; only the first line of its message is for people."""
    try:
        yield
    except _FOREIGN_ERRORS as fault:
        raise _translated(fault, error, sentence, where=where) from fault


def _translated(
    fault: BaseException, error: type[CompressError], sentence: str, *, where: Path | None = None
) -> CompressError:
    return error(f"{sentence}: {_first_line(fault)}", where=None if where is None else str(where))


def _first_line(fault: BaseException) -> str:
    return str(fault).strip().split("\n")[0]


def model_file(path: Path) -> Path:
    """The ONNX file at `path`: itself, or the one in an artifact's folder.

    Raises:
        ModelError: There is none.
    """
    file = path / "model.onnx" if path.is_dir() else path
    if not file.is_file():
        raise ModelError("no such model", where=str(file), hint="compress export writes one from a trained network")
    return file


def external_files(file: Path) -> set[Path]:
    """The files beside an ONNX model that hold tensors too large for it (or kept apart on purpose).

    Raises:
        ModelError: It is not an ONNX model, or one of them is said to lie outside of its folder.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(str(file), load_external_data=False).graph
    except DecodeError as fault:
        raise ModelError(f"not an ONNX model: {fault}", where=str(file)) from fault
    return external_data.places_of(graph, file.parent, where=file)


def _is_channels_last(taken: tuple[int | str | None, ...], given: tuple[int, ...]) -> bool:
    """Whether the fixed sizes of what a model takes fit a `[C, H, W]` sample only as `[H, W, C]`."""

    def fits(sample: tuple[int, ...]) -> bool:
        return all(not isinstance(fixed, int) or fixed == size for fixed, size in zip(taken, sample))

    return len(given) == len(taken) == 3 and not fits(given) and fits((*given[1:], given[0]))


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
