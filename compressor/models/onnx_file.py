"""A network becomes an ONNX file by torch's exporter, with an open batch and axes, and is looked at before it is believed.

Not covered: whether it answers as the network does (`measure/parity.py`), and what is written about it (`stages/export.py`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.artifact import Decision
from compressor.errors import FOREIGN_FAULTS, ModelError
from compressor.models import onnx_fusible
from compressor.models.network import Network
from compressor.recipe import ExportSettings
from compressor.tensors import Inputs, Schema

_NATIVE_OPSET = 18


def write(
    network: Network,
    file: Path,
    *,
    settings: ExportSettings,
    samples: Mapping[str, NDArray[Any]],
    inputs: Schema | None = None,
) -> tuple[int, tuple[Decision, ...]]:
    """Write `network` to `file`, with what `settings` say it takes.

    Args:
        network: In evaluation mode, on the CPU.
        file: Where to.
        settings: Input form and operator set.
        samples: Two samples of the data by name, each `[2, ...]`, as they are stored; what counts of one input of floats
            are its shape and type.
        inputs: What a sample is made of, where an axis varies: those stay open in the file. By default none does.

    Returns:
        The operator set, and what was chosen.

    Raises:
        ModelError: The network cannot be exported, or not in this form.
    """
    opset, why = _opset(settings)
    taken = _taken(samples, settings, schema=inputs)
    front = _front(network, settings)
    _write_onnx(front if len(taken) == 1 else _ByName(front, list(samples)).eval(), file, taken=taken, opset=opset)
    _without_notes(file)
    return opset, (*why, *_made_fusible(file))


class _FromCamera(nn.Module):
    """uint8 `[B, H, W, C]`, as cameras and image files give it, to the network's float `[B, C, H, W]` in 0–1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image.permute(0, 3, 1, 2).to(torch.float32) / 255)  # type: ignore[no-any-return]


class _ByName(nn.Module):
    """A network of several inputs, called with them in their order, as an exporter traces it."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.network(dict(zip(self.names, tensors, strict=True)))  # type: ignore[no-any-return]


class _Bare(nn.Module):
    """A network without its input normalisation: it takes inputs that are normalised already."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Inputs) -> Tensor:
        return self.network.of_normalised(inputs)


def _front(network: Network, settings: ExportSettings) -> nn.Module:
    if settings.input == "uint8-nhwc":
        if not settings.normalise:
            raise ModelError(
                "uint8 pixels cannot come normalised",
                where="export",
                hint="leave normalise on, or take input = float-nchw",
            )
        return _FromCamera(network).eval()
    return network if settings.normalise else _Bare(network).eval()


@dataclass(frozen=True)
class _Taken:
    """An input of the file: its name, an example `[2, ...]`, and names of the axes that stay open, by position."""

    name: str
    example: Tensor
    open: Mapping[int, str]


def _taken(samples: Mapping[str, NDArray[Any]], settings: ExportSettings, *, schema: Schema | None) -> list[_Taken]:
    found = []
    for name, array in samples.items():
        shape = schema[name].shape if schema is not None and name in schema else ()
        varying = {number: axis for number, axis in enumerate(shape, start=1) if isinstance(axis, str)}
        called = "input" if len(samples) == 1 else name
        found.append(_Taken(called, _example(array, settings, alone=len(samples) == 1), {0: "batch", **varying}))
    return found


def _example(array: NDArray[Any], settings: ExportSettings, *, alone: bool) -> Tensor:
    if settings.input == "uint8-nhwc":
        if array.ndim != 4 or array.dtype != np.uint8 or not alone:
            raise ModelError(
                f"input = uint8-nhwc needs 8-bit images; this data is {array.dtype} {list(array.shape[1:])}",
                where="export.input",
                hint="use input = float-nchw",
            )
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, 1, -1)))
    if array.dtype.kind == "f" or array.dtype == np.uint8:
        return torch.rand(array.shape)
    return torch.from_numpy(np.ascontiguousarray(array))  # token ids: a made-up one may be beyond the vocabulary


