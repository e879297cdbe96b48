"""ONNX Runtime's own static quantization, as its documentation shows it: `quant_pre_process`, then `quantize_static`.

python -m benchmarks.peers.with_ort --model float.onnx --calibration pictures.npy --out int8.onnx
python -m benchmarks.peers.with_ort --model float.onnx --calibration pictures.npy --out int8.onnx --advised

The first form leaves every option at its default (QDQ, int8 activations and weights, one scale for each tensor, MinMax). The
second takes what the same page advises where those defaults disappoint on x86-64: uint8 activations, a scale for each
channel of the weights, and 7-bit weights on a CPU without VNNI.

Source: ONNX Runtime documentation, "Quantize ONNX models", sections "Static quantization" and "Data type selection".
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from compressor.quantizers._graph import kept_quiet
from compressor.quantizers._targets import cpu


class Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Pictures one by one, by the name of the model's input.

    Args:
        model: The model that is calibrated.
        pictures_NCHW: As it takes them.
    """

    def __init__(self, model: Path, pictures_NCHW: NDArray[np.float32]) -> None:
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        self._batches: Iterator[dict[str, Any]] = ({name: picture[None]} for picture in pictures_NCHW)

    def get_next(self) -> dict[str, Any] | None:
        """The next picture, or None at the end."""
        return next(self._batches, None)


def main() -> None:
    """Quantize one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True, help=".npy of pictures as the model takes them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--advised", action="store_true", help="what the documentation advises for this CPU")
    given = parser.parse_args()
    options: dict[str, Any] = {}
    if given.advised:
        options = {
            "activation_type": QuantType.QUInt8,
            "per_channel": True,
            "reduce_range": cpu("this").name == "x86-avx2",
        }
    with tempfile.TemporaryDirectory(prefix="compress-ort-") as folder, kept_quiet():
        ready = Path(folder) / "ready.onnx"
        _pre_process(given.model, ready)
        quantize_static(str(ready), str(given.out), Pictures(ready, np.load(given.calibration)), **options)


def _pre_process(model: Path, ready: Path) -> None:
    """As documented; the symbolic shape inference is for transformers, and fails on some of them."""
    try:
        quant_pre_process(str(model), str(ready))
    except Exception as fault:
        if "symbolic shape inference" not in str(fault):
            raise
        quant_pre_process(str(model), str(ready), skip_symbolic_shape=True)


if __name__ == "__main__":
    main()
