"""What a report knows: frozen facts, already checked and joined, with no wording or layout in them.

Accuracies, agreements and their intervals are shares in 0–1; latencies are milliseconds; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from compressor.measure.majority import LEVEL

_RUNTIME_TITLES = {
    "torch": "PyTorch",
    "torch_compile": "PyTorch compiled",
    "torch_cuda": "PyTorch CUDA",
    "ort_cpu": "ONNX Runtime CPU",
    "ort_cuda": "ONNX Runtime CUDA",
    "ort_tensorrt": "TensorRT",
    "ort_openvino": "OpenVINO",
    "ort_xnnpack": "XNNPACK",
    "ort_mobile": "ONNX Runtime mobile",
}


def runtime_title(name: str) -> str:
    """A runtime's name for people."""
    return _RUNTIME_TITLES.get(name, name)


def payload_of(runtime: str) -> str:
    """Which stored form of a model a runtime runs: a key of `Candidate.size_bytes`."""
    return "torch" if runtime.split("_")[0] == "torch" else "onnx"


@dataclass(frozen=True)
class Speedup:
    """How many times faster than `against` (a role), with the 95 % interval of the paired measurement.

    An interval is about what the next start would give: `low` and `high` are None where there was one start.
    """

    ratio: float
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
    """

    name: str
    samples: int
    accuracy: float | None
    iou: float | None = None

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
        difference: This one's share of right answers minus its.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        p_value: McNemar's exact test, or the bootstrap's: how often chance alone would do this.
        resamples: How often samples were drawn again; 0 where right answers were counted.
    """

    against: str
    base_only: int = 0
    other_only: int = 0
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0
    p_value: float = 1.0
    resamples: int = 0

    @property
    def real(self) -> bool:
        """Whether the difference is more than chance would do, at 5 %."""
        return self.p_value < 0.05


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


@dataclass(frozen=True)
class Accuracy:
    """What one candidate answers on one runtime.

    Attributes:
        confusion: Counts `[true, answered]`; None for very many classes.
        confusion_with_base: Counts `[the base answered, this one answered]`; None where answers are sets of classes.
        sets_with_base: Where they are: for each class, how often both told it, and either alone.
        tolerance: Where numbers are told: how near each must come to its target to be right, by name; empty otherwise.
        majority: The best constant answer; None where older measurements hold none, or nothing could beat it.
    """

    runtime: str
    split: str
    samples: int
    metrics: Mapping[str, float]
    interval: tuple[float, float] | None
    per_class: tuple[ClassScore, ...]
    agreement_with_teacher: float | None
    reliability: tuple[ReliabilityBin, ...] = ()
    paired: tuple[Paired, ...] = ()
    confusion: tuple[tuple[int, ...], ...] | None = None
    confusion_with_base: tuple[tuple[int, ...], ...] | None = None
    sets_with_base: tuple[ToldOfClass, ...] = ()
    tolerance: Mapping[str, float] = field(default_factory=dict)
    majority: Majority | None = None

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
class Timing:
    """The latency of one candidate on one runtime under one profile.

    Attributes:
        p99_ms: `None` from fewer than 1 000 samples.
        describe: What the runtime says about itself (provider, threads, version).
        p50_interval: 95 % interval of the p50, between starts; None of a single one.
        p90_interval: 95 % interval of the p90, likewise.
        memory_mb: What the process occupies after the last inference.
        library_memory_mb: What it occupied before the model was loaded.
        millijoules: Energy of one inference, of the whole package, where the machine counts it.
        steady: Whether the warm-up settled before the clock started.
        spread: How far the medians of the blocks lie apart, as a share of their median.
        starts: How often its process was started; the blocks are shared out among the starts.
        speedup: Against the base on the same runtime.
        speedup_against_teacher_torch: Against the teacher in PyTorch.
        samples_ms: Every sample, in order; empty when the file holds none.
        blocks: The alternating block of each sample.
    """

    role: str
    runtime: str
    profile: str
    threads: int
    batch: int
    samples: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float | None
    throughput_per_s: float
    load_ms: float | None
    first_ms: float | None
    peak_memory_mb: float | None
    describe: Mapping[str, Any]
    steady: bool
    speedup: Speedup | None
    speedup_against_teacher_torch: Speedup | None
    samples_ms: tuple[float, ...] = field(default=(), repr=False)
    blocks: tuple[int, ...] = field(default=(), repr=False)
    p95_ms: float | None = None
    p50_interval: tuple[float, float] | None = None
    p90_interval: tuple[float, float] | None = None
    memory_mb: float | None = None
    library_memory_mb: float | None = None
    millijoules: float | None = None
    spread: float | None = None
    starts: int = 1


