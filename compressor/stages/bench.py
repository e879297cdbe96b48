"""Measure candidates against the teacher, on the runtimes that will run them: accuracy, latency, memory, size.

Every model is timed in a process of its own, pinned to its cores. Models under the same runtime and profile alternate in
blocks, and the speed-up is the median of their paired ratios, so a machine that drifts cannot fake a result.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import artifact, console, plain_json, registry
from compressor.artifact import Artifact, Target
from compressor.data.loader import tried
from compressor.data.samples import Dataset
from compressor.data.token_samples import texts_of
from compressor.errors import MeasurementError
from compressor.inputs._contract import kind_of
from compressor.measure import machine, record, sizes, timings
from compressor.measure.accuracy import Together, evaluate, judge_together, one_input, outputs_of, paired
from compressor.measure.contest import Entry, Outcome, hold, operator_times, threads_of
from compressor.models import checkpoint, inspection
from compressor.recipe import BenchSettings, ProfileSettings, RuntimeSettings
from compressor.runtimes._contract import Runtime
from compressor.scores import Metric, Wording
from compressor.tasks._contract import PicturedTask, Task
from compressor.tensors import MEMBERS, Inputs
from compressor.training.start import require_same_classes

_INPUTS_KEPT = 64
_MOST_CLASSES_IN_A_MATRIX = 200
_MOST_PICTURED = 8  # of those with a mask, which take more of the report
_MOST_LETTERS = 300  # of a text where the candidate is worse
_MOST_SHOWN = 24  # samples on which the student is worse
_CURVE_SHARE = 0.2  # of the time that a point of a curve gets beside a timing that is compared
_FEWEST_BLOCKS = 5
_Judged = dict[str, Together]
"""By runtime, what came of all candidates that have a form for it."""


@dataclass(frozen=True)
class Candidate:
    """A model to measure, in every form it exists in.

    Attributes:
        role: `teacher`, `control`, `student`, or a name of the user's.
        title: What tables call it.
        torch: Its network, if there is one.
        onnx: Its ONNX model (an artifact's folder or a file), if there is one.
        timed: Whether it is timed; a control has its student's architecture, so its accuracy is all that is new.
        why_no_onnx: Why there is no ONNX form of it, for the report.
    """

    role: str
    title: str
    torch: Artifact | None = None
    onnx: Path | None = None
    timed: bool = True
    why_no_onnx: str = "it was not exported"

    def form_for(self, runtime: str) -> Path | None:
        """What a runtime loads of this candidate."""
        if runtime.startswith("torch"):
            return self.torch.path if self.torch else None
        return self.onnx


@dataclass(frozen=True)
class TaughtElsewhere:
    """A teacher that is not among the candidates: a file of stored answers, say.

    Attributes:
        title: What it is called.
        metrics: Its own on the test split, where it is on record.
    """

    title: str
    metrics: Mapping[str, float]


def bench(
    candidates: Sequence[Candidate],
    settings: BenchSettings,
    *,
    base: str,
    dataset: Dataset,
    task: Task,
    target: Target,
    taught_by: TaughtElsewhere | None = None,
) -> Artifact:
    """Measure all candidates and keep every sample.

    Args:
        candidates: What is measured.
        settings: Runtimes, profiles, how long, budgets.
        base: Role that the others are compared with.
        dataset: Where inputs come from; accuracy is measured on its test set.
        task: What outputs mean.
        target: What to leave behind.
        taught_by: The teacher, where there is one that is not among the candidates: budgets are about no other.

    Raises:
        MeasurementError: A model fails under a runtime that it has a form for.
        ArtifactError: A model is not what was written.
    """
    started = time.perf_counter()
    for candidate in candidates:
        if candidate.torch is not None:
            require_same_classes(candidate.torch, dataset, what=candidate.title)
        if candidate.onnx is not None and artifact.is_artifact(candidate.onnx):
            artifact.read(candidate.onnx).verify()
    timed_at = sizes.timed(settings.shapes, dataset.test)
    runtimes, absent = _split_by_presence(settings)
    judged = _judge(candidates, runtimes, settings, base=base, dataset=dataset, task=task)
    sample = sizes.for_timing(dataset.test, timed_at[0], most=1)
    measured = [
        _measure(candidate, judged, base=base, dataset=dataset, task=task, sample=sample) for candidate in candidates
    ]
    shipped = _shipped(measured).role
    forms = {candidate.role: candidate for candidate in candidates}
    lost = _worst(judged, forms, settings, base=base, role=shipped, dataset=dataset, task=task)
    with artifact.folder_for(target.folder) as folder:
        inputs, stored = folder / "inputs.npz", folder / "stored"
        timing = _Timing(candidates, runtimes, settings, _timed_base(candidates, base), inputs, stored)
        for name in settings.profiles:
            for at in timed_at:
                np.savez(inputs, allow_pickle=False, **sizes.for_timing(dataset.test, at, most=_INPUTS_KEPT))
                timing.under(name, at)
                if settings.operators and name == settings.profiles[0] and at == timed_at[0]:
                    timing.by_operator(name, at)
        inputs.unlink()
        shutil.rmtree(stored, ignore_errors=True)
        before = _before(measured, base=base, taught_by=taught_by, metric=task.primary)
        judged_at = sizes.condition(settings.profiles[0], timed_at[0])
        budgets = _budgets(
            settings, measured, timing.timings, under=judged_at, before=before, metric=task.metric(task.primary)
        )
        results = record.Measurements(
            run=target.folder.parent.name,
            task=type(task).__name__.lower(),
            metric=task.primary,
            classes=dataset.classes,
            label_sets=MEMBERS in dataset.targets,
            of_numbers=dataset.of_numbers,
            wording=getattr(task, "wording", Wording()),
            units=_units(measured, task),
            base=base,
            candidates=tuple(measured),
            timings=tuple(timing.timings),
            curves=tuple(timing.curves),
            operators=tuple(timing.operators),
            interference=tuple(timing.interference),
            energy_source=timing.energy_source,
            worst=lost,
            budgets=tuple(budgets),
            missing=(
                *_missing(candidates, runtimes),
                *_unjudged(taught_by, task.primary),
                *absent,
                *_without_energy(timing),
            ),
        )
        (folder / "measurements.json").write_text(
            plain_json.text(record.measurements_json(results), indent=1), encoding="utf-8"
        )
        np.savez_compressed(folder / "samples.npz", allow_pickle=False, **timing.samples)
        if lost is not None and lost.pictures is not None:
            np.savez_compressed(folder / "pictures.npz", allow_pickle=False, worst=lost.pictures)
        manifest = replace(
            target.manifest("measurements"),
            data=dataset.describe(),
            metrics={"budgets_met": all(budget.met for budget in budgets)},
            machine=machine.describe(),
            elapsed_s=time.perf_counter() - started,
        )
        return artifact.seal(folder, target.folder, manifest)


def _units(measured: Sequence[record.Candidate], task: Task) -> tuple[Metric, ...]:
    """What each metric means that any candidate was judged by."""
    names = dict.fromkeys(name for candidate in measured for entry in candidate.accuracy for name in entry.metrics)
    return tuple(task.metric(name) for name in names)


def _timed_base(candidates: Sequence[Candidate], base: str) -> str:
    """The role that speed-ups are against: the base, or the first that is timed where the base (a control) is not."""
    timed = [candidate.role for candidate in candidates if candidate.timed]
    return base if base in timed or not timed else timed[0]


def _without_energy(timing: _Timing) -> list[record.Missing]:
    if timing.energy_source is not None or not timing.timings:
        return []
    return [record.Missing("energy", "this machine shows no counter of it (RAPL, or NVML with nvidia-ml-py)")]


def _runtime_names(settings: BenchSettings) -> tuple[str, ...]:
    """Every runtime that some profile measures under, in order."""
    names = list(settings.runtimes)
    for profile in settings.profiles:
        names += settings.runtimes_under(profile)
    return tuple(dict.fromkeys(names))


def _split_by_presence(settings: BenchSettings) -> tuple[tuple[str, ...], list[record.Missing]]:
    """The runtimes that are here, and for each of the others the line that installs it.

    Raises:
        MeasurementError: None is here.
    """
    here, absent = [], []
    for name in _runtime_names(settings):
        reason = _runtime(settings.runtime_named(name), threads=1).unavailable()
        if reason is None:
            here.append(name)
        else:
            absent.append(record.Missing(f"everything on {name}", reason))
    if not here:
        raise MeasurementError(f"no runtime is here: {absent[0].reason}", where="bench.runtimes")
    return tuple(here), absent


def _missing(candidates: Sequence[Candidate], runtimes: Sequence[str]) -> list[record.Missing]:
    found = []
    for candidate in candidates:
        for runtime in runtimes:
            if candidate.form_for(runtime) is None:
                why = "it has no network in PyTorch" if runtime.startswith("torch") else candidate.why_no_onnx
                found.append(record.Missing(f"{candidate.title} on {runtime}", why))
        if not candidate.timed:
            reason = "it has the student's architecture, so the student's latency is its own"
            found.append(record.Missing(f"latency of the {candidate.title.lower()}", reason))
    return found


def _runtime(named: RuntimeSettings, *, threads: int) -> Runtime:
    runtime: Runtime = registry.find("runtimes", named.name).load()(threads=threads, **named.options)
    return runtime


def _judge(
    candidates: Sequence[Candidate],
    runtimes: Sequence[str],
    settings: BenchSettings,
    *,
    base: str,
    dataset: Dataset,
    task: Task,
) -> _Judged:
    """All candidates on the whole test set, those of one runtime together, so that no outputs of the set are held."""
    found = {}
    for name in runtimes:
        models: dict[str, Runtime] = {}
        try:
            for candidate in candidates:
                form = candidate.form_for(name)
                if form is not None:
                    models[candidate.role] = runtime = _runtime(
                        settings.runtime_named(name), threads=machine.usable_cores()
                    )
                    runtime.load(form)
            if models:
                who = ", ".join(models)
                console.note(f"bench  {who} on {name}: accuracy on {len(dataset.test)} test samples")
                found[name] = judge_together(task, models, dataset.test, base=base)
        finally:
            for runtime in models.values():
                runtime.close()
    return found


def _measure(
    candidate: Candidate,
    judged: _Judged,
    *,
    base: str,
    dataset: Dataset,
    task: Task,
    sample: Mapping[str, NDArray[Any]],
) -> record.Candidate:
    """Everything about a candidate that is not time; `sample`: one of the size whose multiply-adds are counted."""
    accuracy = tuple(
        _accuracy(candidate.role, runtime, together, base=base, classes=dataset.classes, task=task)
        for runtime, together in judged.items()
        if candidate.role in together.findings
    )
    params, macs = _complexity(candidate, dataset.fixed_shape or tried(sample))
    return record.Candidate(candidate.role, candidate.title, params, macs, _sizes(candidate), accuracy)


def _accuracy(
    role: str, runtime: str, together: Together, *, base: str, classes: Sequence[str], task: Task
) -> record.Accuracy:
    """How well a candidate answers on one runtime, by itself, against the base and against the control."""
    findings, reference = together.findings[role], together.findings.get(base)
    shown = len(classes) <= _MOST_CLASSES_IN_A_MATRIX
    against: Mapping[str, Any] = {}
    if reference is not None and role != base and shown:
        against = task.against(reference, findings, num_classes=len(classes))
    others = [other for other in dict.fromkeys((base, "control")) if other != role and other in together.findings]
    tests = {other: paired(task, together.findings[other], findings) for other in others}
    return replace(
        record.accuracy(evaluate(task, findings, classes=classes), runtime=runtime),
        agreement_with_teacher=float(together.alike[role].mean()) if role in together.alike else None,
        confusion=_rows(task.confusion(findings, len(classes))) if shown else None,
        confusion_with_base=_rows(against.get("confusion")),
        sets_with_base=tuple(record.ToldOfClass(**each) for each in against.get("sets", ())),
        paired=tuple(record.Paired(other, **test) for other, test in tests.items() if test is not None),
    )


def _rows(counts_KK: NDArray[np.int64] | None) -> record.Matrix | None:
    return None if counts_KK is None else tuple(map(tuple, counts_KK.tolist()))


def _worst(
    judged: _Judged,
    candidates: Mapping[str, Candidate],
    settings: BenchSettings,
    *,
    base: str,
    role: str,
    dataset: Dataset,
    task: Task,
) -> record.Worst | None:
    """The samples on which the deployed candidate is worse than the base, and their pictures if they are pictures."""
    shared = [name for name, each in judged.items() if {base, role} <= each.findings.keys() and role != base]
    if not shared:
        return None
    runtime = next((name for name in shared if not name.startswith("torch")), shared[0])
    theirs = judged[runtime].findings
    most = _MOST_PICTURED if isinstance(task, PicturedTask) else _MOST_SHOWN
    found = task.worst(theirs[base], theirs[role], most=most)
    lost = record.Worst(role, base, runtime, tuple(_lost_sample(each) for each in found))
    positions = np.array([each.position for each in lost.samples], dtype=np.int64)
    texts = texts_of(dataset.test, positions)
    if texts is not None:
        read = (replace(each, text=_cut(text)) for each, text in zip(lost.samples, texts, strict=True))
        return replace(lost, samples=tuple(read))
    inputs = dataset.test.fetch(positions) if found else {}
    only = dataset.inputs.only
    pictures = kind_of(only).pictures(one_input(inputs)) if found and only is not None else None
    if pictures is None:
        return lost
    if isinstance(task, PicturedTask):
        targets = dataset.test.fetch_targets(positions)
        predicted = [_predicted(candidates[each], runtime, settings, inputs) for each in (base, role)]
        pictures = task.pictured(pictures, targets, *predicted)
    return replace(lost, pictures=pictures)


def _cut(text: str) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_LETTERS else line[: _MOST_LETTERS - 1].rstrip() + "…"


def _lost_sample(told: Mapping[str, Any]) -> record.WorstSample:
    """What a task says of a sample that was lost, as a record."""
    rows = {name: tuple(map(tuple, told[name])) for name in ("numbers",) if name in told}
    return record.WorstSample(**{**told, **rows, "miou": tuple(told.get("miou", ()))})


def _predicted(
    candidate: Candidate, name: str, settings: BenchSettings, inputs: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """What a candidate predicts for a few samples on a runtime that it has been judged on."""
    form = candidate.form_for(name)
    assert form is not None, "it has been judged there"
    runtime = _runtime(settings.runtime_named(name), threads=machine.usable_cores())
    try:
        runtime.load(form)
        return outputs_of(runtime, inputs)
    finally:
        runtime.close()


def _complexity(candidate: Candidate, sample: tuple[int, ...] | Inputs) -> tuple[int | None, int | None]:
    if candidate.torch is not None:
        network = checkpoint.load(candidate.torch).network
        return inspection.count_parameters(network), inspection.count_macs(network.module, sample)
    if candidate.onnx is not None:
        facts = inspection.inspect_onnx(_onnx_file(candidate.onnx))
        return facts.parameters, facts.macs
    return None, None


def _sizes(candidate: Candidate) -> dict[str, int]:
    sizes = {}
    if candidate.torch is not None:
        sizes["torch"] = _runtime(RuntimeSettings(name="torch"), threads=1).file_size(candidate.torch.path)
    if candidate.onnx is not None:
        sizes["onnx"] = _runtime(RuntimeSettings(name="ort_cpu"), threads=1).file_size(candidate.onnx)
    return sizes


def _onnx_file(form: Path) -> Path:
    return form / "model.onnx" if form.is_dir() else form


@dataclass
class _Timing:
    """The timed part of a bench: what is timed, and what came of it so far."""

    candidates: Sequence[Candidate]
    runtimes: Sequence[str]
    settings: BenchSettings
    base: str
    inputs: Path
    stored: Path
    timings: list[record.Timing] = field(default_factory=list)
    curves: list[record.CurvePoint] = field(default_factory=list)
    operators: list[record.OperatorTimes] = field(default_factory=list)
    interference: list[record.Interference] = field(default_factory=list)
    samples: dict[str, NDArray[Any]] = field(default_factory=dict)
    energy_source: str | None = None

    def under(self, name: str, at: Mapping[str, int]) -> None:
        """Time every model under one profile, on the inputs that lie there, which have these sizes."""
        profile = self.settings.profile_named(name)
        entries = self._entries(name)
        if not entries:
            return
        name = sizes.condition(name, at)
        how = f"alternating in {self.settings.blocks} blocks, started {self.settings.starts} times"
        console.note(f"bench  {name}: {len(entries)} models, {how}")
        outcome = self._hold(entries, profile)
        seen = outcome.interference
        if outcome.energy_source is not None and outcome.energy_source not in (self.energy_source or ""):
            self.energy_source = ", ".join(filter(None, (self.energy_source, outcome.energy_source)))
        self.interference.append(record.Interference(name, **asdict(seen), calm=seen.calm))
        if not seen.calm:
            console.note(
                f"bench  {name}: restless: the blocks differ by {seen.spread:.0%} after {seen.attempts} attempts"
                + ("" if seen.other_load is None else f"; other work took {seen.other_load:.0%} of the cores")
            )
        taken = {each: outcome.models[_title(each)].timing.blocks for each in entries}
        for (role, runtime), found in ((each, outcome.models[_title(each)]) for each in entries):
            key = f"{runtime}.{name}.{role}"
            blocks = found.timing.blocks
            self.samples[key] = found.timing.samples_ms
            self.samples[f"{key}.block"] = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
            place = timings.Place(role, runtime, name, at)
            self.timings.append(timings.timing(place, found, profile, taken=taken, base=self.base))
        self._curve(name, at, profile, entries)

    def by_operator(self, name: str, at: Mapping[str, int]) -> None:
        """Where each model spends its time under one profile, on inputs of these sizes."""
        profile = self.settings.profile_named(name)
        for (role, runtime), entry in self._entries(name).items():
            times = operator_times(entry, profile=profile, inputs=self.inputs)
            if times:
                listed = tuple(record.Operator(**asdict(each)) for each in times)
                self.operators.append(record.OperatorTimes(role, runtime, sizes.condition(name, at), listed))

    def _curve(
        self,
        name: str,
        sizes_there: Mapping[str, int],
        profile: ProfileSettings,
        entries: Mapping[tuple[str, str], Entry],
    ) -> None:
        """Throughput and latency of what is deployed, for each number of threads and each batch."""
        deployed = {each: entry for each, entry in entries.items() if not each[1].startswith("torch")} or entries
        threads = dict.fromkeys(
            threads_of(profile.model_copy(update={"threads": number})) for number in profile.curve_threads
        )
        for number in threads if profile.curve_batches else ():
            for batch in profile.curve_batches:
                console.note(f"bench  {name}: {number} threads, batch {batch}")
                at = profile.model_copy(update={"threads": number, "batch": batch})
                outcome = self._hold(deployed, at, share=_CURVE_SHARE)
                for role, runtime in deployed:
                    place = timings.Place(role, runtime, name, sizes_there)
                    self.curves.append(timings.curve_point(place, outcome.models[_title((role, runtime))], at))

    def _entries(self, profile: str) -> dict[tuple[str, str], Entry]:
        found = {}
        for name in (each for each in self.settings.runtimes_under(profile) if each in self.runtimes):
            named = self.settings.runtime_named(name)
            for candidate in self.candidates:
                form = candidate.form_for(name)
                if form is not None and candidate.timed:
                    place = self._stored(form, named, of=candidate.role)
                    found[candidate.role, name] = Entry(place, named.name, named.options)
        return found

    def _stored(self, form: Path, named: RuntimeSettings, *, of: str) -> Path:
        """What a runtime loads of a model: a file of its own format is made once, before anything is timed."""
        store = getattr(_runtime(named, threads=1), "stored", None)
        if store is None:
            return form
        folder = self.stored / f"{of}.{named.name}"
        made = next(iter(folder.glob("*")), None) if folder.is_dir() else None
        if made is None:
            folder.mkdir(parents=True)
            made = store(form, folder)
        return made

    def _hold(
        self, entries: Mapping[tuple[str, str], Entry], profile: ProfileSettings, *, share: float = 1.0
    ) -> Outcome:
        return hold(
            {_title(each): entry for each, entry in entries.items()},
            profile=profile,
            inputs=self.inputs,
            blocks=self.settings.blocks if share == 1.0 else _FEWEST_BLOCKS,
            min_seconds=self.settings.min_seconds * share,
            min_samples=max(1, round(self.settings.min_samples * share)),
            attempts=self.settings.attempts if share == 1.0 else 1,
            starts=self.settings.starts if share == 1.0 else 1,
            max_warm_seconds=10.0 * share,
        )


def _title(each: tuple[str, str]) -> str:
    return f"{each[0]} on {each[1]}"


def _budgets(
    settings: BenchSettings,
    measured: Sequence[record.Candidate],
    timed: Sequence[record.Timing],
    *,
    under: str,
    before: float | None,
    metric: Metric,
) -> list[record.Budget]:
    """What the user will accept, against what the deployed student gives.

    Args:
        settings: What the user will accept.
        measured: All candidates.
        timed: All timings.
        under: The conditions that the latency is judged under.
        before: The metric that a drop is from.
        metric: What that number means.
    """
    student = _shipped(measured)
    found: list[record.Budget] = []

    def judge(budget: str, limit: float | None, value: float | None, unit: str) -> None:
        if limit is not None:
            met = value is not None and value <= limit
            found.append(record.Budget(budget, limit, value, unit, met))

    drop = None
    if before is not None and student.accuracy:
        drop = metric.drop(before, _deployed(student).metrics[metric.name])
    judge("max_drop", settings.max_drop, drop, "points" if metric.is_share else metric.unit)
    deployed = [t for t in timed if t.role == student.role and _runs_the_file(t.runtime) and t.profile == under]
    judge("max_latency_ms", settings.max_latency_ms, deployed[0].p50_ms if deployed else None, "ms")
    size = student.size_bytes.get("onnx")
    judge("max_size_mb", settings.max_size_mb, None if size is None else size / 1e6, "MB")
    return found


def _before(
    measured: Sequence[record.Candidate], *, base: str, taught_by: TaughtElsewhere | None, metric: str
) -> float | None:
    """The metric of what the student is to keep up with: its teacher, or the base where it had none."""
    if taught_by is not None:
        return taught_by.metrics.get(metric)
    found = next((m for m in measured if m.role == base), None)
    if found is None or found is _shipped(measured) or not found.accuracy:
        return None
    return float(_deployed(found).metrics[metric])


def _shipped(measured: Sequence[record.Candidate]) -> record.Candidate:
    return next((m for m in measured if m.role == "student"), measured[-1])


def _unjudged(taught_by: TaughtElsewhere | None, metric: str) -> list[record.Missing]:
    if taught_by is None or metric in taught_by.metrics:
        return []
    reason = f"{taught_by.title} is not there to be measured, and its answers to the test split are not on record"
    return [record.Missing("accuracy of the teacher", reason)]


def _deployed(candidate: record.Candidate) -> record.Accuracy:
    """The accuracy entry of the form that will be deployed: the first of the exported file, if there is one."""
    entries = candidate.accuracy
    return next((entry for entry in entries if _runs_the_file(entry.runtime)), entries[0])


def _runs_the_file(runtime: str) -> bool:
    """Whether a runtime runs the exported file, rather than the network in PyTorch."""
    return not runtime.startswith("torch")