def _opset(settings: ExportSettings) -> tuple[int, tuple[Decision, ...]]:
    if settings.opset != "auto":
        return settings.opset, ()
    reason = "the exporter's own set, so nothing is converted; ONNX Runtime 1.14 (2023) and later run it"
    return _NATIVE_OPSET, (Decision("opset", str(_NATIVE_OPSET), reason),)


def _without_notes(file: Path) -> None:
    """Take out what the exporter says of each node: lines of source under paths of this machine, which differ elsewhere."""
    model = onnx.load(file, load_external_data=False)
    graph = model.graph
    for holder in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        del holder.metadata_props[:]
    for node in graph.node:
        node.ClearField("doc_string")
    for function in model.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]
    onnx.save(model, file)


def _made_fusible(file: Path) -> tuple[Decision, ...]:
    found = onnx_fusible.rewrite(file)
    told = ", ".join(f"{name} ({times})" for name, times in found.items())
    reason = "the same operators in an order that ONNX Runtime fuses, unlike the exporter's"
    return (Decision("written for ONNX Runtime", told, reason),) if found else ()


def _write_onnx(front: nn.Module, file: Path, *, taken: Sequence[_Taken], opset: int) -> None:
    with _exporter_kept_quiet() as said:
        try:
            _export(front, file, taken=taken, opset=opset)
        except (torch.onnx.errors.OnnxExporterError, *FOREIGN_FAULTS) as fault:
            cause = str(fault.__cause__ or fault).strip().split("\n")[0]
            raise ModelError(
                f"the network cannot be exported: {cause}",
                where="export",
                hint="control flow that depends on the values of tensors, and fixed batch sizes, are the usual causes",
            ) from fault
    model = onnx.load(file, load_external_data=False)
    found = {entry.domain: entry.version for entry in model.opset_import}.get("", 0)
    if found != opset:
        why = said.getvalue().strip().split("\n")[-1][:200]
        raise ModelError(
            f"the exporter wrote opset {found} where {opset} was asked for" + (f": {why}" if why else ""),
            where="export.opset",
            hint=f"use opset = {found}, which this network can be written in",
        )
    for each, written in zip(taken, model.graph.input, strict=True):
        for number, axis in each.open.items():
            if written.type.tensor_type.shape.dim[number].dim_param:
                continue
            what = "the batch size" if axis == "batch" else f"the number of {axis}"
            raise ModelError(
                f"the network fixes {what} while it is traced, so the exported model would take no other",
                where="export",
                hint=f"use x.shape[{number}] or x.flatten(1) in its forward instead of a number",
            )


def _export(front: nn.Module, file: Path, *, taken: Sequence[_Taken], opset: int) -> None:
    """Write the file; an axis of which the network takes no more than so many stays open below that."""
    axes = {name: torch.export.Dim(name, min=1) for each in taken for name in each.open.values()}
    shapes = tuple({number: axes[name] for number, name in each.open.items()} for each in taken)

    def write(dynamic_shapes: Any) -> None:
        torch.onnx.export(
            front,
            tuple(each.example for each in taken),
            file,
            input_names=[each.name for each in taken],
            output_names=["logits"],
            opset_version=opset,
            dynamo=True,
            dynamic_shapes=dynamic_shapes,
            external_data=False,
            verbose=False,
        )

    if len(axes) == 1 and len(taken) == 1:
        write(shapes)
        return
    try:
        write(shapes if len(taken) == 1 else (shapes,))
    except (torch.onnx.errors.OnnxExporterError, *FOREIGN_FAULTS):
        # A table of positions bounds the length, which a name with no bound contradicts.
        dynamic = tuple(dict.fromkeys(each.open, torch.export.Dim.DYNAMIC) for each in taken)
        write(dynamic if len(taken) == 1 else (dynamic,))


@contextmanager
def _exporter_kept_quiet() -> Iterator[io.StringIO]:
    """torch's exporter prints and logs much; what it said is kept for the error."""
    said = io.StringIO()
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield said
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
