"""NNCF's post-training quantization of an ONNX model, with its defaults where ONNX Runtime takes what they give.

python -m benchmarks.peers.with_nncf --model float.onnx --calibration pictures.npy --out int8.onnx
python -m benchmarks.peers.with_nncf --model float.onnx --calibration pictures.npy --out int8.onnx --transformer

One default is changed: depthwise convolutions would get a scale for each channel of their *activations*, which ONNX
Runtime's QLinearConv refuses. `--transformer` is the model type that its documentation asks for.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import numpy as np
import onnx

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # "not found. No telemetry will be sent."


def main() -> None:
    """Quantize one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True, help=".npy of pictures as the model takes them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--transformer", action="store_true")
    given = parser.parse_args()
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters

    nncf.set_log_level(logging.ERROR)
    model = onnx.load(given.model)
    name = model.graph.input[0].name
    pictures_NCHW = np.load(given.calibration)
    quantized = nncf.quantize(
        model,
        nncf.Dataset(pictures_NCHW, lambda picture_CHW: {name: picture_CHW[None]}),
        subset_size=len(pictures_NCHW),
        model_type=nncf.ModelType.TRANSFORMER if given.transformer else None,
        advanced_parameters=AdvancedQuantizationParameters(
            activations_quantization_params=QuantizationParameters(per_channel=False)
        ),
    )
    onnx.save(quantized, given.out)


if __name__ == "__main__":
    main()
