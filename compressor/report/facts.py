"""What a report knows beside the measurements: where they come from and what they say, with no wording or layout in it.

The measurements themselves are `measure.record`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from compressor.measure.record import Candidate, Device, Measurements, Speedup, Timing

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
        change: Student minus base, in the unit of the metric.
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


@dataclass(frozen=True, kw_only=True)
class ReportData(Measurements):
    """Everything a report shows: the measurements, and everything recorded along the chain that led to them.

    Attributes:
        folder: The run's, as a command would name it from where the run was made.
        taught: Who taught the student; None where none was distilled.
        compared: Whether the candidates are models of any origin that were held against the first, rather than a chain.
        outdated: That models of the run have been made again since they were measured; empty where they have not.
    """

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
    devices: tuple[Device, ...] = ()
    folder: str = ""
    taught: Taught | None = None
    compared: bool = False
    outdated: str = ""

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
