"""A model of any framework that teaches from its ONNX file: asked, and never looked into.

Shape letters: B batch, K classes, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor import plain_json
from compressor.artifact import Decision
from compressor.data.samples import Samples, SubsetSamples
from compressor.data.statistics import channel_statistics
from compressor.errors import InputError, MeasurementError, ModelError
from compressor.measure import normalisation as measured
from compressor.measure.accuracy import adds_up_to_one, one_input, predict
from compressor.models import normalisation, onnx_copy
from compressor.models.network import SMALLEST, Network
from compressor.models.normalisation import Normalisation
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.scores import Metric
from compressor.teachers._contract import Teacher
from compressor.tensors import LOGITS, Batch, Outputs, Schema

if TYPE_CHECKING:
    from compressor.tensors import Inputs

_NAMES = ("auto", "data", "imagenet", "half", "none")
_OUTPUTS = ("auto", "logits", "probabilities")
_LOOKED_AT = 256  # samples whose answers show whether they are probabilities


class OnnxFile(Teacher):
    """An ONNX model of any framework, through ONNX Runtime on the CPU: a black box that gives logits alone.

    It is fed as `compress evaluate` and `bench` feed it: pixels in 0-1 as float `[B, C, H, W]` (or `[B, H, W, C]`, if only
    that fits), or uint8 pixels where it takes those; models that compress exported say themselves what they want. Tokens
    and samples of several inputs go in as they are, each by its name. What
    any other model was trained with is found as for checkpoints: the common normalisations are tried on labelled training
    samples, and the most accurate is taken. A model that ends in a softmax is told by its answers; their logarithm is
    what the losses compare.

    Args:
        file: with one row of outputs for each sample, for any batch size
        classes: names of the classes of the data
        samples: the training samples
        normalise: auto (measured), data, imagenet, half, none, or [means, stds] per channel in 0-1 units
        outputs: auto (by looking at answers), logits or probabilities

    Attributes:
        normalisation: What pixels in 0-1 are normalised by before the model sees them; None where it says so itself.
        gives_probabilities: Whether the logarithm of its outputs is taken.
        decisions: What was found out about it.

    Raises:
        ModelError: The file cannot be read or run on these samples, knows other classes, or knows nothing of the data.
        InputError: An unknown option.
    """

    needs = ("one_class",)
    gives = ()

    def __init__(
        self,
        file: Path,
        classes: Sequence[str],
        samples: Samples,
        *,
        normalise: str | Sequence[Sequence[float]] = "auto",
        outputs: str = "auto",
    ) -> None:
        if isinstance(normalise, str) and normalise not in _NAMES:
            raise InputError(f"'{normalise}' is no normalisation", where="normalise", hint=f"write {', '.join(_NAMES)}")
        if outputs not in _OUTPUTS:
            raise InputError(f"'{outputs}' is not known", where="onnx.outputs", hint=f"write {', '.join(_OUTPUTS)}")
        self._file = file
        onnx_copy.require_own_weights(file / "model.onnx" if file.is_dir() else file)
        self._runtime = OrtCpu()
        self._runtime.load(file)
        self.normalisation: Normalisation | None = None
        self.gives_probabilities = False
        self._is_fed_numbers = _is_of_numbers(samples.inputs)
        self._require_fit(classes, samples)
        self.decisions = (*self._settle_outputs(outputs, samples), *self._settle_normalisation(normalise, samples))

    def meet(self, student: Network, inputs: Inputs) -> tuple[Decision, ...]:
        """What was found out about the model."""
        told = Decision("teacher", f"{self._file.name}, through ONNX Runtime on the CPU", "it is an ONNX model")
        return (told, *self.decisions)

    def answer(self, batch: Batch) -> Outputs:
        """The model's logits, computed on the CPU and brought to where the batch is."""
        given = {name: _as_data(tensor) for name, tensor in batch.inputs.items()}
        self.asked += len(batch)
        return Outputs.of(torch.from_numpy(self.logits(given)).to(batch.device))

    def logits(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Logits `[B, K]` for samples as the data gives them, by name; not counted as an answer to a lesson."""
        given = {"input": self._fed(one_input(inputs))} if self._is_fed_numbers else inputs
        outputs = self._runtime(given)
        answer_BK: NDArray[np.float32] = outputs.get(LOGITS, next(iter(outputs.values())))
        return np.log(answer_BK + np.float32(SMALLEST)) if self.gives_probabilities else answer_BK

    def _fed(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Pixels or other numbers, in the type and scale that the model takes."""
        if self._runtime.takes_bytes:
            if inputs.dtype != np.uint8:
                inputs = (np.clip(inputs, 0, 1) * 255).round().astype(np.uint8)
        elif self.normalisation is not None:
            inputs = _normalised(inputs, self.normalisation)
        return inputs

    def predicted(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The same by name, as models are judged."""
        return {LOGITS: self.logits(inputs)}

    def _require_fit(self, classes: Sequence[str], samples: Samples) -> None:
        """Refuse a model that does not give one row of K outputs for each sample."""
        try:
            knows = plain_json.parse(self._runtime.metadata.get("compress.classes", "null"))
            if knows is not None and not (isinstance(knows, list) and all(isinstance(each, str) for each in knows)):
                raise ValueError("not a list of names")
        except ValueError as fault:
            message = f"the names of its classes (compress.classes) are damaged: {fault}"
            raise ModelError(message, where=str(self._file)) from fault
        if knows is not None and list(knows) != list(classes):
            raise ModelError(
                f"the teacher knows {len(knows)} classes ({', '.join(knows[:3])}, ...), "
                f"the data has {len(classes)} ({', '.join(classes[:3])}, ...)",
                where=str(self._file),
                hint="teacher and data need the same classes in the same order",
            )
        try:
            answer = self.logits(samples.fetch(np.arange(min(2, len(samples)), dtype=np.int64)))
        except MeasurementError as fault:
            message = f"the model does not take samples of {samples.inputs}: {fault.message}"
            hint = "give data of the size that it was made for, and export it with a dynamic batch"
            raise ModelError(message, where=str(self._file), hint=hint) from fault
        if answer.ndim != 2 or len(answer) != min(2, len(samples)):
            hint = "its first output must be one row of outputs for each sample, for any batch size"
            raise ModelError(f"the model answers with shape {list(answer.shape)}", where=str(self._file), hint=hint)
        if answer.shape[1] != len(classes):
            raise ModelError(
                f"the model has {answer.shape[1]} outputs, the data has {len(classes)} classes",
                where=str(self._file),
                hint="teacher and data need the same classes in the same order",
            )

    def _settle_normalisation(self, wanted: str | Sequence[Sequence[float]], samples: Samples) -> list[Decision]:
        only = samples.inputs.only
        if only is None or not self._is_fed_numbers:
            if wanted not in ("auto", "none"):
                message = f"samples of {samples.inputs} are fed as they are"
                raise InputError(message, where="normalise", hint="leave it out: there are no pixels to normalize")
            return []
        channels = only.at({})[0]
        inside = "compress.input" in self._runtime.metadata or self._runtime.takes_bytes
        if inside:
            if wanted not in ("auto", "none"):
                what = "takes uint8 pixels" if self._runtime.takes_bytes else "says itself how its input is normalised"
                hint = "leave out normalise"
                raise ModelError(
                    f"the model {what}, so it cannot be normalised otherwise", where="normalise", hint=hint
                )
            return []
        if not isinstance(wanted, str):
            if len(wanted) != 2:
                raise InputError(f"{wanted} is not [means, stds]", where="normalise")
            self.normalisation = normalisation.stated(wanted[0], wanted[1], channels=channels)
            return []
        statistics = channel_statistics(samples)
        if wanted != "auto":
            self.normalisation = normalisation.named(wanted, channels=channels, statistics=statistics)
            return []
        labelled = np.flatnonzero(samples.labelled)
        if not len(labelled):
            hint = 'state it: teacher.normalise = "imagenet" ("half", "none" for pixels in 0-1, or [means, stds])'
            raise ModelError(
                "which input normalisation the model wants cannot be measured without labels",
                where=str(self._file),
                hint=hint,
            )
        with_labels = SubsetSamples(samples, labelled)

        def answers(tried: Normalisation, asked: Samples) -> NDArray[Any]:
            self.normalisation = tried
            return predict(self.predicted, asked)[LOGITS]

        chosen, why = measured.most_accurate(
            answers,
            measured.judge_classes,
            samples=measured.judged_on(with_labels),
            more=measured.more_to_judge_on(with_labels, None),
            statistics=statistics,
            metric=Metric("accuracy"),
            what="model",
            where=str(self._file),
            carries_its_own=True,
        )
        self.normalisation = chosen
        return [Decision("teacher's normalisation", why.choice, why.reason)]

    def _settle_outputs(self, wanted: str, samples: Samples) -> list[Decision]:
        if wanted != "auto":
            self.gives_probabilities = wanted == "probabilities"
            return []
        some = SubsetSamples(samples, np.arange(min(_LOOKED_AT, len(samples)), dtype=np.int64))
        answers_NK = predict(self.predicted, some)[LOGITS]
        self.gives_probabilities = adds_up_to_one(answers_NK)
        if not self.gives_probabilities:
            return []
        reason = f"no answer to {len(some)} samples is below 0, and each adds up to 1"
        return [Decision("teacher's outputs", "probabilities, of which the logarithm is taken", reason)]


def _is_of_numbers(inputs: Schema) -> bool:
    """Whether samples are one array of a fixed size that may be normalized, rather than tokens or several inputs."""
    only = inputs.only
    return only is not None and not only.varying and only.dtype in ("uint8", "float32")


def _as_data(tensor: Tensor) -> NDArray[Any]:
    """An input of a batch as the data gives it: whole numbers as they are, others in float32."""
    on_cpu = tensor.detach().to("cpu")
    return (on_cpu.float() if on_cpu.is_floating_point() else on_cpu).contiguous().numpy()


def _normalised(inputs: NDArray[Any], chosen: Normalisation) -> NDArray[np.float32]:
    if chosen.name == "none":
        return inputs
    mean, std = (
        np.asarray(part, np.float32).reshape(-1, *[1] * (inputs.ndim - 2)) for part in (chosen.mean, chosen.std)
    )
    scaled = inputs.astype(np.float32) / np.float32(255) if inputs.dtype == np.uint8 else inputs
    return ((scaled - mean) / std).astype(np.float32)
