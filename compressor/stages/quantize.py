"""Quantize an ONNX model for the CPU that will run it, and ship it only where it pays.

Everything is judged on the exported file and on ONNX Runtime: the metric on validation while layers are chosen, the metric
on the test set once at the end, and the time beside the float model, in turns. What is slower is not shipped; what is about
as fast ships for its size, and is called that.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from compressor import artifact, console, registry
from compressor.artifact import Artifact, Decision, Target
from compressor.data.samples import Samples, SubsetSamples
from compressor.errors import InputError
from compressor.measure import detectable, machine, parity, ruin, sizes
from compressor.measure.accuracy import evaluate, judge
from compressor.measure.contest import time_models
from compressor.measure.statistics import Interval, paired_speedup
from compressor.models import onnx_copy
from compressor.quantizers import _batches, _gain, _sensitivity
from compressor.quantizers._calibration import TrainingSamples
from compressor.quantizers._contract import Cpu, PostTraining, Prepared
from compressor.quantizers._graph import copy_metadata
from compressor.quantizers._search import Found, search
from compressor.quantizers._targets import cpu as cpu_of
from compressor.recipe import ExportSettings, ProfileSettings, QuantizeSettings
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.scores import Metric
from compressor.training import resume
from compressor.training.material import Material, OnMaterial
from compressor.training.quantized import train_quantized

MODEL = "model.onnx"
_INPUTS_KEPT = 64
_SAMPLES_FOR_SENSITIVITY = 256
_CHECKED_WITHOUT_VALIDATION = 2000
_MAY_LOSE = 0.05  # of the speed, at the lower end of the interval, where a smaller file is worth it
_SMALLER = 1.02
_CLOSE = 1.2  # a speed-up below it, or a loss below its inverse, may be that of one pair of processes
_STARTS = 5


def quantize(
    source: Artifact,
    settings: QuantizeSettings,
    *,
    profile: ProfileSettings,
    network: Artifact | None,
    teacher: Artifact | None,
    material: Material,
    target: Target,
) -> Artifact:
    """Quantize the model in `source` and keep it, or the float model where that is better.

    Args:
        source: An exported float model.
        settings: How, for which CPU, and what is accepted.
        profile: Run conditions that time is measured under.
        network: The network it was exported from, which quantization-aware training starts from.
        teacher: What that learns from.
        material: Samples, how they are shown, and what outputs mean.
        target: What to leave behind.

    Raises:
        ModelError: The method has nothing to quantize in this model.
        MeasurementError: A variant does not run.
    """
    with (
        tempfile.TemporaryDirectory(prefix="compress-quantize-") as scratch,
        artifact.folder_for(target.folder) as folder,
    ):
        job = _Quantizing(source, settings, profile, material, target, Path(scratch))
        if settings.method == "qat":
            job.train(network, teacher=teacher)
        else:
            job.choose_layers(method=settings.method, options=settings.options)
        made = job.ship(folder)
        resume.discard(target.state)  # of this training, or of one that was given up
        return made


@dataclass
class _Quantizing(OnMaterial):
    source: Artifact
    settings: QuantizeSettings
    profile: ProfileSettings
    material: Material
    target: Target
    scratch: Path

    def __post_init__(self) -> None:
        self.started = time.perf_counter()
        self.source.verify()  # all of it: weights may lie beside the model
        self.float_file = self.source.file(MODEL)
        self.cpu: Cpu = cpu_of(self.settings.target)
        self.is_for_here = self.cpu.name == cpu_of("this").name
        self.decisions = [Decision("target CPU", self.cpu.name, self.cpu.reason)]
        self.candidate = self.scratch / "candidate.onnx"
        self.search: Found | None = None
        self.layers: list[dict[str, Any]] = []
        self.training: dict[str, Any] = {}

    def choose_layers(self, file: Path | None = None, *, method: str, options: Mapping[str, Any]) -> None:
        """Calibrate, and leave in float what costs time or accuracy.

        Args:
            file: The float model to quantize; by default the source's.
            method: A post-training member of `quantizers`.
            options: Of the method.
        """
        quantizer: PostTraining = registry.find("quantizers", method).load()(**options)
        console.note(f"quantize  {method} for {self.cpu.name}, {len(self.calibration)} samples")
        prepared = quantizer.prepare(
            file or self.float_file, calibration=self.calibration, cpu=self.cpu, scratch=self._folder("prepared")
        )
        self.decisions += prepared.decisions
        ops = _gain.layers_of(prepared.float_model)
        layers = [name for name in prepared.nodes if name in ops]
        variants = _Variants(self, prepared)
        if not (self.settings.mixed and layers):
            prepared.write(self.candidate)
            self.layers = [{"layer": name, "op": ops[name], "float": False} for name in layers]
            return
        gains, float_ms = self._gains(prepared, layers) if self.is_for_here else ({}, 1.0)
        harm: dict[str, float] = {}

        def worst_first(kept: frozenset[str]) -> list[str]:
            console.note(f"quantize  the harm of each of {len(layers)} layers is measured")
            harm.update(
                _sensitivity.harms(
                    prepared, layers, batches=self._held_out(), scratch=self._folder("harm"), keep_float=kept
                )
            )
            return _sensitivity.worst_first(harm, gains)

        self.search = search(
            layers,
            gain_ms=gains,
            float_ms=float_ms,
            metric=variants.metric,
            faster=variants.faster,
            worst_first=worst_first,
            lowest=self._lowest,
            between=[name for name in prepared.nodes if name not in ops],
        )
        prepared.write(self.candidate, keep_float=self.search.keep_float)
        self.layers = [
            {
                "layer": name,
                "op": ops[name],
                "float": name in self.search.keep_float,
                "gain_ms": gains.get(name),
                "harm": harm.get(name),
            }
            for name in layers
        ]
        self._explain_search(self.search)

    def train(self, network: Artifact | None, *, teacher: Artifact | None) -> None:
        """Quantization-aware training from the teacher, then as without it."""
        if network is None:
            raise InputError(
                "quantization-aware training needs the network, not its ONNX file", where="quantize.method"
            )
        method = registry.find("quantizers", self.settings.method).load()(**self.settings.options)
        number = len(self.checked)  # refused here, before training, where there are none
        console.note(f"quantize  {self.settings.method} for {self.cpu.name}, checked on {number} samples")
        file = self.scratch / "trained.onnx"
        trained = train_quantized(
            network,
            self.settings,
            method=method,
            cpu=self.cpu,
            export=ExportSettings.model_validate(self.source.manifest.settings["export"]),
            teacher=teacher,
            material=self.material,
            target=self.target,
            destination=file,
        )
        self.decisions += trained.decisions
        self.training = {"curve": list(trained.curve), "interruptions": trained.interruptions}
        self._take_metadata(file)
        self.choose_layers(file, method="static", options=method.written_by)

    def ship(self, folder: Path) -> Artifact:
        """Hold the candidate against the float model, and keep the one that wins, with everything that was measured."""
        file = folder / MODEL
        judged = self._judged(self.candidate, self.checked)
        drop = self._drop(judged["metrics"][self.task.primary])
        judged_on = self._what_judged_the_drop(of_decisions=judged["majority"] is not None)
        speedup, p50_ms, float_p50_ms = self._timed()
        ships, why = self._verdict(drop=drop, speedup=speedup)
        if ships:
            shutil.copyfile(self.candidate, file)
            self._describe(file)
        else:
            onnx.save(onnx_copy.whole(self.float_file), file)
        self.decisions.append(Decision("result", self.settings.method if ships else "float", why))
        console.note(f"quantize  {self.settings.method if ships else 'float'}: {why}")
        budgets = self._budgets(ships=ships, drop=drop, p50_ms=p50_ms if ships else float_p50_ms)
        self.material.dataset.put_files(folder)
        manifest = replace(
            self.target.manifest("onnx"),
            data=self.dataset.describe(),
            metrics={
                "val": self._judged(file, self.checked),
                "test": self._judged(file, self.dataset.test),
                "budgets_met": all(budget["met"] for budget in budgets),
            },
            details={
                "parity": asdict(self._parity(file)),
                **{
                    told: self.source.manifest.details[told]
                    for told in ("input_contract", "opset")
                    if told in self.source.manifest.details  # a model from elsewhere has the contract that it came with
                },
                "size_bytes": file.stat().st_size,
                "title": self.source.manifest.details["title"],
                "result": self.settings.method if ships else "float",
                "budgets": budgets,
                "quantization": {
                    **self._told(drop=drop, speedup=speedup, p50_ms=p50_ms, float_p50_ms=float_p50_ms),
                    "kept_for": self._kept_for(ships=ships, speedup=speedup),
                    "drop_judged_on": f"{judged_on.choice}; {judged_on.reason}",
                },
                **self.training,
            },
            decisions=(*self.target.decisions, *self.decisions),
            machine=machine.describe(),
            elapsed_s=time.perf_counter() - self.started,
        )
        return artifact.seal(folder, self.target.folder, manifest)

    @cached_property
    def calibration(self) -> TrainingSamples:
        """Samples of the training set, as the model takes them."""
        return self._drawn(self.settings.calibration)

    def _drawn(self, number: int, *, skip: int = 0) -> TrainingSamples:
        """Some of the training set, in batches of the size that the model takes."""
        return TrainingSamples(
            self.dataset.train,
            number=number,
            seed=self.target.seed,
            prepare=self.runtime.prepare,
            fixed_batch=self.runtime.batch,
            skip=skip,
        )

    @cached_property
    def runtime(self) -> OrtCpu:
        """The float model, loaded."""
        runtime = OrtCpu()
        runtime.load(self.float_file)
        return runtime

    @cached_property
    def checked(self) -> Samples:
        """What choices are judged on: validation, or training samples that calibrated nothing where there is none."""
        if self.dataset.val is not None:
            return self.dataset.val
        order = np.random.default_rng([self.target.seed, 0xCA]).permutation(len(self.dataset.train))
        number = self.settings.calibration
        others = order[number:]
        others = others[self.dataset.train.labelled[others]][:_CHECKED_WITHOUT_VALIDATION]
        if not len(others):
            raise InputError(
                f"calibration = {number} leaves no sample to check with", where="quantize", hint="keep a val_share"
            )
        self.decisions.append(
            Decision(
                "checked on", f"{len(others)} training samples", "there is no validation set; none of them calibrated"
            )
        )
        return SubsetSamples(self.dataset.train, np.sort(others).astype(np.int64))

    @cached_property
    def float_metric(self) -> float:
        """The task's metric of the float model."""
        return self._metric_of(self.float_file)

    @property
    def _metric(self) -> Metric:
        return self.task.metric(self.task.primary)

    def _drop(self, metric: float) -> float:
        """How much worse than float, in points of a share and else in the metric's own unit."""
        if self._metric.is_share:
            return 100 * (self.float_metric - metric)
        return self._metric.drop(self.float_metric, metric)

    @property
    def _half_a_sample(self) -> float:
        """What a share can move by chance of one sample, in points; a difference below it is none."""
        return 50 / len(self.checked) if self._metric.is_share else 0.0

    @property
    def _lowest(self) -> float | None:
        """The least metric that keeps the budget; a difference below one sample is none."""
        if self.settings.max_drop is None:
            return None
        if self._metric.is_share:
            return self.float_metric - self.settings.max_drop / 100 - 0.5 / len(self.checked)
        return self._as_more_is_better(self.float_metric) - self.settings.max_drop

    def _as_more_is_better(self, metric: float) -> float:
        """The metric with the sign by which a search looks for more."""
        return metric if self._metric.larger_is_better else -metric

    def _gains(self, prepared: Prepared, layers: list[str]) -> tuple[dict[str, float], float]:
        """Milliseconds that each layer saves by being quantized, and those of all layers in float."""
        whole = self._folder("gain") / "whole.onnx"
        prepared.write(whole)
        samples = next(self.calibration.batches())
        batch = _batches.taken(samples, np.resize(np.arange(_batches.count(samples)), self.profile.batch))
        in_float, quantized = (
            _gain.layer_times(
                file,
                like=prepared.float_model,
                inputs=batch,
                threads=self.profile.threads or machine.usable_cores(),
            ).by_layer
            for file in (prepared.float_model, whole)
        )
        known = [layer for layer in layers if layer in in_float and layer in quantized]
        return {layer: in_float[layer] - quantized[layer] for layer in known}, sum(in_float.values())

    def _held_out(self) -> list[_batches.Batch]:
        """Samples that calibrated nothing, as the model takes them; the calibration's own where there are no others."""
        held = self._drawn(_SAMPLES_FOR_SENSITIVITY, skip=self.settings.calibration)
        return list(held.batches()) or list(self.calibration.batches())

    def _timed(self) -> tuple[Interval | None, float, float]:
        """How many times faster the candidate is than the float model, and the p50 of both.

        Where the two are close they are timed again in several pairs of processes: where one happens to have its memory
        makes it faster or slower for as long as it lives.
        """
        for starts in (1, _STARTS):
            taken = time_models(
                {"float": self.float_file, "candidate": self.candidate},
                profile=self.profile,
                inputs=self.inputs,
                blocks=20,
                min_seconds=2.0,
                min_samples=200,
                starts=starts,
            )
            speedup = paired_speedup(taken["float"].blocks, taken["candidate"].blocks, starts=starts)
            if not self.is_for_here or speedup.low >= _CLOSE or speedup.high <= 1 / _CLOSE:
                break
        p50_ms, float_p50_ms = (float(np.median(taken[name].samples_ms)) for name in ("candidate", "float"))
        return speedup, p50_ms, float_p50_ms

    @cached_property
    def inputs(self) -> Path:
        """Real samples for timing."""
        file = self.scratch / "inputs.npz"
        np.savez(file, allow_pickle=False, **sizes.for_timing(self.dataset.train, most=_INPUTS_KEPT))
        return file

    def _what_judged_the_drop(self, *, of_decisions: bool) -> Decision:
        """How many samples, and what that number can tell of a metric that is the share of samples told right."""
        number, limit = len(self.checked), self.settings.max_drop
        what = "validation samples" if self.dataset.val is not None else "training samples that calibrated nothing"
        reason = f"{self.task.primary} is no share of samples told right, of which their number says what can be told"
        if of_decisions:
            reason = detectable.told(number, points=limit)
        decision = Decision("drop judged on", f"{number:,} {what}", reason)
        self.decisions.append(decision)
        least = detectable.smallest_drop(number)
        if of_decisions and limit is not None and (least is None or least > limit):
            console.note(f"quantize  {decision}")
        return decision

    def _verdict(self, *, drop: float, speedup: Interval | None) -> tuple[bool, str]:
        """Whether the candidate is shipped, and why."""
        size = self._times_smaller
        told = f"{_smaller(size)}, {self.task.primary} {_change(self._metric, -drop)} on {len(self.checked)} samples"
        limit = self.settings.max_drop
        if not self.settings.mixed:
            how = _times(speedup) if self.is_for_here else f"made for {self.cpu.name}"
            return True, f"all that can be quantized, as asked: {how}, {told}"
        if limit is not None and drop > limit + self._half_a_sample:
            return False, f"no choice of layers that was tried keeps to max_drop = {limit:g} ({told})"
        ruined = self._metric.is_share and drop > ruin.POINTS + self._half_a_sample
        if limit is None and self.is_for_here and ruined:
            more = f"it costs more than {ruin.POINTS:g} points"
            return False, f"{more}, state --max-drop to look for a better one ({told})"
        if self.layers and all(layer["float"] for layer in self.layers):
            return False, "every layer went back to float, so this is the float model as it was"
        if not self.is_for_here:
            return True, f"made for {self.cpu.name}; speed there is for bench to measure there ({told})"
        assert speedup is not None
        method, how = self.settings.method, _times(speedup)
        match worth(speedup, times_smaller=size):
            case "speed":
                return True, f"{how}, {told}"
            case "size":
                return True, f"kept for its size, no gain in speed was shown: {how}, {told}"
            case "nothing":
                return False, f"{method} is neither faster nor smaller: {how}"
            case slower:
                return False, f"{method} {slower} here: {how} ({told}); --all keeps it anyway"

    @property
    def _times_smaller(self) -> float:
        return self.runtime.file_size(self.float_file) / self.candidate.stat().st_size

    def _kept_for(self, *, ships: bool, speedup: Interval | None) -> str | None:
        """What the candidate ships for: its speed, its size alone, or neither that was shown here."""
        if not ships or speedup is None or not self.is_for_here:
            return None
        found = worth(speedup, times_smaller=self._times_smaller)
        return found if found in ("speed", "size") else None

    def _budgets(self, *, ships: bool, drop: float, p50_ms: float) -> list[dict[str, Any]]:
        """What was stated, and whether it was kept.

        The drop is that of what ships, none for the float model; where that stands in because no choice of layers keeps to
        the budget, the budget is missed all the same. Milliseconds of another CPU are not known here.
        """
        found = []
        limit = self.settings.max_drop
        if limit is not None:
            kept = drop <= limit + self._half_a_sample
            unit = "points" if self._metric.is_share else self._metric.unit
            found.append(_budget("max_drop", limit, drop if ships else 0.0, unit, met=kept))
        limit = self.settings.max_latency_ms
        if limit is not None:
            known = p50_ms if self.is_for_here else None
            found.append(_budget("max_latency_ms", limit, known, "ms", met=known is not None and known <= limit))
        return found

    def _told(self, *, drop: float, speedup: Interval | None, p50_ms: float, float_p50_ms: float) -> dict[str, Any]:
        here = machine.describe()
        return {
            "method": self.settings.method,
            "target": asdict(self.cpu),
            "checked_on_isa": here["isa"],
            "checked_on_cpu": here["cpu"],
            "calibration_samples": len(self.calibration),
            "drop_points": drop,
            "float_metric": self.float_metric,
            "speedup": asdict(speedup) if speedup else None,
            "p50_ms": p50_ms,
            "float_p50_ms": float_p50_ms,
            "profile": self.settings.profile,
            "size_bytes": self.candidate.stat().st_size,
            "float_size_bytes": self.runtime.file_size(self.float_file),
            "layers": self.layers,
            "steps": [asdict(step) for step in self.search.steps] if self.search else [],
        }

    def _explain_search(self, found: Found) -> None:
        reverted = [step for step in found.steps if step.kept and step.reverted]
        for step in reverted:
            names = console.first_few(step.reverted, 4)
            self.decisions.append(Decision("left in float", f"{len(step.reverted)}: {names}", step.why))
        if not reverted:
            self.decisions.append(Decision("left in float", "none", f"{len(self.layers)} layers quantized"))

    def _parity(self, file: Path) -> parity.ParityReport:
        runtime = OrtCpu()
        runtime.load(file)
        try:
            return parity.between(self.runtime, runtime, self.checked, task=self.task, judged=True)
        finally:
            runtime.close()

    def _metric_of(self, file: Path) -> float:
        runtime = OrtCpu()
        runtime.load(file)
        try:
            return self.task.metrics(judge(self.task, runtime, self.checked))[self.task.primary]
        finally:
            runtime.close()

    def _judged(self, file: Path, samples: Samples) -> Mapping[str, Any]:
        runtime = OrtCpu()
        runtime.load(file)
        try:
            return evaluate(self.task, judge(self.task, runtime, samples), classes=self.dataset.classes)
        finally:
            runtime.close()

    def _describe(self, file: Path) -> None:
        """Classes and input contract as in the float model, and what was done to it."""
        self._take_metadata(file)
        model = onnx.load(file)
        entry = model.metadata_props.add()
        entry.key = "compress.quantization"
        entry.value = json.dumps({"method": self.settings.method, "target": self.cpu.name})
        onnx.save(model, file)

    def _take_metadata(self, file: Path) -> None:
        model = onnx.load(file)
        copy_metadata(onnx.load(self.float_file, load_external_data=False), model)
        onnx.save(model, file)

    def _folder(self, name: str) -> Path:
        folder = self.scratch / name
        folder.mkdir(exist_ok=True)
        return folder


