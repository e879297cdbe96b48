"""The recipe as frozen settings: data, task, networks, export and measurements, and `Recipe`, which holds everything.

A class stands for one table of the TOML file; types, ranges and the words of the help are in its fields. The tables of
the stages that train are in `links`. What a setting means in the light of others (which stages run, whether the labels
are hidden) is told by `Recipe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from compressor import registry
from compressor.recipe._base import Settings, table_of
from compressor.recipe.capabilities import needs_of, share_of_labels, task_gives
from compressor.recipe.links import (
    LINKS,
    DistillSettings,
    LossSettings,
    PruneSettings,
    QuantizeSettings,
    SpecialistSettings,
    StageName,
    TrainSettings,
    usual_loss,
)

_OLD_JITTER = "colour_jitter"


class OwnViewSettings(BaseModel):
    """One entry of `[data.views] own`: a view of the user's, and its own options beside its name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """What goes to the view's constructor."""
        return dict(self.model_extra or {})


class ViewSettings(Settings):
    """`[data.views]`: the random augmentation shown in training; each member of `views` has a field of its name."""

    crop: int | Literal["auto"] = Field("auto", description="pixels of zero padding around a random crop; 0 for none")
    flip: bool | Literal["auto"] = Field("auto", description="mirror left to right for half of the samples")
    resized_crop: float = Field(
        0.0, ge=0.0, lt=1.0, description="least share of the area a resized crop keeps; 0: none"
    )
    color_jitter: float = Field(0.0, ge=0.0, le=1.0, description="strength of random brightness, contrast, saturation")
    rand_augment: int = Field(0, ge=0, le=8, description="random operations for each image; 0: none")
    magnitude: int = Field(9, ge=0, le=30, description="strength of rand_augment's operations, out of 30")
    erasing: float = Field(0.0, ge=0.0, le=1.0, description="chance that a random rectangle is erased")
    mixup: float = Field(0.0, ge=0.0, description="alpha of mixup; 0: none")
    cutmix: float = Field(0.0, ge=0.0, description="alpha of CutMix; 0: none. With mixup, half of the views have each")
    own: tuple[OwnViewSettings, ...] = Field(
        (), description='your own, after all but mixing: [{ name = "mine.py:Noise", strength = 0.1 }]'
    )
    count: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="views of each sample, shown in turn; 0: a fresh view in every epoch, and no teacher cache"
    )
    seed: int = Field(0, ge=0, description="seed of counted views; the same for every training seed")

    @model_validator(mode="before")
    @classmethod
    def _under_the_old_name(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or _OLD_JITTER not in raw or "color_jitter" in raw:
            return raw
        return {"color_jitter" if name == _OLD_JITTER else name: value for name, value in raw.items()}

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As it was before views had American names and could be one's own: artifacts are found again by their key."""
        kept: dict[str, Any] = {
            _OLD_JITTER if name == "color_jitter" else name: value for name, value in dump(self).items()
        }
        if not kept.get("own"):
            kept.pop("own", None)
        return kept


class DataSettings(Settings):
    """`[data]`: where samples come from and how they are split."""

    source: str = Field(
        description="digits | images:DIR | idx:DIR | cifar:DIR | npz:FILE | csv:FILE | huggingface:NAME | py:FILE:callable"
    )
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

    model: str = Field(
        description="file.py[:callable] | zoo: | timm: | torchvision: | transformers:NAME | cut:teacher | t.pt | artifact"
    )
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
    return teacher.get("kind") or (_KIND_OF_FILE.get(suffix, "network") if alone else "network")


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


class ExportSettings(Settings):
    """`[export]`: the ONNX file and its parity gate."""

    opset: Annotated[int, Field(ge=7)] | Literal["auto"] = Field(
        "auto", description="auto: the exporter's own, see the manifest"
    )
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
    curve_batches: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="batches of the throughput-latency curve; empty: no curve"
    )
    curve_threads: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0,), description="thread counts of the curve; 0: all cores"
    )


