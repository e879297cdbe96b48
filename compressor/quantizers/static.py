"""Static int8 with ONNX Runtime's quantizer: QDQ format, ranges of activations from calibration samples.

Scheme: Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference
(arXiv 1712.05877); weights symmetric per channel, activations per tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator

from compressor.artifact import Decision
from compressor.errors import InputError, ModelError
from compressor.quantizers import _bias, _graph, _qdq
from compressor.quantizers._batches import Batch
from compressor.quantizers._contract import Calibration, Cpu, Prepared

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
_PRODUCTS = frozenset({"MatMul", "Gemm"})
_FUSED_IN_FLOAT = frozenset({"LayerNormalization", "Softmax", "Erf", "Gelu"})


class Static:
    """Int8 weights and activations, the ranges of which samples of the training set show.

    Args:
        calibration: How ranges come from samples: their ends (minmax), least divergence (entropy), or without outliers.
        percentile: Share of the values inside the range, in percent (percentile).
        per_channel: A scale for each output channel of weights.
        correct_bias: Move biases by the mean error of quantized weights (Nagel et al. 2019); auto: where that helps.
        between: What lies between layers with weights: int8, or float, where only what they read is rounded; auto: float in
            transformers, whose softmax, GELU and normalisation have no fast form in int8.

    Raises:
        InputError: An option is out of range.
    """

    needs_calibration = True

    def __init__(
        self,
        *,
        calibration: Literal["minmax", "entropy", "percentile"] = "minmax",
        percentile: float = 99.99,
        per_channel: bool = True,
        correct_bias: bool | Literal["auto"] = "auto",
        between: Literal["auto", "int8", "float"] = "auto",
    ) -> None:
        if calibration not in _METHODS:
            raise InputError(
                f"calibration = '{calibration}' is none of {', '.join(_METHODS)}", where="quantize.options.calibration"
            )
        if not 50 < percentile <= 100:
            raise InputError(f"percentile = {percentile} must lie in 50 to 100", where="quantize.options.percentile")
        self.calibration = calibration
        self.percentile = percentile
        self.per_channel = per_channel
        self.correct_bias = correct_bias
        self.between = between

    def prepare(self, source: Path, *, calibration: Calibration, cpu: Cpu, scratch: Path) -> Prepared:
        """See `_contract.PostTraining`."""
        file = _graph.prepared(source, scratch)
        if not _graph.nodes_of(file, _qdq.LAYERS):
            raise ModelError("there is no convolution or matrix product to quantize", where=str(source))
        float_between, why = self._between(file)
        unsound = _qdq.unsound(file, per_channel=self.per_channel)
        if float_between:
            nodes = tuple(name for name in _graph.weighted_nodes(file, _qdq.LAYERS) if name not in unsound)
            in_float = tuple(name for name in _graph.nodes_of(file, _qdq.LAYERS) if name not in nodes)
        else:
            in_float = tuple(dict.fromkeys((*_graph.probabilities_at_the_end(file, _qdq.LAYERS), *unsound)))
            nodes = tuple(name for name in _graph.nodes_of(file, _qdq.OPERATORS) if name not in in_float)
        with _graph.kept_quiet():
            ranges = self._ranges(file, calibration, scratch)
        made = _qdq.Qdq(
            file, nodes, in_float, cpu, ranges, why, per_channel=self.per_channel, float_between=float_between
        )
        return _bias.settle(made, calibration, wanted=self.correct_bias, scratch=scratch)

    def _between(self, file: Path) -> tuple[bool, tuple[Decision, ...]]:
        """Whether layers give float on, and why where that was decided."""
        if self.between != "auto":
            return self.between == "float", ()
        products = len(_graph.weighted_nodes(file, _PRODUCTS))
        others = len(_graph.weighted_nodes(file, _qdq.LAYERS - _PRODUCTS))
        at_the_end = _graph.probabilities_at_the_end(file, _qdq.LAYERS)
        if products <= others or set(_graph.nodes_of(file, _FUSED_IN_FLOAT)) <= set(at_the_end):
            return False, ()
        reason = f"{products} matrix products and {others} convolutions; what lies between has no fast form in int8"
        return True, (Decision("between layers", "float", reason),)

    def _ranges(self, file: Path, calibration: Calibration, scratch: Path) -> Any:
        options: dict[str, Any] = {"symmetric": False}
        if self.calibration == "percentile":
            options["percentile"] = self.percentile
        calibrator = create_calibrator(
            file,
            list(_qdq.OPERATORS),
            augmented_model_path=str(scratch / "augmented.onnx"),
            calibrate_method=_METHODS[self.calibration],
            extra_options=options,
        )
        for batch in calibration.batches():  # one by one: a histogram grows with what it is given at once
            calibrator.collect_data(_Reader(iter([batch])))
        return calibrator.compute_data()


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Batches as ONNX Runtime's calibrators read them."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch by input name, or None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {name: np.ascontiguousarray(array) for name, array in batch.items()}
