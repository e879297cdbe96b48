"""A network becomes an ONNX file: written by torch's exporter with a dynamic batch, and looked at before it is believed.

Not covered: whether it answers as the network does (`measure/parity.py`), and what is written about it (`stages/export.py`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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

_NATIVE_OPSET = 18


def write(
    network: Network, file: Path, *, settings: ExportSettings, pixels: NDArray[Any]
) -> tuple[int, tuple[Decision, ...]]:
    """Write `network` to `file`, with what `settings` say it takes.

    Args:
        network: In evaluation mode, on the CPU.
        file: Where to.
        settings: Input form and operator set.
        pixels: Two samples of the data, `[2, ...]`, as they are stored; their shape and type are what counts.

    Returns:
        The operator set, and what was chosen.

    Raises:
        ModelError: The network cannot be exported, or not in this form.
    """
    opset, why = _opset(settings)
    _write_onnx(_front(network, settings), file, example=_example(pixels, settings), opset=opset)
    return opset, (*why, *_made_fusible(file))


class _FromCamera(nn.Module):
    """uint8 `[B, H, W, C]`, as cameras and image files give it, to the network's float `[B, C, H, W]` in 0–1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image.permute(0, 3, 1, 2).to(torch.float32) / 255)  # type: ignore[no-any-return]


class _Bare(nn.Module):
    """A network without its input normalisation: it takes inputs that are normalised already."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
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


def _example(pixels: NDArray[Any], settings: ExportSettings) -> Tensor:
    if settings.input == "uint8-nhwc":
        if pixels.ndim != 4 or pixels.dtype != np.uint8:
            raise ModelError(
                f"input = uint8-nhwc needs 8-bit images; this data is {pixels.dtype} {list(pixels.shape[1:])}",
                where="export.input",
                hint="use input = float-nchw",
            )
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 1, -1)))
    return torch.rand(pixels.shape)


def _opset(settings: ExportSettings) -> tuple[int, tuple[Decision, ...]]:
    if settings.opset != "auto":
        return settings.opset, ()
    reason = "the exporter's own set, so nothing is converted; ONNX Runtime 1.14 (2023) and later run it"
    return _NATIVE_OPSET, (Decision("opset", str(_NATIVE_OPSET), reason),)


def _made_fusible(file: Path) -> tuple[Decision, ...]:
    found = onnx_fusible.rewrite(file)
    told = ", ".join(f"{name} ({times})" for name, times in found.items())
    reason = "the same operators in an order that ONNX Runtime fuses, unlike the exporter's"
    return (Decision("written for ONNX Runtime", told, reason),) if found else ()


def _write_onnx(front: nn.Module, file: Path, *, example: Tensor, opset: int) -> None:
    with _exporter_kept_quiet() as said:
        try:
            torch.onnx.export(
                front,
                (example,),
                file,
                input_names=["input"],
                output_names=["logits"],
                opset_version=opset,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                external_data=False,
                verbose=False,
            )
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
    dynamic = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    if not dynamic:
        raise ModelError(
            "the network fixes the batch size while it is traced, so the exported model would take no other",
            where="export",
            hint="use x.shape[0] or x.flatten(1) in its forward instead of a number",
        )


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
