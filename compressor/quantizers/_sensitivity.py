"""How much each layer harms the answers by being quantized: what the error of the whole falls by when it alone goes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from compressor.quantizers._contract import Prepared


def harms(
    prepared: Prepared,
    layers: Sequence[str],
    *,
    batches: Sequence[NDArray[Any]],
    scratch: Path,
    keep_float: frozenset[str] = frozenset(),
) -> dict[str, float]:
    """The fall of the error when one layer more is left in float, for each layer.

    The error is the mean squared difference of the outputs from the float model's, over the variance of these. It is taken
    from the model that is to be mended, not from one with a single quantized layer: errors of layers do not add up.

    Args:
        prepared: The calibrated model.
        layers: Node names.
        batches: Samples that were not used to calibrate, as the model takes them.
        scratch: Where variants are written.
        keep_float: Layers that are in float already.
    """
    expected = outputs(prepared.float_model, batches)
    spread = float(expected.var()) or 1.0

    def error(kept: frozenset[str]) -> float:
        file = scratch / "sensitivity.onnx"
        prepared.write(file, keep_float=kept)
        return float(np.square(outputs(file, batches) - expected).mean()) / spread

    whole = error(keep_float)
    return {layer: whole - error(keep_float | {layer}) for layer in layers if layer not in keep_float}


def outputs(file: Path, batches: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """The outputs of a model for some batches, `[N, K]`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: batch})[0] for batch in batches]).astype(np.float64)


def worst_first(harm: Mapping[str, float], gain_ms: Mapping[str, float]) -> list[str]:
    """Layers by harm for each millisecond that going back costs; those that harm nobody are left out."""
    smallest = max(1e-6, 0.01 * max(gain_ms.values(), default=0.0))
    price = {layer: value / max(gain_ms.get(layer, 0.0), smallest) for layer, value in harm.items() if value > 0}
    return sorted(price, key=lambda layer: -price[layer])
