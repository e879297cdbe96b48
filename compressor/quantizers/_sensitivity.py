"""How much each layer harms the answers by being quantized: what the error of the whole falls by when it alone goes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.quantizers import _batches
from compressor.quantizers._batches import Batch
from compressor.quantizers._contract import Prepared


def harms(
    prepared: Prepared,
    layers: Sequence[str],
    *,
    batches: Sequence[Batch],
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


def outputs(file: Path, batches: Sequence[Batch]) -> NDArray[np.float64]:
    """The outputs of a model for some batches, `[N, K]`."""
    session = _batches.session_of(str(file))
    rows = [_batches.outputs(session, batch) for batch in batches]
    if len({row.shape[1:] for row in rows}) > 1:  # an axis that varies: what is compared is a row of numbers
        return np.concatenate([row.ravel() for row in rows]).astype(np.float64)
    return np.concatenate(rows).astype(np.float64)


def worst_first(harm: Mapping[str, float], gain_ms: Mapping[str, float]) -> list[str]:
    """Layers by harm for each millisecond that going back costs; those that harm nobody are left out."""
    smallest = max(1e-6, 0.01 * max(gain_ms.values(), default=0.0))
    price = {layer: value / max(gain_ms.get(layer, 0.0), smallest) for layer, value in harm.items() if value > 0}
    return sorted(price, key=lambda layer: -price[layer])
