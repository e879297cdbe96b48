"""The recipe: what a user asks for, as frozen settings; TOML in, every fault at once.

A recipe names the data, the networks and the stages; flags of a stage command give the same settings. Unknown keys,
wrong types, out-of-range values, unknown names of losses, tasks, formats and runtimes, and impossible orders are found
here without torch. What only a file's content can tell (is `t.pt` a pickle?) is found by `preflight.check`.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from compressor import registry
from compressor.errors import CompressError, Fault, InputError, RecipeError

StageName = Literal["train", "distill", "prune", "quantize", "export", "bench", "report"]
STAGES: tuple[StageName, ...] = get_args(StageName)
LINKS: tuple[StageName, ...] = ("distill", "prune", "quantize")
"""Stages that make the network that is shipped out of the one before it."""


class Settings(BaseModel):
    """Base of all settings: frozen, and no key that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class ViewSettings(Settings):
    """`[data.views]`: the random augmentation shown in training."""

    crop: int | Literal["auto"] = Field("auto", description="pixels of zero padding around a random crop; 0 for none")
    flip: bool | Literal["auto"] = Field("auto", description="mirror left to right for half of the samples")
    resized_crop: float = Field(
        0.0, ge=0.0, lt=1.0, description="least share of the area a resized crop keeps; 0: none"
    )
    colour_jitter: float = Field(0.0, ge=0.0, le=1.0, description="strength of random brightness, contrast, saturation")
    rand_augment: int = Field(0, ge=0, le=8, description="random operations for each image; 0: none")
    magnitude: int = Field(9, ge=0, le=30, description="strength of rand_augment's operations, out of 30")
    erasing: float = Field(0.0, ge=0.0, le=1.0, description="chance that a random rectangle is erased")
    mixup: float = Field(0.0, ge=0.0, description="alpha of mixup; 0: none")
    cutmix: float = Field(0.0, ge=0.0, description="alpha of CutMix; 0: none. With mixup, half of the views have each")
    count: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="views of each sample, shown in turn; 0: a fresh view in every epoch, and no teacher cache"
    )
    seed: int = Field(0, ge=0, description="seed of counted views; the same for every training seed")


class DataSettings(Settings):
    """`[data]`: where samples come from and how they are split."""

    source: str = Field(description="digits | images:DIR | idx:DIR | cifar:DIR | npz:FILE | py:FILE:callable")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the data format")
    unlabelled: str | None = Field(
        None, description="a second source, whose samples are shown in training without labels; images: any folder"
    )
    unlabelled_options: dict[str, Any] = Field(default_factory=dict, description="options of its format")
    labels: bool = Field(True, description="false: training samples have none, so that the teacher alone teaches")
    val_share: float = Field(0.1, ge=0.0, lt=0.9, description="share of the training set kept for validation")
    test_share: float = Field(0.15, gt=0.0, lt=0.9, description="share kept for the test, when the set has none")
    split_seed: int = Field(0, ge=0, description="seed of the split; the same for every training seed")
    max_unreadable: float = Field(0.01, ge=0.0, le=1.0, description="share of unreadable samples that stops the run")
    views: ViewSettings = Field(default_factory=ViewSettings)


class TaskSettings(Settings):
    """`[task]`: what the outputs mean."""

    name: str = "classification"
    options: dict[str, Any] = Field(default_factory=dict)


class ModelSettings(Settings):
    """`[teacher]` or `[student]`: which network."""

    model: str = Field(description="file.py[:callable] | zoo:NAME | timm:NAME | torchvision:NAME | t.pt | artifact")
    arch: str | None = Field(None, description="the architecture that a state dict belongs to, as a model spec")
    options: dict[str, Any] = Field(default_factory=dict, description="options passed to the builder")
    classes: tuple[str, ...] = Field(
        (), description="of a teacher's network: the classes it knows, where it knows not all"
    )
    normalise: Literal["auto", "data", "imagenet", "half", "none"] | tuple[tuple[float, ...], tuple[float, ...]] = (
        Field("auto", description="input normalisation: a name, or [means, stds] per channel in 0-1 units")
    )


_KIND_OF_FILE: Mapping[str, str] = {".onnx": "onnx", ".npz": "outputs"}


def kind_of(teacher: Mapping[str, Any]) -> Any:
    """The kind of teacher that `[teacher]` states; of a single ONNX or NumPy file the one that is made from such a file."""
    suffix = Path(str(teacher.get("model", ""))).suffix
    alone = not teacher.get("members")
    return teacher.get("kind", _KIND_OF_FILE.get(suffix, "network") if alone else "network")