@dataclass(frozen=True)
class CurvePoint:
    """Throughput and latency of one candidate with so many threads and so large a batch."""

    role: str
    runtime: str
    profile: str
    threads: int
    batch: int
    p50_ms: float
    p90_ms: float
    throughput_per_s: float


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
    attempts: int
    calm: bool


@dataclass(frozen=True)
class WorstSample:
    """A sample that the base answers rightly and the candidate does not; class numbers and probabilities in 0–1.

    Attributes:
        numbers: Where numbers are told: the targets, the base's answer and the candidate's; empty otherwise.
        miou: Where there is a class for each pixel: the base's mIoU in this image and the candidate's; empty otherwise.
    """

    position: int
    label: int
    base: int
    base_probability: float
    answer: int
    probability: float
    numbers: tuple[tuple[float, ...], ...] = ()
    miou: tuple[float, ...] = ()


@dataclass(frozen=True)
class Worst:
    """Where a candidate is worse than the base, the surest of its errors first.

    Attributes:
        pictures: `[C, H, W]` of bytes for each sample, when they are pictures; not part of the JSON.
    """

    role: str
    against: str
    runtime: str
    samples: tuple[WorstSample, ...]
    pictures: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Device:
    """What a pack measured on another machine.

    Attributes:
        name: What the user calls it.
        machine: As `measure.machine.describe` gives it there.
        timings: Roles, runtimes and profiles as in the run.
        accuracy: By role, on the samples that were carried there.
        parity: By role: how its answers there differ from those here.
    """

    name: str
    created: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    timings: tuple[Timing, ...]
    accuracy: Mapping[str, Accuracy]
    parity: Mapping[str, Mapping[str, Any]]
    interference: tuple[Interference, ...]


@dataclass(frozen=True)
class Budget:
    """One limit that the user stated, and what was measured; what could not be measured is missed, with no value."""

    budget: str
    limit: float
    value: float | None
    unit: str
    met: bool


