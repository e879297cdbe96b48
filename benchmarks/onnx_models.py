"""What the benchmarks of time measure: a network of the zoo as an ONNX file, and samples of the kind that a file takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from compressor.errors import ModelError
from compressor.models import load, onnx_file
from compressor.recipe import ExportSettings
from compressor.runtimes.ort_cpu import OrtCpu

SAMPLES = 64
_PIXELS = (3, 32, 32)


def zoo_file(name: str, folder: Path) -> Path:
    """A network of the zoo for pictures of 32×32, untrained (its time is that of a trained one), as an ONNX file."""
    torch.manual_seed(0)
    loaded = load.load(f"zoo:{name}", num_classes=10, sample_shape=_PIXELS)
    file = folder / f"{name}.onnx"
    settings, pixels = ExportSettings(), np.zeros((2, *_PIXELS), np.uint8)
    onnx_file.write(loaded.network.eval(), file, settings=settings, samples={"image": pixels})
    return file


def samples_for(file: Path, *, number: int = SAMPLES) -> tuple[NDArray[Any], NDArray[Any]]:
    """Random samples for a model: as they are stored, and as its session takes them; both `[N, ...]`.

    Raises:
        ModelError: It is no model of ours, or leaves more open than the size of its batch.
    """
    runtime = OrtCpu(threads=1)
    runtime.load(file)  # says what is wrong with a file better than the parser does
    try:
        taken = onnx.load(file, load_external_data=False).graph.input[0].type.tensor_type
        shape = [size.dim_value for size in taken.shape.dim[1:]]
        if not all(shape):
            raise ModelError(
                "the model leaves more open than its batch", where=str(file), hint="export it for inputs of one size"
            )
        generator = np.random.default_rng(0)
        if taken.elem_type == onnx.TensorProto.UINT8:
            stored: NDArray[Any] = generator.integers(0, 256, (number, *shape), dtype=np.uint8)
        else:
            stored = generator.random((number, *shape), dtype=np.float32)
        (prepared,) = runtime.prepare({"input": stored}).values()
        return stored, prepared
    finally:
        runtime.close()