DEFAULT_PROFILES: Mapping[str, ProfileSettings] = {
    "edge": ProfileSettings(threads=1, batch=1, arena=False),
    "server": ProfileSettings(threads=0, batch=32, curve_batches=(1, 8, 64), curve_threads=(1, 0)),
    "gpu": ProfileSettings(
        threads=0,
        batch=32,
        pin=False,
        runtimes=("torch_cuda", "ort_cuda", "ort_tensorrt"),
        curve_batches=(1, 8, 32, 128),
    ),
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
    profile: dict[str, ProfileSettings] = Field(
        default_factory=dict, description="[bench.profile.NAME]: your own, or what is other in a built-in one"
    )
    runtime: dict[str, RuntimeSettings] = Field(
        default_factory=dict, description="[bench.runtime.NAME]: a runtime with options, under a name of its own"
    )
    min_seconds: float = Field(2.0, gt=0.0, description="timed seconds for each model, runtime and profile")
    min_samples: int = Field(200, ge=20, description="fewest timed runs of each")
    blocks: int = Field(20, ge=5, description="alternating blocks; the speed-up interval comes from their ratios")
    starts: int = Field(5, ge=1, description="how often each process is started anew, for a share of the blocks")
    attempts: int = Field(3, ge=1, description="timings whose blocks disagree are taken again, this often at most")
    operators: bool = Field(True, description="also time each operator of the ONNX models")
    shapes: dict[str, tuple[Annotated[int, Field(ge=1)], ...]] = Field(
        default_factory=dict,
        description="sizes to time at of each axis that varies, by its name (tokens = [16, 128]); empty: its usual size",
    )
    max_drop: float | None = Field(None, ge=0.0, description="budget: metric points below the teacher, in percent")
    max_latency_ms: float | None = Field(None, gt=0.0, description="budget: p50 of the student, first profile")
    max_size_mb: float | None = Field(None, gt=0.0, description="budget: size of the ONNX file in MB (10^6 bytes)")

    @model_validator(mode="before")
    @classmethod
    def _from_the_built_in(cls, raw: Any) -> Any:
        """A table under the name of a built-in profile says what is other in it."""
        stated = table_of(raw, "profile") if isinstance(raw, Mapping) else {}
        begun = {
            name: {**profile.model_dump(), **table_of(stated, name)}
            for name, profile in DEFAULT_PROFILES.items()
            if isinstance(stated.get(name), Mapping)
        }
        return {**raw, "profile": {**stated, **begun}} if begun else raw

    @field_validator("shapes", mode="before")
    @classmethod
    def _one_size_is_a_list_of_one(cls, raw: Any) -> Any:
        """`tokens = 128` is `tokens = [128]`."""
        if not isinstance(raw, Mapping):
            return raw
        return {axis: [size] if isinstance(size, int) else size for axis, size in raw.items()}

    @field_validator("shapes")
    @classmethod
    def _some_size(cls, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        for axis, sizes in shapes.items():
            if not sizes:
                raise ValueError(f"'{axis}' has no size")
        return shapes

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Measurements of before `shapes` were settings are found again by their key."""
        kept: dict[str, Any] = dump(self)
        if not kept.get("shapes"):
            kept.pop("shapes", None)
        return kept

    def profile_named(self, name: str) -> ProfileSettings:
        """The user's profile of that name, or the built-in one."""
        return self.profile.get(name) or DEFAULT_PROFILES[name]

    def runtimes_under(self, name: str) -> tuple[str, ...]:
        """What is measured under a profile: what it names; under the built-in `gpu`, those of ours that run on one."""
        profile = self.profile_named(name)
        if name == "gpu" and profile.runtimes == DEFAULT_PROFILES["gpu"].runtimes:
            own = tuple(each for each in self.runtimes if _runs_on_a_gpu(self.runtime_named(each).name))
            return own or profile.runtimes
        return profile.runtimes or self.runtimes

    def runtime_named(self, name: str) -> RuntimeSettings:
        """The runtime of that name with its options: the user's own, or a member of the family as it is."""
        return self.runtime.get(name) or RuntimeSettings(name=name)


BUDGETS = tuple(name for name in BenchSettings.model_fields if name.startswith("max_"))


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
        return _without_share_of_labels(raw) if isinstance(raw, Mapping) and hides_labels(raw) else raw

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
        if self.teacher is None or "clusters" not in needs_of(self.teacher.kind) or self.teacher.members:
            return None
        return self.specialists or SpecialistSettings()


def _runs_on_a_gpu(runtime: str) -> bool:
    return "gpu" in registry.find("runtimes", runtime).needs


def hides_labels(raw: Mapping[str, Any]) -> bool:
    """Whether a recipe says that its training samples have no labels."""
    return table_of(raw, "data").get("labels") is False


def _without_share_of_labels(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with the labels' share (1 − `alpha` of `kd`) at 0 where none is stated, since labels are hidden."""
    changed = dict(raw)
    usual = usual_loss(task_gives(str(table_of(raw, "task").get("name", TaskSettings().name))))
    unstated: list[dict[str, Any]] = [{}] if usual == LossSettings() else []
    for section in ("distill", "prune", "quantize"):
        table = raw.get(section)
        if table is None and section == "distill" and raw.get("student"):
            table = {}
        losses = table.get("losses", unstated) if isinstance(table, Mapping) else None
        if isinstance(table, Mapping) and isinstance(losses, list | tuple):
            changed[section] = {**table, "losses": [_by_the_teacher_alone(each) for each in losses]}
    return changed


def _by_the_teacher_alone(loss: Any) -> Any:
    if not isinstance(loss, Mapping):
        return loss
    name = str(loss.get("name", LossSettings().name))
    share = share_of_labels(name)
    return loss if share is None else {"name": name, share.option: float(share.bound), **loss}