class TeacherSettings(ModelSettings):
    """`[teacher]`: whom to learn from: a network, several, a file of answers, or nobody else."""

    model: str = Field(
        "", description="the (first) network, or the file, that the kind takes; empty for a kind that takes none"
    )
    kind: str = Field(
        "network", description="compress list teachers shows them; for a model *.onnx it is onnx, for *.npz outputs"
    )
    kind_options: dict[str, Any] = Field(default_factory=dict, description="options of the kind")
    members: tuple[ModelSettings, ...] = Field(
        (), description="[[teacher.members]]: further networks, for a kind of several"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_its_kind(cls, raw: Any) -> Any:
        return {**raw, "kind": kind_of(raw)} if isinstance(raw, Mapping) else raw

    @property
    def networks(self) -> tuple[ModelSettings, ...]:
        """All networks that are named: the first, and the members."""
        first = (
            ModelSettings(**{name: getattr(self, name) for name in ModelSettings.model_fields}) if self.model else None
        )
        return (*(() if first is None else (first,)), *self.members)


class RampSettings(Settings):
    """A number that changes over the run: `temperature = {start = 8, end = 2, shape = "cosine"}`."""

    start: float = Field(0.0, description="value at the beginning")
    end: float = Field(description="value at the end")
    shape: Literal["constant", "linear", "cosine"] = Field("linear", description="constant: `end` all along")
    after: float = Field(0.0, ge=0.0, lt=1.0, description="share of the run that passes before it changes")
    until: float = Field(
        1.0, gt=0.0, le=1.0, description="share of the run by which it has reached `end` (warm-up: 0.1)"
    )

    @model_validator(mode="after")
    def _in_order(self) -> RampSettings:
        if self.after >= self.until:
            raise ValueError(f"come to its end (until = {self.until}) after it begins (after = {self.after})")
        return self


def is_ramp(value: object) -> bool:
    """Whether an option of a loss is written as a ramp."""
    return isinstance(value, Mapping) and "end" in value


SWEPT: Mapping[str, tuple[float, ...]] = {"temperature": (1.0, 2.0, 4.0, 8.0), "alpha": (0.5, 0.9)}
"""Options of losses that may be `auto`, and the values that a short sweep tries."""


class LossSettings(BaseModel):
    """One entry of `[[distill.losses]]`: a name, a weight, and the loss's own options beside them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "kd"
    weight: Annotated[float, Field(gt=0.0)] | RampSettings = 1.0

    @property
    def options(self) -> dict[str, Any]:
        """The loss's own options, those that change over the run at their first value."""
        given = self.model_extra or {}
        return {
            name: self.ramps[name].start if name in self.ramps else value
            for name, value in given.items()
            if name not in self.swept
        }

    @property
    def swept(self) -> tuple[str, ...]:
        """The options that are left to a sweep; until it has decided they are at their defaults."""
        return tuple(name for name, value in (self.model_extra or {}).items() if name in SWEPT and value == "auto")

    @property
    def ramps(self) -> dict[str, RampSettings]:
        """The options that change over the run."""
        given = self.model_extra or {}
        return {name: RampSettings.model_validate(value) for name, value in given.items() if is_ramp(value)}


class TrainingSettings(Settings):
    """How a network is trained; shared by every stage that trains."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=2)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[float, Field(gt=0.0)] | Literal["auto"] = Field(
        "auto", description="peak learning rate; auto: 1e-3 (adamw), 0.1 (sgd)"
    )
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="sgd only; Nesterov")
    weight_decay: Annotated[float, Field(ge=0.0)] | Literal["auto"] = Field(
        "auto", description="auto: 0.05 (adamw), 5e-4 (sgd)"
    )
    schedule: Literal["cosine", "step", "one_cycle", "constant"] = "cosine"
    warmup_epochs: float = Field(1.0, ge=0.0, description="linear warm-up (one_cycle: 30 % of the run when larger)")
    milestones: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        (0.5, 0.75), description="step schedule: shares of the run at which lr drops"
    )
    gamma: float = Field(0.1, gt=0.0, le=1.0, description="step schedule: factor at each milestone")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    clip_norm: float | None = Field(None, gt=0.0, description="largest gradient norm")
    ema_decay: float | None = Field(None, gt=0.0, lt=1.0, description="average the weights; the average is the result")
    device: str = Field("auto", description="auto | cpu | cuda | cuda:1 | mps")
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool | Literal["auto"] = Field("auto", description="torch.compile; auto: when the steps left repay it")


class TrainSettings(TrainingSettings):
    """`[train]`: train the teacher from the labels alone."""


class DistillSettings(TrainingSettings):
    """`[distill]`: train the student from the teacher."""

    losses: tuple[LossSettings, ...] = Field((), description="empty: what suits the kind of teacher, most often kd")
    control: bool = Field(False, description="also train the same student without the teacher, with the same budget")
    cache_gb: float = Field(4.0, ge=0.0, description="disk for the teacher's kept answers; 0: keep none")


DISTILLATION_ALONE = frozenset({"losses", "control", "cache_gb"})
"""Settings of `[distill]` that a training without a teacher has no use for."""


class RecoverySettings(TrainingSettings):
    """How a network that was changed is trained back, from the teacher; shared by pruning and quantization."""

    lr: Annotated[float, Field(gt=0.0)] | Literal["auto"] = Field(
        "auto", description="peak learning rate; auto: 3e-4 (adamw), 0.02 (sgd)"
    )
    losses: tuple[LossSettings, ...] = Field((LossSettings(),), min_length=1)
    cache_gb: float = Field(4.0, ge=0.0, description="disk for the teacher's kept answers; 0: keep none")


class SpecialistSettings(TrainingSettings):
    """`[specialists]`: networks for the classes that a generalist confuses, each trained from its weights."""

    count: int = Field(3, ge=2, description="clusters of classes that are confused, with a specialist for each")
    processes: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="so many are trained at once; auto: one for each core, or for each GPU"
    )
    lr: Annotated[float, Field(gt=0.0)] | Literal["auto"] = Field(
        "auto", description="peak learning rate; auto: 3e-4 (adamw), 0.02 (sgd)"
    )
    epochs: int = Field(5, ge=1)
    soft: float = Field(
        0.0, ge=0.0, le=1.0, description="share of the generalist's word against the label's; the paper: labels alone"
    )
    temperature: float = Field(2.0, gt=0.0, description="softness of the generalist's word")


PRUNE_TARGETS = ("macs", "params", "latency", "size_mb")
"""What a cut can aim at; one of them at a time."""


class PruneSettings(RecoverySettings):
    """`[prune]`: cut channels until the network is as small or as fast as asked for, and train it back."""

    macs: float | None = Field(
        None, gt=0.0, lt=1.0, description="multiply-adds to keep, as a share; 0.5 if none is given"
    )
    params: float | None = Field(None, gt=0.0, lt=1.0, description="parameters to keep, as a share")
    latency: float | None = Field(None, gt=0.0, lt=1.0, description="measured time to keep, as a share")
    size_mb: float | None = Field(None, gt=0.0, description="size of the ONNX file in MB (10^6 bytes)")
    profile: str = Field("edge", description="run conditions that latency is measured under")
    criterion: str = Field("l1", description="how much a channel matters: compress list criteria")
    criterion_options: dict[str, Any] = Field(default_factory=dict)
    ranking: Literal["global", "local", "isomorphic"] = Field(
        "global", description="channels compete in the whole network, in their layer, or among layers alike"
    )
    round_to: int = Field(8, ge=1, description="widths are multiples of it, where the layer is that wide")
    ignore: tuple[str, ...] = Field((), description="dotted paths of modules that are not cut")
    rounds: int = Field(3, ge=1, description="cut and recover so many times, a little each")
    epochs: int = Field(10, ge=0, description="of recovery in all, shared by the rounds; 0: cut alone")
    max_drop: float | None = Field(
        None, ge=0.0, description="stop before a round that ends more points below the start, on validation"
    )

    @property
    def target(self) -> tuple[str, float]:
        """What the cut aims at, and how much of it to keep."""
        stated = [(name, value) for name in PRUNE_TARGETS if (value := getattr(self, name)) is not None]
        return stated[0] if stated else ("macs", 0.5)


class QuantizeSettings(RecoverySettings):
    """`[quantize]`: fewer bits, where they pay on the runtime that will run them."""

    method: str = Field("static", description="static | dynamic | qat | weight_only | float16")
    options: dict[str, Any] = Field(default_factory=dict, description="options of the method")
    target: Literal["this", "x86-avx2", "x86-vnni", "arm64"] = Field("this", description="the CPU that will run it")
    calibration: int = Field(512, ge=8, description="training samples that show the range of activations")
    mixed: bool = Field(True, description="leave in float what costs accuracy or time")
    profile: str = Field("edge", description="run conditions that time is measured under")
    max_drop: float | None = Field(
        None, ge=0.0, description="budget: metric points below the float model, on validation"
    )
    max_latency_ms: float | None = Field(None, gt=0.0, description="budget: p50 under the profile")
    epochs: int = Field(3, ge=1, description="of quantization-aware training (qat)")


class ExportSettings(Settings):
    """`[export]`: the ONNX file and its parity gate."""

    opset: int | Literal["auto"] = Field("auto", description="auto: the exporter's own, see the manifest")
    input: Literal["float-nchw", "uint8-nhwc"] = Field("float-nchw", description="what the model takes")
    normalise: bool = Field(True, description="bake the input normalisation in (float-nchw then takes 0-1)")
    tolerance: float = Field(1e-3, gt=0.0, description="largest difference, as a share of the spread of the outputs")
    min_agreement: float = Field(0.999, gt=0.0, le=1.0, description="least share of equal top-1 answers")
    samples: int = Field(1000, ge=1, description="real samples the parity gate looks at")


class ProfileSettings(Settings):
    """One set of run conditions to measure under."""

    threads: int = Field(0, ge=0, description="0: all cores")
    batch: int = Field(1, ge=1)
    pin: bool = Field(True, description="keep the process on as many cores as it has threads")
    spinning: bool = Field(False, description="idle threads of ONNX Runtime wait busily")
    arena: bool = Field(True, description="ONNX Runtime keeps memory for the next inference")
    memory_mb: int | None = Field(None, ge=1, description="most memory the process may allocate (Linux)")
    cpu_share: float | None = Field(
        None, gt=0.0, description="most cores' worth of time; needs the right to make a cgroup"
    )
    runtimes: tuple[str, ...] = Field((), description="those measured under it; empty: all of bench.runtimes that fit")
    curve_batches: tuple[int, ...] = Field((), description="batches of the throughput-latency curve; empty: no curve")
    curve_threads: tuple[int, ...] = Field((0,), description="thread counts of the curve; 0: all cores")


DEFAULT_PROFILES: Mapping[str, ProfileSettings] = {
    "edge": ProfileSettings(threads=1, batch=1, arena=False),
    "server": ProfileSettings(threads=0, batch=32, curve_batches=(1, 8, 64), curve_threads=(1, 0)),
    "gpu": ProfileSettings(threads=0, batch=32, pin=False, curve_batches=(1, 8, 32, 128)),
}


class RuntimeSettings(BaseModel):
    """A runtime with options of its own: `[bench.runtime.half] name = "torch_cuda", precision = "fp16"`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """What goes to the runtime's constructor."""
        return dict(self.model_extra or {})


class BenchSettings(Settings):
    """`[bench]`: what is measured, under which conditions, and what the user will accept."""

    runtimes: tuple[str, ...] = Field(("torch", "ort_cpu"), min_length=1)
    profiles: tuple[str, ...] = Field(("edge", "server"), min_length=1)
    profile: dict[str, ProfileSettings] = Field(default_factory=dict, description="[bench.profile.NAME]: your own")
    runtime: dict[str, RuntimeSettings] = Field(
        default_factory=dict, description="[bench.runtime.NAME]: a runtime with options, under a name of its own"
    )
    min_seconds: float = Field(2.0, gt=0.0, description="timed seconds for each model, runtime and profile")
    min_samples: int = Field(200, ge=20, description="fewest timed runs of each")
    blocks: int = Field(20, ge=5, description="alternating blocks; the speed-up interval comes from their ratios")
    starts: int = Field(5, ge=1, description="how often each process is started anew, for a share of the blocks")
    attempts: int = Field(3, ge=1, description="timings whose blocks disagree are taken again, this often at most")
    operators: bool = Field(True, description="also time each operator of the ONNX models")
    max_drop: float | None = Field(None, ge=0.0, description="budget: metric points below the teacher, in percent")
    max_latency_ms: float | None = Field(None, gt=0.0, description="budget: p50 of the student, first profile")
    max_size_mb: float | None = Field(None, gt=0.0, description="budget: size of the ONNX file in MB (10^6 bytes)")

    def profile_named(self, name: str) -> ProfileSettings:
        """The user's profile of that name, or the built-in one."""
        return self.profile.get(name) or DEFAULT_PROFILES[name]

    def runtime_named(self, name: str) -> RuntimeSettings:
        """The runtime of that name with its options: the user's own, or a member of the family as it is."""
        return self.runtime.get(name) or RuntimeSettings(name=name)


class Recipe(Settings):
    """Everything one run is made from."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="folder below `runs`")
    runs: str = "runs"
    seed: int = Field(0, ge=0)
    stages: tuple[StageName, ...] = Field((), description="order of the stages; empty: those the recipe has a need for")
    data: DataSettings | None = None
    task: TaskSettings = Field(default_factory=TaskSettings)
    teacher: TeacherSettings | None = None
    assistants: tuple[ModelSettings, ...] = Field(
        (), description="[[assistants]]: networks between teacher and student, each distilled from the one before"
    )
    student: ModelSettings | None = None
    train: TrainSettings | None = None
    specialists: SpecialistSettings | None = None
    distill: DistillSettings | None = None
    prune: PruneSettings | None = None
    quantize: QuantizeSettings | None = None
    export: ExportSettings = Field(default_factory=ExportSettings)
    bench: BenchSettings = Field(default_factory=BenchSettings)

    @model_validator(mode="before")
    @classmethod
    def _by_the_teacher_alone(cls, raw: Any) -> Any:
        return _without_share_of_labels(raw) if isinstance(raw, Mapping) and _hides_labels(raw) else raw

    def stage_order(self) -> tuple[StageName, ...]:
        """The stages whose results are wanted: as stated, or those that the sections ask for."""
        if self.stages:
            return self.stages
        train: tuple[StageName, ...] = () if self.train is None else ("train",)
        distill: tuple[StageName, ...] = () if self.distillation is None else ("distill",)
        prune: tuple[StageName, ...] = () if self.prune is None else ("prune",)
        quantize: tuple[StageName, ...] = () if self.quantize is None else ("quantize",)
        return (*train, *distill, *prune, *quantize, "export", "bench", "report")

    @property
    def chain(self) -> tuple[StageName, ...]:
        """The links between the teacher and what is shipped, in the order they are made; a student is always distilled."""
        order = self.stage_order()
        if set(order) == {"train"}:
            return ()
        links = tuple(name for name in order if name in LINKS)
        return links if self.distillation is None or "distill" in links else ("distill", *links)

    @property
    def distillation(self) -> DistillSettings | None:
        """How the student is distilled: as stated, or by the defaults when there is a student."""
        return self.distill or (DistillSettings() if self.student is not None else None)

    @property
    def specialising(self) -> SpecialistSettings | None:
        """How specialists are made of the teacher, where the run is to make them."""
        if self.teacher is None or self.teacher.kind != "specialists" or self.teacher.members:
            return None
        return self.specialists or SpecialistSettings()


def read_file(file: Path) -> dict[str, Any]:
    """Parse a recipe into plain data: TOML, or the resolved JSON that a run keeps (`runs/x/recipe.json`).

    Raises:
        InputError: No such file, not text, or not valid TOML or JSON (with line and column).
    """
    try:
        text = file.read_text(encoding="utf-8")
        raw: Any = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError as fault:
        raise InputError("no such recipe", where=str(file), hint="compress init DIR writes one") from fault
    except json.JSONDecodeError as fault:
        raise InputError(f"not valid JSON: {fault}", where=str(file)) from fault
    except tomllib.TOMLDecodeError as fault:
        raise InputError(f"not valid TOML: {fault}", where=str(file)) from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"cannot be read: {fault}", where=str(file)) from fault
    if not isinstance(raw, dict):
        raise InputError(f"holds a {type(raw).__name__}, not the tables of a recipe", where=str(file))
    raw.setdefault("name", safe_name(file.resolve().parent.name if file.stem == "recipe" else file.stem))
    return raw


def safe_name(text: str) -> str:
    """A name for a run, made from that of a file, a folder or a model."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-") or "run"