def worth(
    speedup: Interval, *, times_smaller: float
) -> Literal["speed", "size", "nothing", "may be slower", "is slower"]:
    """What a quantized model is worth beside the float model, or why it is not worth shipping.

    Its speed, where the whole interval says that it is no slower. Its size, where it is smaller, the interval holds 1 and
    at worst a little of the speed is lost.
    """
    if speedup.low >= 1.0:
        return "speed"
    if speedup.high < 1.0:
        return "is slower"
    if times_smaller < _SMALLER:
        return "nothing"
    return "size" if speedup.low >= 1 - _MAY_LOSE else "may be slower"


class _Variants:
    """Variants of a calibrated model, written and measured when the search asks for them."""

    def __init__(self, job: _Quantizing, prepared: Prepared) -> None:
        self._job = job
        self._prepared = prepared

    def metric(self, keep_float: frozenset[str]) -> float:
        """The task's metric on validation."""
        return self._job._as_more_is_better(self._job._metric_of(self._written(keep_float, "variant")))

    def faster(self, before: frozenset[str], after: frozenset[str]) -> Interval:
        """How many times faster the second variant is than the first."""
        files = {"before": self._written(before, "before"), "after": self._written(after, "after")}
        taken = time_models(files, profile=self._job.profile, inputs=self._job.inputs)
        return paired_speedup(taken["before"].blocks, taken["after"].blocks)

    def _written(self, keep_float: frozenset[str], name: str) -> Path:
        file = self._job._folder("variants") / f"{name}.onnx"
        self._prepared.write(file, keep_float=keep_float)
        return file


def _budget(budget: str, limit: float, value: float | None, unit: str, *, met: bool) -> dict[str, Any]:
    return {"budget": budget, "limit": limit, "value": value, "unit": unit, "met": met}


def _times(speedup: Interval | None) -> str:
    return "not timed" if speedup is None else f"{speedup.ratio:.2f}× ({speedup.low:.2f}–{speedup.high:.2f}) the speed"


def _smaller(ratio: float) -> str:
    return f"{ratio:.2f} times smaller" if ratio >= 1 else f"{1 / ratio:.2f} times larger"


def _change(metric: Metric, change: float) -> str:
    if not metric.is_share:
        return f"{change:+.3g} {metric.unit}".rstrip()
    return f"{round(change, 2) + 0.0:+.2f} points"  # 0.0 added to −0.0 is 0.0
