"""The stages by name, and the settings of those that train: from the teacher to the links that change a network.

What all of them share (epochs, optimizer, schedule, device) stands in `TrainingSettings`; what they learn from, as losses
whose weights and options may change over the run; then `[train]`, `[distill]`, `[specialists]`, `[prune]` and
`[quantize]`, each with what it adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from compressor.recipe._base import Settings

StageName = Literal["train", "distill", "prune", "quantize", "export", "bench", "report"]


STAGES: tuple[StageName, ...] = get_args(StageName)


LINKS: tuple[StageName, ...] = ("distill", "prune", "quantize")
"""Stages that make the network that is shipped out of the one before it."""


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


_LATER: Mapping[str, Any] = {"accumulate": 1, "group_by_length": "auto", "layer_decay": None}
"""Settings of training that were added after networks had been kept, with the values that change nothing."""


class TrainingSettings(Settings):
    """How a network is trained; shared by every stage that trains."""

    epochs: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="auto: 30, or as many as come to 300 steps"
    )
    batch_size: Annotated[int, Field(ge=2)] | Literal["auto"] = Field(
        "auto", description="auto: 128, or less (16 at least) where an epoch would have fewer than 10 steps"
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="compute a batch in so many parts, one after another, and make one step of them",
    )
    group_by_length: bool | Literal["auto"] = Field(
        "auto", description="batches of samples of like length; auto: where samples differ in length"
    )
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[float, Field(gt=0.0)] | Literal["auto"] = Field(
        "auto", description="peak learning rate; auto: 1e-3 (adamw), 0.1 (sgd)"
    )
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="sgd only; Nesterov")
    weight_decay: Annotated[float, Field(ge=0.0)] | Literal["auto"] = Field(
        "auto", description="auto: 0.05 (adamw), 5e-4 (sgd)"
    )
    layer_decay: float | None = Field(
        None, gt=0.0, le=1.0, description="the rate falls by this factor from block to block, from the head down"
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

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what came later and is not stated: networks that were trained before are found again by their key."""
        kept: dict[str, Any] = dump(self)
        for name, usual in _LATER.items():
            if name in kept and kept[name] == usual:
                del kept[name]
        return kept

    @model_validator(mode="after")
    def _parts_of_two(self) -> TrainingSettings:
        if self.batch_size != "auto" and self.batch_size < 2 * self.accumulate:
            raise ValueError(
                f"cannot be taken in {self.accumulate} parts of at least two samples (batch_size = {self.batch_size})"
            )
        return self


class TrainSettings(TrainingSettings):
    """`[train]`: train the teacher from the labels alone."""


def usual_loss(task: Sequence[str] | None) -> LossSettings:
    """The loss on predictions where none is stated: kd, or their distance where the task gives numbers (`rows:values`)."""
    return LossSettings(name="mse_logits") if "rows:values" in (task or ()) else LossSettings()


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
    losses: tuple[LossSettings, ...] = Field((), description="empty: what suits the task, most often kd")
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
    measured_as: Literal["auto", "float", "int8"] = Field(
        "auto", description="the form that latency and size_mb are measured in; auto: int8 where quantize makes it so"
    )
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

    @property
    def measures_files(self) -> bool:
        """Whether what the cut aims at is measured on exported files, so that their form matters."""
        return self.target[0] in ("latency", "size_mb")


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