def override(raw: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply `--set a.b=value` assignments to plain recipe data; the input is left as it was.

    A value is read as TOML (`0.4`, `true`, `[1, 2]`, `"text"`), and as text when it is not TOML. A whole number in a
    path is a position in a list (`distill.losses.0.temperature=2`).

    Raises:
        InputError: An assignment has no `=`, or its path goes through something that is not a table.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(raw))
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator or not path:
            raise InputError(f"'{assignment}' is not an assignment", where="--set", hint="write --set a.b=value")
        _assign(changed, [part.strip() for part in path.split(".")], _value(text.strip()), assignment)
    return changed


def parse(raw: Mapping[str, Any], *, source: str) -> Recipe:
    """Check plain recipe data and freeze it.

    Args:
        raw: The recipe as plain data.
        source: Where it came from, for the error text (a path, or "command line").

    Raises:
        RecipeError: With every fault found.
    """
    found = faults(raw)
    if found:
        raise RecipeError(found, source=source)
    return Recipe.model_validate(raw)


def faults(raw: Mapping[str, Any]) -> list[Fault]:
    """Every fault of plain recipe data that can be seen without opening a model or a data set."""
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        found = [_fault(details) for details in _by_place(error).values()]
        return found + _name_faults(raw)
    return _name_faults(raw) + _order_faults(recipe)


