"""Bias correction: what quantized weights shift an output by, on average, is taken out of its bias.

Nagel et al. 2019, Data-Free Quantization through Weight Equalization and Bias Correction (arXiv 1906.04721), section 4.2,
with the mean inputs measured on calibration samples: a layer computes (W + ε) x, so its mean output moves by ε E[x].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from compressor.artifact import Decision
from compressor.quantizers._contract import Calibration, Cpu
from compressor.quantizers._qdq import Qdq

_HELD_OUT = 4  # batches that judge where that is asked for; the others measure


def settle(made: Qdq, calibration: Calibration, *, wanted: bool | Literal["auto"], scratch: Path) -> Qdq:
    """`made` with corrected biases where that is wanted; `auto` compares the error of the logits on calibration samples.

    Returns:
        What to write with, and for `auto` the decision.
    """
    if wanted is False:
        return made
    judging = sum(1 for _ in islice(calibration.batches(), 2 * _HELD_OUT)) // 2 if wanted == "auto" else 0
    if wanted == "auto" and judging == 0:
        few = Decision("bias correction", "off", "one batch of calibration samples leaves none to judge it on")
        return replace(made, decisions=(*made.decisions, few))
    corrected = replace(made, shifts=_shifts(islice(calibration.batches(), judging, None), made))
    if wanted is True or not corrected.shifts:
        return corrected
    plain_error, error = (
        _error(each, islice(calibration.batches(), judging), scratch / f"bias-{name}.onnx")
        for name, each in (("no", made), ("yes", corrected))
    )
    reason = f"mean squared error of the logits {plain_error:.3g} without, {error:.3g} with it, on other samples"
    better = error < plain_error
    decision = Decision("bias correction", "on" if better else "off", reason)
    return replace(corrected if better else made, decisions=(*made.decisions, decision))


def _shifts(batches: Iterable[NDArray[Any]], made: Qdq) -> dict[str, NDArray[np.float32]]:
    """Node -> what its quantized weights add to each output on average, for convolutions and Gemm with a bias."""
    model = onnx.load(made.float_model)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = [
        node
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm")
        and len(node.input) == 3
        and node.input[1] in tensors
        and node.input[2] in tensors
        and tensors[node.input[1]].ndim in (2, 4)
    ]
    means = _mean_inputs(model, [node.input[0] for node in nodes], batches)
    found = {}
    for node in nodes:
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        weight = tensors[node.input[1]].astype(np.float64)
        if node.op_type == "Gemm" and not attributes.get("transB", 0):
            weight = weight.T
        change = _rounded(weight, cpu=made.cpu, per_channel=made.per_channel) - weight
        change_OI = change.reshape(*change.shape[:2], -1).sum(axis=2)
        mean_I = means[node.input[0]]
        groups = int(attributes.get("group", 1))
        inputs = np.repeat(mean_I.reshape(groups, -1), len(weight) // groups, axis=0)  # [O, I / groups]
        found[node.name] = (change_OI * inputs).sum(axis=1).astype(np.float32)
    return found


def _rounded(weight: NDArray[np.float64], *, cpu: Cpu, per_channel: bool) -> NDArray[np.float64]:
    """Weights `[O, ...]` as 8 (or 7) symmetric bits give them back."""
    largest = 64 if cpu.reduce_range else 127
    axes = tuple(range(1, weight.ndim)) if per_channel else None
    scale = np.abs(weight).max(axis=axes, keepdims=True) / largest
    scale[scale == 0] = 1.0
    restored: NDArray[np.float64] = np.clip(np.round(weight / scale), -largest, largest) * scale
    return restored


def _mean_inputs(model: Any, names: list[str], batches: Iterable[NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """The mean of each channel of some tensors, over rows (samples, or samples times tokens) and places."""
    traced = onnx.ModelProto()
    traced.CopyFrom(model)
    wanted = list(dict.fromkeys(names))
    inputs = {each.name for each in traced.graph.input}
    known = {each.name for each in traced.graph.output}
    for name in wanted:
        if name not in known and name not in inputs:
            traced.graph.output.add().name = name
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(traced.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = traced.graph.input[0].name
    asked = [name for name in wanted if name not in inputs]
    sums: dict[str, Any] = dict.fromkeys(wanted, 0.0)
    rows = dict.fromkeys(wanted, 0)
    for batch in batches:
        given = session.run(asked, {fed: batch}) if asked else []  # none asked for would mean all
        found = dict(zip(asked, given, strict=True)) | {fed: batch}
        for name in wanted:
            values = found[name].astype(np.float64)
            channel = values.reshape(*values.shape[:2], -1).mean(axis=2)
            sums[name] = sums[name] + channel.sum(axis=0)
            rows[name] += len(channel)
    return {name: np.asarray(total) / rows[name] for name, total in sums.items()}


def _error(made: Qdq, batches: Iterable[NDArray[Any]], file: Path) -> float:
    """Mean squared error of the quantized model's outputs against the float model's."""
    made.write(file)
    sessions = []
    for path in (made.float_model, file):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        sessions.append(onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
    name = sessions[0].get_inputs()[0].name
    errors = []
    for batch in batches:
        expected, found = (session.run(None, {name: batch})[0] for session in sessions)
        errors.append(float(np.square(expected.astype(np.float64) - found).mean()))
    return float(np.mean(errors))
