"""What was measured, as records: what `bench` writes, what a pack writes on a device, and what a report reads of both.

`measurements.json` and `device.json` are these records as plain JSON (`plain_records`), the fields in this order after the
number of the form. Accuracies,
agreements and their intervals are shares in 0–1 unless a metric says another unit; latencies are milliseconds, sizes bytes,
memory 10^6 bytes. Needs the standard library alone, since packs carry it.

Not covered: single latencies and pictures, which lie beside the JSON in archives of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from compressor.plain_records import as_json, described
from compressor.scores import OF_NUMBERS, OF_SETS, Metric, Wording

MEASUREMENTS = 2
"""The form of `measurements.json`; earlier ones are read as well."""
DEVICE = 1
"""The form of `device.json`."""
LEVEL = 0.05
"""From this probability on, chance alone could have done it."""

_NO_SHARES = ("loss", "r2", "mae", "rmse")
"""Metrics that were no shares when measurements did not say it."""

Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Speedup:
    """How many times faster than `against` (a role), with the 95 % interval of the paired measurement.

    An interval is about what the next start would give: `low` and `high` are None where there was one start.
    """

    ratio: float = field(metadata=described(positive=True))
    low: float | None
    high: float | None
    against: str

    @property
    def conclusive(self) -> bool:
        """Whether there is an interval, and it leaves 1× out."""
        return self.low is not None and self.high is not None and (self.low > 1 or self.high < 1)


@dataclass(frozen=True)
class ClassScore:
    """Accuracy on the samples of one class; `None` when the split holds none.

    Attributes:
        samples: Of the class; pixels where there is a class for each pixel.
        iou: Intersection over union of its pixels; None where there is no class for each pixel.
        mae: Mean absolute error, where the class is a number; None otherwise.
    """

    name: str
    samples: int
    accuracy: float | None
    iou: float | None = field(default=None, metadata=described(absent=lambda made: made.iou is None))
    mae: float | None = field(default=None, metadata=described(absent=lambda made: made.mae is None))

    @property
    def score(self) -> float | None:
        """What the class is judged by: IoU where there is a class for each pixel."""
        return self.accuracy if self.iou is None else self.iou


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples whose answers have a confidence in (low, high]: their mean confidence, and the share that is right."""

    low: float
    high: float
    samples: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Paired:
    """Two models on the same samples, beside the candidate in role `against`.

    Where a metric follows from sums over samples and none is right or wrong as a whole, samples were drawn again.

    Attributes:
        against: The other candidate's role.
        base_only: Samples that it alone answers rightly.
        other_only: Samples that this one alone answers rightly.
        difference: This one's share of right answers minus its; or of the metric, where samples were drawn again.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        p_value: McNemar's exact test, or the bootstrap's: how often chance alone would do this.
        resamples: How often samples were drawn again; 0 where right answers were counted.
    """

    against: str
    base_only: int = field(default=0, metadata=described(absent=lambda made: made.resamples > 0))
    other_only: int = field(default=0, metadata=described(absent=lambda made: made.resamples > 0))
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0
    p_value: float = 1.0
    resamples: int = field(default=0, metadata=described(absent=lambda made: made.resamples == 0))

    @property
    def real(self) -> bool:
        """Whether the difference is more than chance would do, at 5 %."""
        return self.p_value < LEVEL


@dataclass(frozen=True)
class Majority:
    """A model beside the constant answer that is right most often; see `measure.majority`.

    Attributes:
        metric: Share of samples for which the constant is right.
        answer: The constant: a class, a set of classes, or `the mean of the targets`.
        constant_only: Samples that it alone answers rightly.
        model_only: Samples that the model alone answers rightly.
        p_value: How often a model that is no better would do as well: McNemar's exact test, one-sided, and for
            sets of classes and for numbers a finer look beside it.
    """

    metric: float
    answer: str
    constant_only: int
    model_only: int
    p_value: float

    @property
    def beaten(self) -> bool:
        """Whether the model is shown to be better, at 5 %."""
        return self.p_value < LEVEL


@dataclass(frozen=True)
class ToldOfClass:
    """How many samples are told to have a class: by both, by the base alone, by this one alone."""

    both: int
    base_alone: int
    this_alone: int


def _without_tables(made: Accuracy) -> bool:
    """Whether answers were not counted against one another, as on a device, which writes no tables of them."""
    return made.confusion == ()