def split_source(source: str) -> tuple[str, str | None]:
    """A data source as (format name, target): `images:flowers` -> `("images", "flowers")`."""
    name, separator, target = source.partition(":")
    return name, (target if separator else None)


def _order_faults(recipe: Recipe) -> list[Fault]:
    order = recipe.stage_order()
    found = []
    for name in sorted(set(order)):
        if order.count(name) > 1:
            found.append(Fault("stages", f"'{name}' stands twice"))
    found += _chain_faults(recipe, order)
    needs: list[tuple[str, object, str]] = [
        (order[0], recipe.data, "[data] with source = ..."),
        (order[0], recipe.teacher, "[teacher] with model = ..."),
    ]
    pruned_first = "prune" in order and "distill" in order and order.index("prune") < order.index("distill")
    if "distill" in order and not pruned_first:
        needs.append(("distill", recipe.student, "[student] with model = ..."))
    found += _no_network_faults(recipe)
    found += [
        Fault(stage, "cannot run without a missing section", f"add {what}")
        for stage, section, what in needs
        if section is None
    ]
    return list(dict.fromkeys(found))


def _no_network_faults(recipe: Recipe) -> list[Fault]:
    """A chain that begins by changing the teacher needs one that is a network."""
    first = recipe.chain[0] if recipe.chain else "distill"
    if recipe.teacher is None or recipe.train is not None or first == "distill":
        return []
    try:
        takes = takes_of(recipe.teacher.kind)
    except CompressError:
        return []  # already among the faults of names
    if {"network", "networks"} & set(takes):
        return []
    message = f"'{first}' changes a network, and a teacher of the kind '{recipe.teacher.kind}' is none"
    return [Fault("stages", message, "distil a student first: add [student]")]


