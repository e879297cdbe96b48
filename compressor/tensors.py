"""Named tensors: what a sample is made of, what a batch holds, what a network predicts, and what losses compare.

A `Schema` names the tensors of one sample without their batch axis; a string in a shape is an axis that varies from sample
to sample or from batch to batch ("tokens", "height"). Data says what it gives (`inputs`, `targets`), a network what it takes
and gives, and whatever stands between them reads the schema instead of assuming one array, one label and one output.

Shape letters used throughout: B batch, N samples of a set, K classes or outputs, C channels, H height, W width, L length,
T tokens, M rows that a logit loss compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Union

from compressor.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

Inputs = Union["Tensor", "Mapping[str, Tensor]"]  # packs run on Python 3.9, which has no `|` of types
"""What a network is called with: inputs by name, or the one that it has."""

LABEL = "label"
"""The target of a task that tells one class of several: a class number, int64 `[]`."""
MEMBERS = "members"
"""The target of a task that tells sets of classes: whether each class is there, bool `[K]`."""
VALUES = "values"
"""The target of a task that predicts numbers: float32 `[K]`."""
MASK = "mask"
"""The target of a task that tells the class of each pixel: class numbers uint8 `[H, W]`, `IGNORED` where none counts."""
IGNORED = 255
"""What a pixel holds that counts for nothing, in memory; what it is in a file is for the format to know."""
ATTENTION_MASK = "attention_mask"
"""The input `[B, L]` that is 1 at tokens and 0 at padding, as in transformers."""
LOGITS = "logits"
"""The output of a task that has one: the raw output of the network."""


@dataclass(frozen=True)
class TensorSpec:
    """One named tensor of a sample, without its batch axis.

    Attributes:
        name: What it is called in a batch, in a network's signature and in an ONNX file.
        dtype: As NumPy and torch call it: `uint8`, `float32`, `int64`, `bool`. uint8 is bytes of 0–255 that a network sees
            in 0–1.
        shape: Sizes of its axes; a string names an axis that varies.
        padding: What stands behind the end of a sample that is shorter than others of its batch.
        kind: The member of `inputs` that knows what it is, where that cannot be told from type and shape.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    padding: int = 0
    kind: str = ""

    @property
    def varying(self) -> tuple[str, ...]:
        """Names of the axes that vary."""
        return tuple(axis for axis in self.shape if isinstance(axis, str))

    def at(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with sizes for the axes that vary.

        Raises:
            KeyError: An axis has no size.
        """
        return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in self.shape)

    def admits(self, shape: Sequence[int | str]) -> bool:
        """Whether a sample of this shape, without the batch axis, is one of these."""
        return len(shape) == len(self.shape) and all(
            isinstance(axis, str) or axis == size for axis, size in zip(self.shape, shape)
        )

    def as_json(self) -> dict[str, Any]:
        """What a manifest keeps."""
        stated = {"padding": self.padding, "kind": self.kind}
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            **{name: value for name, value in stated.items() if value},
        }

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Schema:
    """Several named tensors, in the order in which a network takes or gives them."""

    specs: tuple[TensorSpec, ...]

    @classmethod
    def of(cls, *specs: TensorSpec) -> Schema:
        """The schema of these tensors."""
        return cls(specs)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Any]) -> Schema:
        """The schema of samples that lie in NumPy arrays, each `[N, ...]`."""
        return cls(tuple(TensorSpec(name, array.dtype.name, array.shape[1:]) for name, array in arrays.items()))

    @classmethod
    def from_json(cls, kept: Sequence[Mapping[str, Any]]) -> Schema:
        """What `as_json` wrote."""
        return cls(
            tuple(
                TensorSpec(
                    str(each["name"]),
                    str(each["dtype"]),
                    tuple(each["shape"]),
                    int(each.get("padding", 0)),
                    str(each.get("kind", "")),
                )
                for each in kept
            )
        )

    def as_json(self) -> list[dict[str, Any]]:
        """What a manifest keeps."""
        return [spec.as_json() for spec in self.specs]

    def __iter__(self) -> Iterator[TensorSpec]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def __getitem__(self, name: str) -> TensorSpec:
        for spec in self.specs:
            if spec.name == name:
                return spec
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(spec.name == name for spec in self.specs)

    @property
    def names(self) -> tuple[str, ...]:
        """What its tensors are called, in their order."""
        return tuple(spec.name for spec in self.specs)

    @property
    def only(self) -> TensorSpec | None:
        """The tensor of a schema that has one; None where there are several."""
        return self.specs[0] if len(self.specs) == 1 else None

    @property
    def varying(self) -> tuple[str, ...]:
        """Every axis that varies, once, in the order in which they appear."""
        return tuple(dict.fromkeys(axis for spec in self.specs for axis in spec.varying))

    def sizes(self, tensors: Mapping[str, Any]) -> dict[str, int]:
        """The size that each axis that varies has in a batch."""
        return {
            axis: int(size)
            for spec in self.specs
            if spec.name in tensors
            for axis, size in zip(spec.shape, tensors[spec.name].shape[1:])
            if isinstance(axis, str)
        }

    def check(self, tensors: Mapping[str, Any], *, what: str, where: str = "", batched: bool = True) -> None:
        """Refuse tensors that are not these: names, shapes, one size for each axis that varies.

        Args:
            tensors: Arrays or torch tensors by name.
            what: Of what, in words ("the training samples").
            where: What they came from, for the error text.
            batched: Whether they have a batch axis in front.

        Raises:
            DataError: They are not these.
        """
        missing = [name for name in self.names if name not in tensors]
        if missing:
            raise DataError(
                f"{what} lack '{missing[0]}'; they hold {', '.join(tensors) or 'nothing'}",
                where=where,
                hint=f"give {', '.join(map(str, self.specs))}",
            )
        sizes: dict[str, int] = {}
        for spec in self.specs:
            shape = tuple(tensors[spec.name].shape)[1 if batched else 0 :]
            fits = spec.admits(shape)
            for axis, size in zip(spec.shape, shape) if fits else ():
                fits = fits and (not isinstance(axis, str) or sizes.setdefault(axis, size) == size)
            if not fits:
                raise DataError(
                    f"'{spec.name}' of {what} has the shape {list(shape)}", where=where, hint=f"give {spec}"
                )

    def __str__(self) -> str:
        return ", ".join(map(str, self.specs))


class TaskInBatch(Protocol):
    """The part of a task that a loss may ask for."""

    def hard_loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Loss against the targets alone; a scalar, mean over the batch."""
        ...

    def hard_losses(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """The same for each sample, `[B]`; what is weighted where samples are mixed or have no target."""
        ...

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """What logit losses compare."""
        ...


@dataclass(frozen=True)
class Rows:
    """What losses on outputs compare: rows of numbers, each a decision of its own.

    Attributes:
        values: `[M, K]`; a row is a sample, a class of a sample, a token or a pixel.
        kind: How a row is read: `softmax` (logits of classes of which one is right), `values` (numbers in units of their
            spread), `embedding` (a direction). A class that is there or not is a row of two logits, 0 and its own.
        weight: `[M]`, 0 for a row that stands for nothing (padding, an ignored pixel) and 1 for one that counts; None where
            every row does.
        per_sample: Rows that each sample has; 1 where a row is a sample.
        target: `[M]` the one right class of each row, −1 where it is not known; None where rows have no such class.
    """

    values: Tensor
    kind: str = "softmax"
    weight: Tensor | None = None
    per_sample: int = 1
    target: Tensor | None = None


@dataclass(frozen=True)
class Mixed:
    """What each sample of a batch was mixed with (mixup, CutMix).

    Attributes:
        targets: Of the partner, by name.
        labelled: `[B]` bool, whether the partner has targets.
        share: `[B]` float32 in 0–1, of the sample itself; the rest is the partner's.
        sample_ids: `[B]` position of the partner in its split, where it is known.
    """

    targets: Mapping[str, Tensor]
    labelled: Tensor
    share: Tensor
    sample_ids: Tensor | None = None

    def rows(self, rows: Tensor | slice) -> Mixed:
        """Some rows, by position."""
        ids = None if self.sample_ids is None else self.sample_ids[rows]
        return Mixed(taken(self.targets, rows), self.labelled[rows], self.share[rows], ids)

    def joined(self, other: Mixed) -> Mixed:
        """These rows, then those of another; partners are known where both know theirs."""
        from torch import cat

        known = self.sample_ids is not None and other.sample_ids is not None
        ids = cat([self.sample_ids, other.sample_ids]) if known else None  # type: ignore[list-item]
        return Mixed(
            appended(self.targets, other.targets),
            cat([self.labelled, other.labelled]),
            cat([self.share, other.share]),
            ids,
        )


@dataclass(frozen=True)
class Batch:
    """One batch as a network sees it.

    Attributes:
        inputs: By name, each `[B, ...]`: pixels in 0–1, before the network's own normalization.
        targets: By name, each `[B, ...]`, as the task wants them; of a sample without targets they stand for nothing.
        labelled: `[B]` bool, which samples have targets.
        sample_ids: `[B]` position of each sample in its split; what a teacher cache and a view are keyed by.
        view: Number of the view that `inputs` shows; -1 for the plain, unaugmented sample.
        task: What the outputs mean.
        mixed: What each sample was mixed with, where views mix.
        shared: Whether every process of the job has as many rows of the same batch, so that they can be compared.
    """

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    labelled: Tensor
    sample_ids: Tensor
    view: int
    task: TaskInBatch
    mixed: Mixed | None = None
    shared: bool = True

    def __len__(self) -> int:
        return len(self.labelled)

    @property
    def call(self) -> Inputs:
        """What a network is called with: the one input, or all of them by name."""
        return call_of(self.inputs)

    @property
    def device(self) -> Any:
        """Where its tensors are."""
        return next(iter(self.inputs.values())).device

    def rows(self, rows: Tensor | slice, *, shared: bool = False) -> Batch:
        """Some rows of the batch, by position; `shared` says that every process takes as many."""
        return replace(
            self,
            shared=shared,
            inputs=taken(self.inputs, rows),
            targets=taken(self.targets, rows),
            labelled=self.labelled[rows],
            sample_ids=self.sample_ids[rows],
            mixed=None if self.mixed is None else self.mixed.rows(rows),
        )

    def joined(self, other: Batch) -> Batch:
        """These rows, then those of another batch of the same kind; view and task are this one's."""
        from torch import cat

        both = self.mixed is not None and other.mixed is not None
        return replace(
            self,
            inputs=appended(self.inputs, other.inputs),
            targets=appended(self.targets, other.targets),
            labelled=cat([self.labelled, other.labelled]),
            sample_ids=cat([self.sample_ids, other.sample_ids]),
            mixed=self.mixed.joined(other.mixed) if both else self.mixed,  # type: ignore[union-attr, arg-type]
        )

    def hard_loss(self, outputs: Outputs) -> Tensor:
        """The task's loss against the targets, a scalar in float32; each target in its share where samples are mixed.

        Zhang et al. 2018 (mixup, arXiv 1710.09412) mix one-hot labels; for losses that are linear in the label, such as
        cross-entropy, that is the same as mixing the losses. It is the mean over samples that have targets, each in the
        share of its targets that it has; 0 where there is none.
        """
        tensors = {name: tensor.float() for name, tensor in outputs.tensors.items()}
        if self._all_labelled():
            if self.mixed is None:
                return self.task.hard_loss(tensors, self.targets)
            own_B = self.task.hard_losses(tensors, self.targets)
            partner_B = self.task.hard_losses(tensors, self.mixed.targets)
            return (self.mixed.share * own_B + (1 - self.mixed.share) * partner_B).mean()
        weight_B, loss_B = self._labelled(tensors, self.targets, self.labelled)
        if self.mixed is not None:
            partners_B, partner_loss_B = self._labelled(tensors, self.mixed.targets, self.mixed.labelled)
            share_B = self.mixed.share.to(loss_B.dtype)
            loss_B = share_B * loss_B + (1 - share_B) * partner_loss_B
            weight_B = share_B * weight_B + (1 - share_B) * partners_B
        total = weight_B.sum()
        return loss_B.sum() / total.where(total > 0, 1)

    def _all_labelled(self) -> bool:
        """Whether that is known at no cost: asking a GPU would wait for it."""
        given = [self.labelled] if self.mixed is None else [self.labelled, self.mixed.labelled]
        return self.labelled.device.type == "cpu" and all(bool(each.all()) for each in given)

    def _labelled(
        self, tensors: Mapping[str, Tensor], targets: Mapping[str, Tensor], labelled: Tensor
    ) -> tuple[Tensor, Tensor]:
        """1 for each sample that has targets and 0 for the others, and the loss of those that have some, `[B]` both."""
        each_B = self.task.hard_losses(tensors, targets)
        return labelled.to(each_B.dtype), each_B.where(labelled, 0)


@dataclass(frozen=True)
class Outputs:
    """What a network or a teacher predicts for a batch.

    Attributes:
        tensors: By name, each `[B, ...]`: the raw outputs of the network.
        features: Output of each feature layer, by its dotted path.
    """

    tensors: Mapping[str, Tensor]
    features: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, output: Tensor | Mapping[str, Tensor], features: Mapping[str, Tensor] | None = None) -> Outputs:
        """What a network returned: several outputs by name, or one, which is called `logits`."""
        return cls(output if isinstance(output, Mapping) else {LOGITS: output}, features or {})

    @property
    def logits(self) -> Tensor:
        """The output of a network that has one; the one called `logits` where there are several."""
        if len(self.tensors) == 1:
            return next(iter(self.tensors.values()))
        return self.tensors[LOGITS]

    def rows(self, rows: Tensor | slice) -> Outputs:
        """The same of some samples, by position; features are left out."""
        return Outputs(taken(self.tensors, rows))

    def changed(self, change: Callable[[Tensor], Tensor]) -> Outputs:
        """Each tensor changed in the same way; features are left out."""
        return Outputs({name: change(tensor) for name, tensor in self.tensors.items()})

    def detached(self) -> Outputs:
        """The same as a target: cut off from whoever predicted it."""
        return Outputs(
            {name: tensor.detach() for name, tensor in self.tensors.items()},
            {path: feature.detach() for path, feature in self.features.items()},
        )


def call_of(inputs: Mapping[str, Tensor]) -> Inputs:
    """What a network is called with: the one input, or all of them by name."""
    return next(iter(inputs.values())) if len(inputs) == 1 else inputs


def taken(tensors: Mapping[str, Tensor], rows: Tensor | slice) -> dict[str, Tensor]:
    """Some rows of every tensor."""
    return {name: tensor[rows] for name, tensor in tensors.items()}


def appended(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rows of one and then those of another, tensor by tensor; where sizes differ the shorter is padded with zeros."""
    from torch import cat

    found = {}
    for name, mine in first.items():
        theirs = second[name]
        longest = [max(a, b) for a, b in zip(mine.shape[1:], theirs.shape[1:])]
        found[name] = cat([_padded(mine, longest), _padded(theirs, longest)])
    return found


def _padded(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    from torch.nn.functional import pad

    if list(tensor.shape[1:]) == list(sizes):
        return tensor
    beyond = [(0, size - own) for own, size in zip(tensor.shape[1:], sizes)]
    return pad(tensor, [amount for pair in reversed(beyond) for amount in pair])