@dataclass(frozen=True)
class Missing:
    """Something a reader would look for that is not here, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class DecisionFact:
    """One automatic choice, its reason, and the stage that made it."""

    stage: str
    role: str
    what: str
    choice: str
    reason: str


@dataclass(frozen=True)
class Epoch:
    """One point of a training curve."""

    epoch: int
    lr: float | None
    train_loss: float | None
    val: Mapping[str, float]


@dataclass(frozen=True)
class Link:
    """One artifact of the chain that led to the measurements.

    Attributes:
        pruning: What a pruning stage cut (`details.pruning` of its manifest).
        quantization: What a quantizing stage found (`details.quantization` of its manifest), and whether it `ships`.
    """

    stage: str
    role: str
    kind: str
    network: str | None
    key: str
    place: str
    seed: int
    created: str
    elapsed_s: float
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    data: Mapping[str, Any]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    files: Mapping[str, str]
    parents: Mapping[str, str]
    curve: tuple[Epoch, ...]
    parity: Mapping[str, Any] | None
    input_contract: Mapping[str, Any] | None
    pruning: Mapping[str, Any] | None = None
    quantization: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Taught:
    """Who taught the student.

    Attributes:
        kind: A member of `teachers`, or the user's own.
        title: Of the network or file that taught; None where there was none and the student learned from itself.
        members: Titles of the networks that taught together, or of the peers.
        asked: How many samples it has answered.
        metrics: Its own on the test split, where it was judged there.
    """

    kind: str
    title: str | None = None
    members: tuple[str, ...] = ()
    asked: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def alone(self) -> bool:
        """Whether no network was there before the student."""
        return self.title is None and not self.metrics

    @property
    def words(self) -> str:
        """The kind for people: `ensemble of 3`."""
        of = f" of {len(self.members)}" if self.members and self.kind != "peers" else ""
        with_peers = f": {len(self.members)} more" if self.members and self.kind == "peers" else ""
        return f"{self.kind.replace('_', ' ')}{of}{with_peers}"


@dataclass(frozen=True)
class Headline:
    """The answer in one sentence, and the numbers behind it.

    Attributes:
        runtime: The runtime that the student is judged on.
        profile: The profile that the speed-up was measured under.
        base: What it is held against: `teacher`, `control` where there is no teacher, or `student` where there is nothing.
        base_words: The same for people.
        change: Student minus base; negative is a loss.
        gain: Student, as it was distilled, minus control on a runtime that both were judged on: what the teacher was worth.
        *_within_noise: Whether chance alone would do as much; None where nothing tells.
        gain_told: Whether it can be said that the teacher helped or hurt: the difference is real, and both models are
            better than chance.
        chance_sentence: Which models are not shown to have learned anything, and where to look; empty where all have.
        teacher, teacher_*: Of the base.
        size_ratio: The base's size over the student's, both in the form named by `size_payload`.
        verdict: `met`, `missed`, or `none` when no budget was stated.
    """

    sentence: str
    verdict: Literal["met", "missed", "none"]
    verdict_sentence: str
    gain_sentence: str
    chance_sentence: str = ""
    base: str = "teacher"
    base_words: str = "the teacher"
    runtime: str | None = None
    profile: str | None = None
    samples: int | None = None
    teacher: float | None = None
    teacher_runtime: str | None = None
    student: float | None = None
    control: float | None = None
    change: float | None = None
    change_within_noise: bool | None = None
    gain: float | None = None
    gain_within_noise: bool | None = None
    gain_told: bool = False
    speedup: Speedup | None = None
    speedup_against: str | None = None
    latency_ms: float | None = None
    teacher_latency_ms: float | None = None
    size_ratio: float | None = None
    size_payload: str | None = None
    teacher_size: int | None = None
    student_size: int | None = None

    @property
    def speedup_crosses_runtimes(self) -> bool:
        """Whether the exported student was timed against something in PyTorch, for want of an export of it."""
        in_pytorch = self.speedup_against is not None and self.speedup_against.endswith("in PyTorch")
        return in_pytorch and self.runtime is not None and payload_of(self.runtime) == "onnx"


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows.

    Attributes:
        folder: The run's, as a command would name it from where the run was made.
        taught: Who taught the student; None where none was distilled.
        label_sets: Whether a label is a set of classes, written as one number.
        of_numbers: Whether the task tells numbers; `classes` are then their names, and "right" is within the tolerance.
        compared: Whether the candidates are models of any origin that were held against the first, rather than a chain.
        outdated: That models of the run have been made again since they were measured; empty where they have not.
    """

    run: str
    task: str
    metric: str
    classes: tuple[str, ...]
    base: str
    candidates: tuple[Candidate, ...]
    timings: tuple[Timing, ...]
    budgets: tuple[Budget, ...]
    missing: tuple[Missing, ...]
    headline: Headline
    links: tuple[Link, ...]
    decisions: tuple[DecisionFact, ...]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    seed: int
    key: str
    created: str
    command: str | None
    recipe: str | None
    curves: tuple[CurvePoint, ...] = ()
    operators: tuple[OperatorTimes, ...] = ()
    interference: tuple[Interference, ...] = ()
    energy_source: str | None = None
    worst: Worst | None = None
    devices: tuple[Device, ...] = ()
    folder: str = ""
    taught: Taught | None = None
    label_sets: bool = False
    of_numbers: bool = False
    compared: bool = False
    outdated: str = ""

    @property
    def of_pixels(self) -> bool:
        """Whether there is a class for each pixel; classes are then judged by their IoU."""
        return any(
            score.iou is not None
            for candidate in self.candidates
            for entry in candidate.accuracy
            for score in entry.per_class
        )

    @property
    def timed_base(self) -> str:
        """The role that speed-ups are against: the base, or the first model that was timed where the base was not."""
        measured = (timing.speedup or timing.speedup_against_teacher_torch for timing in self.timings)
        return next((speedup.against for speedup in measured if speedup), self.base)

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles in the order they were measured."""
        return tuple(dict.fromkeys(timing.profile for timing in self.timings))

    def candidate(self, role: str) -> Candidate | None:
        """The candidate in `role`, if it was measured."""
        return find_candidate(self.candidates, role)

    def title_of(self, role: str) -> str:
        """What tables and figures call the model in a role."""
        found = self.candidate(role)
        return found.title if found else role.capitalize()

    def called(self, role: str, *, heading: bool = False) -> str:
        """What a text calls the model in a role: the role, or its title where models of any origin were compared."""
        found = self.candidate(role) if self.compared else None
        if found is not None:
            return found.title
        return role.capitalize() if heading else role

    def the(self, role: str) -> str:
        """`called`, with the article that a role needs and a title does not."""
        return self.called(role) if self.compared else f"the {role}"

    def timing(self, role: str, runtime: str, profile: str) -> Timing | None:
        """One timing, if it was taken."""
        return find_timing(self.timings, role=role, runtime=runtime, profile=profile)


def find_candidate(candidates: tuple[Candidate, ...], role: str) -> Candidate | None:
    """The candidate in `role`, if it is among them."""
    return next((entry for entry in candidates if entry.role == role), None)


def find_timing(timings: tuple[Timing, ...], *, role: str, runtime: str, profile: str) -> Timing | None:
    """The timing of one candidate on one runtime under one profile, if it is among them."""
    wanted = (role, runtime, profile)
    return next((entry for entry in timings if (entry.role, entry.runtime, entry.profile) == wanted), None)