def _chain_faults(recipe: Recipe, order: Sequence[StageName]) -> list[Fault]:
    """Orders that cannot be: pruning and distilling may change places, everything else has its place."""
    sensible = [name for name in STAGES if name in order]
    links = [name for name in order if name in LINKS]
    if "quantize" in links and links[-1] != "quantize":
        what = f"'{links[links.index('quantize') + 1]}' trains, and what 'quantize' leaves is an ONNX model"
        hint = 'put quantize last of the links; method = "qat" trains the quantized network from the teacher itself'
        return [Fault("stages", f"{what}, which cannot be trained", hint)]
    swapped = [name for name in order if name not in LINKS]
    ranks = [STAGES.index(name) for name in swapped]
    placed = [order.index(name) for name in links]
    after = [order.index(name) for name in ("export", "bench", "report") if name in order]
    before = [order.index("train")] if "train" in order else []
    if ranks != sorted(ranks) or (
        placed and (max(placed) > min(after, default=99) or min(placed) < max(before, default=-1))
    ):
        return [Fault("stages", f"{list(order)} cannot run in this order", f"write stages = {sensible}")]
    if links[:2] == ["prune", "distill"] and recipe.student is not None:
        hint = "remove [student], or put distill first"
        return [Fault("student", "the pruned teacher is the student where prune comes before distill", hint)]
    return []