@dataclass(frozen=True)
class Accuracy:
    """What one candidate answers on one runtime.

    Attributes:
        metrics: By name; what could not be computed is NaN, and not there where it was read.
        primary: The name of the one that counts; empty where older measurements do not say.
        metric: What that one means; None likewise.
        interval: 95 % interval of the metric that counts.
        majority: The best constant answer; None where older measurements hold none, or nothing could beat it.
        tolerance: Where numbers are told: how near each must come to its target to be right, by name; empty otherwise.
        confusion: Counts `[true, answered]`; None for very many classes, empty where nobody counted.
        confusion_with_base: Counts `[the base answered, this one answered]`; None where answers are sets of classes.
        sets_with_base: Where they are: for each class, how often both told it, and either alone.
    """

    runtime: str
    split: str
    samples: int
    metrics: Mapping[str, float]
    primary: str = ""
    metric: Metric | None = None
    interval: tuple[float, float] | None = None
    majority: Majority | None = None
    per_class: tuple[ClassScore, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    tolerance: Mapping[str, float] = field(
        default_factory=dict, metadata=described(absent=lambda made: not made.tolerance)
    )
    agreement_with_teacher: float | None = None
    confusion: Matrix | None = field(default=(), metadata=described(absent=_without_tables))
    confusion_with_base: Matrix | None = field(default=None, metadata=described(absent=_without_tables))
    sets_with_base: tuple[ToldOfClass, ...] = field(default=(), metadata=described(absent=_without_tables))
    paired: tuple[Paired, ...] = ()

    @property
    def half_width(self) -> float | None:
        """Half of the interval's width; None when there is no interval."""
        return (self.interval[1] - self.interval[0]) / 2 if self.interval else None

    def paired_with(self, role: str) -> Paired | None:
        """The paired test against a role, if it was made."""
        return next((entry for entry in self.paired if entry.against == role), None)


@dataclass(frozen=True)
class Candidate:
    """One measured network."""

    role: str
    title: str
    params: int | None
    macs: int | None
    size_bytes: Mapping[str, int]
    accuracy: tuple[Accuracy, ...]

    def accuracy_on(self, runtime: str) -> Accuracy | None:
        """The accuracy on `runtime`, if it was measured there."""
        return next((entry for entry in self.accuracy if entry.runtime == runtime), None)


@dataclass(frozen=True)
class CurvePoint:
    """Throughput and latency of one candidate with so many threads and so large a batch.

    Attributes:
        profile: The conditions: a profile's name, and the sizes where an axis varies (`edge at 16 tokens`).
        sizes: Of each axis that varies, by its name; empty where none does.
        samples: How many inferences were timed.
        p50_interval: 95 % interval of the p50, between starts; None of a single one.
        p90_interval: 95 % interval of the p90, likewise.
        p99_ms: `None` from fewer than 1 000 samples.
    """

    role: str
    runtime: str
    profile: str
    sizes: Mapping[str, int] = field(metadata=described(older=dict, absent=lambda made: not made.sizes))
    threads: int
    batch: int
    samples: int
    mean_ms: float = field(metadata=described(positive=True))
    std_ms: float | None = field(metadata=described(older=lambda: None))
    p50_ms: float = field(metadata=described(positive=True))
    p50_interval: tuple[float, float] | None = field(metadata=described(older=lambda: None))
    p90_ms: float = field(metadata=described(positive=True))
    p90_interval: tuple[float, float] | None = field(metadata=described(older=lambda: None))
    p95_ms: float | None = field(metadata=described(older=lambda: None))
    p99_ms: float | None
    throughput_per_s: float = field(metadata=described(positive=True))


@dataclass(frozen=True)
class Timing(CurvePoint):
    """The latency of one candidate on one runtime under one profile.

    Attributes:
        memory_mb: What the process occupies after the last inference.
        library_memory_mb: What it occupied before the model was loaded.
        millijoules: Energy of one inference, of the whole package, where the machine counts it.
        describe: What the runtime says about itself (provider, threads, version).
        steady: Whether the warm-up settled before the clock started.
        spread: How far the medians of the blocks lie apart, as a share of their median.
        starts: How often its process was started; the blocks are shared out among the starts.
        speedup: Against the base on the same runtime.
        speedup_against_teacher_torch: Against the teacher in PyTorch.
        samples_ms: Every sample, in order; empty when the file holds none.
        blocks: The alternating block of each sample.
    """

    load_ms: float | None
    first_ms: float | None
    peak_memory_mb: float | None
    memory_mb: float | None = field(metadata=described(older=lambda: None))
    library_memory_mb: float | None = field(metadata=described(older=lambda: None))
    millijoules: float | None = field(metadata=described(older=lambda: None))
    describe: Mapping[str, Any] = field(metadata=described(older=dict))
    steady: bool = field(metadata=described(older=lambda: True))
    spread: float | None = field(metadata=described(older=lambda: None))
    starts: int = field(metadata=described(older=lambda: 1))
    speedup: Speedup | None = None
    speedup_against_teacher_torch: Speedup | None = None
    samples_ms: tuple[float, ...] = field(default=(), repr=False, metadata=described(kept_apart=True))
    blocks: tuple[int, ...] = field(default=(), repr=False, metadata=described(kept_apart=True))

    @staticmethod
    def renewed(raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Without the intervals that older measurements hold of a single start, within which they do not say much."""
        starts = raw.get("starts", 1)
        if not isinstance(starts, int) or starts > 1:
            return raw
        told = {**raw, "p50_interval": None, "p90_interval": None}
        for name in ("speedup", "speedup_against_teacher_torch"):
            if isinstance(told.get(name), dict):
                told[name] = {**told[name], "low": None, "high": None}
        return told


@dataclass(frozen=True)
class Operator:
    """One operator of a model, what ran it, and its milliseconds within an inference."""

    name: str
    op: str
    provider: str
    ms: float


@dataclass(frozen=True)
class OperatorTimes:
    """Where one candidate spends its time on one runtime."""

    role: str
    runtime: str
    profile: str
    operators: tuple[Operator, ...]

    @property
    def total_ms(self) -> float:
        """All operators together."""
        return sum(operator.ms for operator in self.operators)


@dataclass(frozen=True)
class Interference:
    """What disturbed the timings of a profile; see `measure.interference.Interference`."""

    profile: str
    spread: float
    other_load: float | None
    stolen: float | None
    frequency_mhz: tuple[float, float] | None
    attempts: int = field(metadata=described(older=lambda: 1))
    calm: bool


@dataclass(frozen=True)
class WorstSample:
    """A sample that the base answers rightly and the candidate does not; class numbers and probabilities in 0–1.

    Attributes:
        numbers: Where numbers are told: the targets, the base's answer and the candidate's; empty otherwise.
        miou: Where there is a class for each pixel: the base's mIoU in this image and the candidate's; empty otherwise.
        text: What it was written as, where samples are texts, cut short; empty otherwise.
    """

    position: int
    label: int
    base: int
    base_probability: float
    answer: int
    probability: float
    numbers: tuple[tuple[float, ...], ...] = field(default=(), metadata=described(absent=lambda made: not made.numbers))
    miou: tuple[float, ...] = field(default=(), metadata=described(absent=lambda made: not made.miou))
    text: str = field(default="", metadata=described(absent=lambda made: not made.text))


@dataclass(frozen=True)
class Worst:
    """Where a candidate is worse than the base, the surest of its errors first.

    Attributes:
        pictures: `[C, H, W]` of bytes for each sample, when they are pictures.
    """

    role: str
    against: str
    runtime: str
    samples: tuple[WorstSample, ...]
    pictures: Any = field(default=None, repr=False, metadata=described(kept_apart=True))


@dataclass(frozen=True)
class Budget:
    """One limit that the user stated, and what was measured; what could not be measured is missed, with no value."""

    budget: str
    limit: float
    value: float | None
    unit: str
    met: bool

    @staticmethod
    def renewed(raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Missed where nothing was measured, whatever the file says."""
        return raw if raw.get("value") is not None else {**raw, "value": None, "met": False}


@dataclass(frozen=True)
class Missing:
    """Something a reader would look for that is not here, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Measurements:
    """All that `bench` found out: the content of `measurements.json`.

    Attributes:
        metric: The name of the one that counts.
        label_sets: Whether a label is a set of classes, written as one number.
        of_numbers: Whether the task tells numbers; `classes` are then their names, and "right" is within the tolerance.
        wording: What the task's results are called.
        units: What each of the task's metrics means; empty where older measurements do not say.
        base: Role that the others are compared with.
        energy_source: What counted the energy; None where nothing did.
    """

    run: str
    task: str
    metric: str
    classes: tuple[str, ...]
    label_sets: bool = field(metadata=described(older=lambda: False))
    of_numbers: bool = field(metadata=described(older=lambda: False))
    wording: Wording
    units: tuple[Metric, ...] = field(metadata=described(older=tuple))
    base: str
    candidates: tuple[Candidate, ...]
    timings: tuple[Timing, ...]
    curves: tuple[CurvePoint, ...] = ()
    operators: tuple[OperatorTimes, ...] = ()
    interference: tuple[Interference, ...] = ()
    energy_source: str | None = None
    worst: Worst | None = None
    budgets: tuple[Budget, ...] = ()
    missing: tuple[Missing, ...] = ()

    @staticmethod
    def renewed(raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """With the words of the tasks that there were when measurements did not say."""
        if "wording" in raw:
            return raw
        words = OF_NUMBERS if raw.get("of_numbers") else OF_SETS if raw.get("label_sets") else Wording()
        return {**raw, "wording": asdict(words)}

    @property
    def primary(self) -> Metric:
        """What the metric that counts means."""
        return self.meaning(self.metric)

    def meaning(self, name: str) -> Metric:
        """What a metric means: as the task says, or as all tasks had it when measurements did not say."""
        judged = (entry.metric for candidate in self.candidates for entry in candidate.accuracy)
        told = (each for each in (*self.units, *judged) if each is not None and each.name == name)
        return next(told, Metric(name, "", larger_is_better=name == "r2") if name in _NO_SHARES else Metric(name))


@dataclass(frozen=True)
class Device:
    """What a pack measured on another machine: the content of `device.json`.

    Attributes:
        name: What the user calls it.
        run: Whose models were packed.
        pack: The key of the pack.
        machine: As `measure.machine.describe` gives it there.
        models: The SHA-256 of each model, by role.
        timings: Roles, runtimes and profiles as in the run.
        accuracy: By role, on the samples that were carried there.
        parity: By role: how its answers there differ from those here (`measure.parity.ParityReport`).
    """

    name: str
    run: str = field(metadata=described(older=str))
    pack: str = field(metadata=described(older=str))
    created: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    models: Mapping[str, str]
    timings: tuple[Timing, ...]
    interference: tuple[Interference, ...] = field(metadata=described(older=tuple))
    accuracy: Mapping[str, Accuracy]
    parity: Mapping[str, Mapping[str, Any]]

    def check(self) -> None:
        """Look at what a summary says of the device: it can be said of every timing.

        Raises:
            ValueError: It cannot.
        """
        for name in ("cpu", "architecture"):
            _require(isinstance(self.machine.get(name), str), f"machine.{name} is {self.machine.get(name)!r}, not text")
        features = self.machine.get("isa")
        _require(isinstance(features, list), f"machine.isa is {features!r}, not a list")
        for each in features or ():
            _require(isinstance(each, str), f"machine.isa is {each!r}, not text")
        for role, near in self.parity.items():
            share = near.get("agreement")
            of_kind = isinstance(share, (int, float)) and not isinstance(share, bool)
            _require(of_kind, f"parity.{role}.agreement is {share!r}, not a number")
        for timing in self.timings:
            _require(timing.role in self.accuracy, f"accuracy lacks '{timing.role}'")
            _require(timing.role in self.parity, f"parity lacks '{timing.role}'")
            judged = self.accuracy[timing.role]
            _require(judged.primary in judged.metrics, f"accuracy.{timing.role}.metrics lacks '{judged.primary}'")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def measurements_json(found: Measurements) -> dict[str, Any]:
    """The content of `measurements.json`."""
    return {"schema": MEASUREMENTS, **as_json(found)}


def device_json(found: Device) -> dict[str, Any]:
    """The content of `device.json`, without its checksum."""
    return {"schema": DEVICE, **as_json(found)}


def accuracy(found: Mapping[str, Any], *, runtime: str) -> Accuracy:
    """What `measure.accuracy.evaluate` gives of the test set on a runtime, as a record."""
    beside = found["majority"]
    return Accuracy(
        runtime=runtime,
        split="test",
        samples=found["samples"],
        metrics=found["metrics"],
        primary=found["primary"],
        metric=Metric.from_json(found["metric"]),
        interval=None if found["interval"] is None else tuple(found["interval"]),
        majority=None if beside is None else Majority(**beside),
        per_class=tuple(ClassScore(**each) for each in found["per_class"]),
        reliability=tuple(ReliabilityBin(**each) for each in found["reliability"]),
        tolerance=found.get("tolerance", {}),
    )
