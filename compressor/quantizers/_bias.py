"""Bias correction: what quantized weights shift an output by, on average, is taken out of its bias.

Nagel et al. 2019, Data-Free Quantization through Weight Equalization and Bias Correction (arXiv 1906.04721), section 4.2,
with the mean inputs measured on calibration samples: a layer computes (W + ε) x, so its mean output moves by ε E[x].
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
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
from compressor.quantizers import _batches
from compressor.quantizers._batches import Batch
from compressor.quantizers._contract import Calibration, Cpu
from compressor.quantizers._qdq import Qdq

_HELD_OUT = 4  # batches that judge where that is asked for; the others measure
_FEW = 256  # samples: of fewer none can be spared to judge alone, so that all of them judge and measure in turns
_FOLDS = 4
_SURE = 1.0  # standard errors that the gain on few samples must exceed


def settle(made: Qdq, calibration: Calibration, *, wanted: bool | Literal["auto"], scratch: Path) -> Qdq:
    """`made` with corrected biases where that is wanted; `auto` compares the error of the logits on calibration samples.

    Those that judge are not those that the correction was measured on: of many samples some are held out, few are judged
    by cross-validation.

    Returns:
        What to write with, and for `auto` the decision.
    """
    if wanted is False:
        return made
    if wanted == "auto" and len(calibration) < _FEW:
        return _cross_validated(made, calibration, scratch)
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


def _cross_validated(made: Qdq, calibration: Calibration, scratch: Path) -> Qdq:
    """The same for few samples: each fold is judged by what the others measured, and what ships is measured on all.

    A mean over few samples may be off by more than the rounding is, so that the gain must be more than chance.
    """
    batches = list(calibration.batches())
    samples = _distinct(_batches.joined(batches))
    number_of = _batches.count(samples)
    if number_of < 2:
        few = Decision("bias correction", "off", "one calibration sample leaves none to judge it on")
        return replace(made, decisions=(*made.decisions, few))
    corrected = replace(made, shifts=_shifts(batches, made))
    if not corrected.shifts:
        return corrected
    size, fixed = _batches.count(batches[0]), _takes_one_batch_size(made.float_model)
    file = scratch / "bias-no.onnx"
    made.write(file)
    of_plain, of_corrected = [], []
    folds = np.arange(number_of) % min(_FOLDS, number_of)
    for fold in np.unique(folds):
        measured, judged = (
            _in_batches(_batches.taken(samples, np.flatnonzero(chosen)), size, fixed=fixed)
            for chosen in (folds != fold, folds == fold)
        )
        others = replace(made, shifts=_shifts(measured, made))
        others.write(scratch / "bias-yes.onnx")
        number = int((folds == fold).sum())
        of_plain.append(_errors(made.float_model, file, judged)[:number])
        of_corrected.append(_errors(made.float_model, scratch / "bias-yes.onnx", judged)[:number])
    plain_N, corrected_N = np.concatenate(of_plain), np.concatenate(of_corrected)
    gain_N = plain_N - corrected_N
    better = bool(gain_N.mean() > _SURE * gain_N.std(ddof=1) / len(gain_N) ** 0.5)
    reason = (
        f"mean squared error of the logits {plain_N.mean():.3g} without, {corrected_N.mean():.3g} with it, "
        f"by cross-validation on {number_of} calibration samples"
        + ("; so few may show that by chance" if gain_N.mean() > 0 and not better else "")
    )
    decision = Decision("bias correction", "on" if better else "off", reason)
    return replace(corrected if better else made, decisions=(*made.decisions, decision))


def _distinct(samples: Batch) -> Batch:
    """The samples without repetitions, which would judge what they measured."""
    first: dict[bytes, int] = {}
    for number in range(_batches.count(samples)):
        digest = hashlib.sha256(b"".join(array[number].tobytes() for array in samples.values())).digest()
        first.setdefault(digest, number)
    return _batches.taken(samples, np.array(list(first.values()), np.int64))


def _takes_one_batch_size(file: Path) -> bool:
    shape = onnx.load(file, load_external_data=False).graph.input[0].type.tensor_type.shape
    return bool(shape.dim and shape.dim[0].dim_value)


def _in_batches(samples: Batch, size: int, *, fixed: bool) -> list[Batch]:
    """Batches of `size`; where a model takes no smaller ones, the last is filled up with samples from the start."""
    count = _batches.count(samples)
    number = -(-count // size) * size if fixed else count
    order = np.resize(np.arange(count), number)
    return [_batches.taken(samples, order[first : first + size]) for first in range(0, number, size)]


def _shifts(batches: Iterable[Batch], made: Qdq) -> dict[str, NDArray[np.float32]]:
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


def _mean_inputs(model: Any, names: list[str], batches: Iterable[Batch]) -> dict[str, NDArray[np.float64]]:
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
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _batches.session_of(traced.SerializeToString(), options)
    asked = [name for name in wanted if name not in inputs]
    sums: dict[str, Any] = dict.fromkeys(wanted, 0.0)
    rows = dict.fromkeys(wanted, 0)
    for batch in batches:
        fed = {name: array for name, array in batch.items() if name in inputs}
        given = session.run(asked, fed) if asked else []  # none asked for would mean all
        found = dict(zip(asked, given, strict=True)) | fed
        for name in wanted:
            values = found[name].astype(np.float64)
            channel = values.reshape(*values.shape[:2], -1).mean(axis=2)
            sums[name] = sums[name] + channel.sum(axis=0)
            rows[name] += len(channel)
    return {name: np.asarray(total) / rows[name] for name, total in sums.items()}


def _error(made: Qdq, batches: Iterable[Batch], file: Path) -> float:
    """Mean squared error of the quantized model's outputs against the float model's."""
    made.write(file)
    errors = [float(squared.mean()) for squared in _squared(made.float_model, file, batches)]
    return float(np.mean(errors))


def _errors(float_model: Path, file: Path, batches: Iterable[Batch]) -> NDArray[np.float64]:
    """The same of each sample, where each has outputs of its own."""
    rows = [squared.reshape(len(squared), -1).mean(axis=1) for squared in _squared(float_model, file, batches)]
    return np.concatenate(rows)


def _squared(float_model: Path, file: Path, batches: Iterable[Batch]) -> Iterator[NDArray[np.float64]]:
    """Squared differences of two models' outputs, batch by batch."""
    sessions = [_batches.session_of(str(path)) for path in (float_model, file)]
    for batch in batches:
        expected, found = (_batches.outputs(session, batch) for session in sessions)
        yield np.square(expected.astype(np.float64) - found)