def _name_faults(raw: Mapping[str, Any]) -> list[Fault]:
    """Faults in the names that point into a registry, read leniently so that they show beside other faults."""
    found: list[Fault] = []
    data, task, teacher, bench = (_table(raw, key) for key in ("data", "task", "teacher", "bench"))
    prune, quantize = _table(raw, "prune"), _table(raw, "quantize")
    for key, given in (("source", "options"), ("unlabelled", "unlabelled_options")):
        if isinstance(data.get(key), str):
            found += _source_faults(data[key], _table(data, given), where=f"data.{key}", options=f"data.{given}")
    if _table(data, "unlabelled_options") and data.get("unlabelled") is None:
        found.append(Fault("data.unlabelled_options", "there is no data.unlabelled that they could be of"))
    if _hides_labels(raw):
        found += _label_faults(raw)
    for family, table, key, where in (
        ("tasks", task, "name", "task.name"),
        ("teachers", teacher, "kind", "teacher.kind"),
    ):
        if isinstance(table.get(key), str):
            _member(family, table[key], where, found)
    if isinstance(raw.get("teacher"), Mapping):
        found += _teacher_faults(teacher, trained="train" in raw)
    found += _specialist_faults(raw, teacher)
    task_member = _member("tasks", str(task.get("name", TaskSettings().name)), "task.name", [])
    if task_member:
        found += registry.option_faults(task_member, _table(task, "options"), where="task.options")
    for section in ("distill", "prune", "quantize"):
        found += _loss_faults(_table(raw, section).get("losses", ()), section)
    for family, table, key, given, where in (
        ("criteria", prune, "criterion", "criterion_options", "prune"),
        ("quantizers", quantize, "method", "options", "quantize"),
    ):
        if isinstance(table.get(key), str):
            member = _member(family, table[key], f"{where}.{key}", found)
            if member:
                found += registry.option_faults(member, _table(table, given), where=f"{where}.{given}")
    stated = [name for name in PRUNE_TARGETS if prune.get(name) is not None]
    if len(stated) > 1:
        found.append(
            Fault("prune", f"{' and '.join(stated)} are given, a cut has one target", f"keep {stated[0]} alone")
        )
    found += _runtime_faults(bench)
    profiles, own = bench.get("profiles", ()), _table(bench, "profile")
    for index, name in enumerate(profiles if isinstance(profiles, list | tuple) else ()):
        if name not in own and name not in DEFAULT_PROFILES:
            known = [*DEFAULT_PROFILES, *own]
            hint = registry.nearest(str(name), known, "known:") + f", or add [bench.profile.{name}]"
            found.append(Fault(f"bench.profiles.{index}", f"no profile is called '{name}'", hint))
    for section in ("prune", "quantize"):
        wanted = _table(raw, section).get("profile")
        if isinstance(wanted, str) and wanted not in own and wanted not in DEFAULT_PROFILES:
            hint = registry.nearest(wanted, [*DEFAULT_PROFILES, *own], "known:") + f", or add [bench.profile.{wanted}]"
            found.append(Fault(f"{section}.profile", f"no profile is called '{wanted}'", hint))
    return found


def _hides_labels(raw: Mapping[str, Any]) -> bool:
    return _table(raw, "data").get("labels") is False


def _without_share_of_labels(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with `alpha` of `kd` at 1 where nothing is stated: all is the teacher's share where labels are hidden."""
    changed = dict(raw)
    for section in ("distill", "prune", "quantize"):
        table = raw.get(section, {} if section == "distill" and raw.get("student") else None)
        losses = table.get("losses", [{}]) if isinstance(table, Mapping) else None
        if isinstance(table, Mapping) and isinstance(losses, list | tuple):
            alone = [
                {"name": "kd", "alpha": 1.0, **each}
                if isinstance(each, Mapping) and each.get("name", "kd") == "kd"
                else each
                for each in losses
            ]
            changed[section] = {**table, "losses": alone}
    return changed


def _label_faults(raw: Mapping[str, Any]) -> list[Fault]:
    """What a recipe asks of labels that `data.labels = false` hides."""
    found: list[Fault] = []
    hint = "leave out data.labels (--no-labels)"
    for section in ("distill", "prune", "quantize"):
        losses = _table(raw, section).get("losses", ())
        for index, entry in enumerate(losses if isinstance(losses, list | tuple) else ()):
            if not isinstance(entry, Mapping):
                continue
            name, where = entry.get("name", "kd"), f"{section}.losses.{index}"
            if name == "hard":
                found.append(Fault(where, "'hard' learns from labels, and data.labels is false", hint))
            if name == "kd" and entry.get("alpha", 1) != 1:
                message = f"alpha = {entry['alpha']} leaves the labels a share, and data.labels is false"
                found.append(Fault(f"{where}.alpha", message, "write alpha = 1, or leave it out"))
            if name != "kd" and isinstance(entry.get("hard"), int | float) and entry["hard"] > 0:
                message = f"hard = {entry['hard']} gives the labels a weight, and data.labels is false"
                found.append(Fault(f"{where}.hard", message, "write hard = 0, or leave it out"))
    if _table(raw, "distill").get("control"):
        found.append(Fault("distill.control", "a control learns from labels alone, and data.labels is false", hint))
    if "train" in raw and raw.get("stages") != ["train"]:  # which says by itself that it has no labels
        found.append(Fault("train", "a teacher learns from labels alone, and data.labels is false", hint))
    teacher = _table(raw, "teacher")
    member = _member("teachers", str(kind_of(teacher)), "teacher.kind", []) if teacher else None
    if member is not None:
        takes = {option.name for option in member.positional}
        if not takes & {"network", "networks", "file"} or member.name == "born_again":
            message = f"'{member.name}' knows nothing by itself, and data.labels is false"
            found.append(Fault("teacher.kind", message, "name a trained teacher, or leave out data.labels"))
    return found


def _source_faults(source: str, given: Mapping[str, Any], *, where: str, options: str) -> list[Fault]:
    """Faults of a data source as it is named, and of the options of its format."""
    found: list[Fault] = []
    name, target = split_source(source)
    member = _member("formats", name, where, found)
    if member and member.positional and target is None:
        found.append(Fault(where, f"'{name}' needs a place", f"write {name}:PATH"))
    if member and not member.positional and target is not None:
        found.append(Fault(where, f"'{name}' takes no place", f"write {name}"))
    if member:
        found += registry.option_faults(member, given, where=options)
    return found


NETWORKS_OF_A_KIND = ("network", "networks", "file", "peers")
"""What a kind of teacher may take by position that the recipe names (see `teachers._contract`)."""


def takes_of(kind: str) -> tuple[str, ...]:
    """What a kind of teacher is made from, by the names its constructor takes by position."""
    return tuple(option.name for option in registry.find("teachers", kind).positional)


def _teacher_faults(teacher: Mapping[str, Any], *, trained: bool) -> list[Fault]:
    """Whether the networks that `[teacher]` names are those that its kind takes, and its options."""
    kind = kind_of(teacher)
    member = _member("teachers", kind, "teacher.kind", []) if isinstance(kind, str) else None
    if member is None:
        return []
    found = registry.option_faults(member, _table(teacher, "kind_options"), where="teacher.kind_options")
    takes = {option.name for option in member.positional}
    model, members = teacher.get("model"), teacher.get("members") or ()
    count = len(members) if isinstance(members, Sequence) else 0
    if takes & {"network", "networks", "file"} and member.name != "born_again" and not model:
        what = "a file" if "file" in takes else "a network"
        found.append(Fault("teacher.model", f"'{member.name}' needs {what}", 'write model = "..." in [teacher]'))
    if "file" in takes:
        for key in ("arch", "options", "classes"):
            if teacher.get(key):
                found.append(Fault(f"teacher.{key}", f"'{member.name}' is a file and takes no {key}", "leave it out"))
    if "networks" in takes and member.name != "specialists" and model and not count:
        hint = "add [[teacher.members]] (on the command line: --teacher once more)"
        found.append(Fault("teacher.members", f"'{member.name}' needs several networks", hint))
    if count and not takes & {"networks", "peers"}:
        hint = 'write kind = "ensemble" (--teacher-kind ensemble)' if "network" in takes else "leave them out"
        found.append(Fault("teacher.members", f"'{member.name}' takes no several networks", hint))
    if model and (not takes & {"network", "networks", "file"} or member.name == "born_again") and not trained:
        hint = "leave out model (--teacher)" + (", or name peers as [[teacher.members]]" if "peers" in takes else "")
        found.append(Fault("teacher.model", f"'{member.name}' takes no trained network", hint))
    return found


def _specialist_faults(raw: Mapping[str, Any], teacher: Mapping[str, Any]) -> list[Fault]:
    """Whether clusters are either made by the run or given with the specialists."""
    kind, options = teacher.get("kind", "network"), _table(teacher, "kind_options")
    stated = raw.get("specialists") is not None
    if kind != "specialists":
        hint = 'write kind = "specialists" in [teacher] (--teacher-kind specialists)'
        return [Fault("specialists", f"a teacher of kind '{kind}' trains no specialists", hint)] if stated else []
    if teacher.get("members"):
        if stated:
            hint = "leave out [specialists] or [[teacher.members]]"
            return [Fault("specialists", "the specialists are given as members, so none are trained", hint)]
        if not options.get("clusters"):
            hint = "write clusters = [[0, 3], [5, 7]] in [teacher.kind_options]: the classes of each, in order"
            return [Fault("teacher.kind_options.clusters", "which classes do the given specialists know?", hint)]
    elif options:
        hint = "leave out kind_options, or name trained specialists as [[teacher.members]]"
        return [Fault("teacher.kind_options", "the run finds the clusters itself", hint)]
    return []


def _loss_faults(losses: object, section: str) -> list[Fault]:
    found: list[Fault] = []
    for index, entry in enumerate(losses if isinstance(losses, list | tuple) else ()):
        if isinstance(entry, Mapping):
            where = f"{section}.losses.{index}"
            member = _member("losses", str(entry.get("name", "kd")), f"{where}.name", found)
            if member:
                options = {key: value for key, value in entry.items() if key not in ("name", "weight")}
                for key, value in list(options.items()):
                    if value == "auto" and key in SWEPT and key in {option.name for option in member.options}:
                        found += _sweep_faults(member.name, key, section=section, where=f"{where}.{key}")
                        del options[key]
                    elif is_ramp(value):
                        found += _ramp_faults(value, where=f"{where}.{key}")
                        options[key] = value["end"]
                found += registry.option_faults(member, options, where=where)
    return found


def _sweep_faults(loss: str, option: str, *, section: str, where: str) -> list[Fault]:
    if section != "distill":
        return [Fault(where, "auto is found by a sweep of distillation alone", "write a number")]
    if option == "alpha" and loss != "kd":
        return [Fault(where, f"auto is for the share of kd, and alpha of '{loss}' is a weight", "write a number")]
    return []


def _ramp_faults(ramp: Mapping[str, Any], *, where: str) -> list[Fault]:
    try:
        RampSettings.model_validate(ramp)
    except ValidationError as error:
        return [replace(_fault(details), where=where) for details in _by_place(error).values()]
    return []


def _runtime_faults(bench: Mapping[str, Any]) -> list[Fault]:
    """Faults of `bench.runtimes`, of those of a profile, and of `[bench.runtime.NAME]`."""
    found: list[Fault] = []
    own = _table(bench, "runtime")
    for name in own:
        options = {key: value for key, value in _table(own, name).items() if key != "name"}
        member = _member("runtimes", str(_table(own, name).get("name", "")), f"bench.runtime.{name}.name", found)
        if member:
            found += registry.option_faults(member, options, where=f"bench.runtime.{name}")
            if not str(name).startswith(member.name):  # tables tell by the name what a model ran on
                hint = f"call it {member.name}_{name}"
                found.append(Fault(f"bench.runtime.{name}", f"a '{member.name}' must show it in its name", hint))
    named = [("bench.runtimes", bench.get("runtimes", ()))]
    profiles = _table(bench, "profile")
    named += [(f"bench.profile.{name}.runtimes", _table(profiles, name).get("runtimes", ())) for name in profiles]
    for where, names in named:
        for index, name in enumerate(names if isinstance(names, list | tuple) else ()):
            if name not in own:
                _member("runtimes", str(name), f"{where}.{index}", found)
    return found


def _member(family: str, name: str, where: str, found: list[Fault]) -> registry.Member | None:
    try:
        return registry.find(family, name)
    except CompressError as fault:
        found.append(Fault(where, fault.message, fault.hint))
        return None


def _table(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = raw.get(key)
    return table if isinstance(table, Mapping) else {}


def _by_place(error: ValidationError) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    """The details of a pydantic error by the key the user wrote, which a union gives for each alternative it tried.

    What is wrong inside a value says more than that the whole value does not fit, so only the inner ones are kept.
    """
    places: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for detail in error.errors():
        place = tuple(str(part) for part in detail["loc"] if not _is_union_branch(part))
        places.setdefault(place, []).append(detail)
    outer = {place[:length] for place in places for length in range(len(place))}
    return {place: details for place, details in places.items() if place not in outer}


def _fault(details: Sequence[Mapping[str, Any]]) -> Fault:
    """The pydantic errors of one key as one of ours: the dotted key, the value, what it should be or the nearest key."""
    detail = details[0]
    path = [str(part) for part in detail["loc"] if not _is_union_branch(part)]
    where = ".".join(path)
    if detail["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        return Fault(where, f"no setting is called '{path[-1]}'", registry.nearest(path[-1], known, "known here:"))
    if detail["type"] == "missing":
        return Fault(where, "must be given", f'write {path[-1]} = "..." in [{".".join(path[:-1])}]')
    wanted = " or ".join(dict.fromkeys(_wanted(detail) for detail in details)).replace(" or be ", " or ")
    return Fault(where, f"{detail['input']!r} is not allowed: should {wanted}", None)


def _wanted(detail: Mapping[str, Any]) -> str:
    """What pydantic would have taken, to stand after "should"."""
    named = {
        "string_pattern_mismatch": "begin with a letter or digit, then letters, digits, '.', '_' or '-'",
        "string_type": "be text",
        "model_type": "be a table",
        "dict_type": "be a table",
        "tuple_type": "be a list",
        "bool_type": "be true or false",
        "bool_parsing": "be true or false",
    }
    message = re.sub(r"^(Value error, |Input should |\w+ should )", "", str(detail["msg"]))
    message = re.sub(
        r", unable to parse .*$|, got a number with a fractional part$| after validation, not 0$", "", message
    )
    return named.get(detail["type"], message).replace("be a valid ", "be a ").replace("be a integer", "be an integer")


def _is_union_branch(part: object) -> bool:
    """Pydantic adds the name of the tried alternative to the location of a union; users do not write those."""
    text = str(part)
    return text in {"int", "float", "str", "bool"} or text.startswith(
        ("literal[", "tuple[", "constrained-", "function-")
    )


def _keys_at(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in path:
        field = model.model_fields.get(part)
        if field is None:
            continue
        inner = [a for a in (field.annotation, *get_args(field.annotation)) if isinstance(a, type)]
        inner += [b for a in get_args(field.annotation) for b in get_args(a) if isinstance(b, type)]
        tables = [a for a in inner if issubclass(a, BaseModel)]
        if not tables:
            return []
        model = tables[0]
    return list(model.model_fields)


def _assign(table: Any, path: list[str], value: Any, assignment: str) -> None:
    *parents, last = path
    walked: list[str] = []
    for part in parents:
        walked.append(part)
        table = _step(table, part, assignment, walked)
    if isinstance(table, list):
        index = _index(table, last, assignment)
        table[index : index + 1] = [value]
    elif isinstance(table, dict):
        table[last] = value
    else:
        raise InputError(f"'{'.'.join(walked)}' is not a table", where=f"--set {assignment}")


def _step(table: Any, part: str, assignment: str, walked: list[str]) -> Any:
    if isinstance(table, list):
        index = _index(table, part, assignment)
        if index == len(table):
            table.append({})
        return table[index]
    if not isinstance(table, dict):
        raise InputError(f"'{'.'.join(walked[:-1])}' is not a table", where=f"--set {assignment}")
    if table.get(part) is None:  # absent, or null in a recipe that a run has resolved
        table[part] = [] if part == "losses" else {}
    return table[part]


def _index(items: list[Any], part: str, assignment: str) -> int:
    if not part.isdecimal() or int(part) > len(items):
        raise InputError(
            f"'{part}' is no position in this list", where=f"--set {assignment}", hint="write a number, from 0"
        )
    return int(part)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
