"""What losses on features share: which modules of student and teacher are compared, and the parts fitted to their shapes.

A loss on features is an `nn.Module` made in two steps: its options first, and, once both networks are there, `settle` with
the shapes of their features. What it builds then (a projector, say) is trained along and never exported.

Where samples differ in length, tokens that only pad a batch take no part: what a loss makes of a sample does not hang on
what it was batched with.

Shape letters: B batch, C channels, H height, W width, L tokens, D width of a token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from compressor.errors import InputError, ModelError
from compressor.losses._contract import Context
from compressor.losses._together import whole
from compressor.tensors import ATTENTION_MASK, Batch, Outputs

Shapes = Mapping[str, tuple[int, ...]]
Pair = tuple[str, str]


class FeatureLoss(nn.Module):
    """Compares the outputs of pairs of tapped modules.

    Attributes:
        needs: What it needs of the others; a member writes it out in its own class, whose source is read.
        most_pairs: How many pairs `auto` picks at most, from the deepest up.
        same_size: Whether `auto` pairs only features of one height and width (or number of tokens).
        any_kind: Whether `auto` may pair a map with tokens, because samples are compared rather than places (`of_sample`).
        among_samples: Whether `compare` holds samples against one another, so that it wants the rows of all processes.
        scale: What the loss is multiplied by, so that a weight of 1 is about what its authors trained with.
    """

    needs: ClassVar[tuple[str, ...]] = ("features",)
    most_pairs: ClassVar[int] = 4
    same_size: ClassVar[bool] = False
    any_kind: ClassVar[bool] = False
    among_samples: ClassVar[bool] = False

    def __init__(self, pairs: str | Sequence[Sequence[str]], *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.pairs: tuple[Pair, ...] = ()
        self._stated = pairs
        if isinstance(pairs, str):
            if pairs != "auto":
                raise InputError(f"'{pairs}' is no list of pairs", where="pairs", hint=_PAIRS_HINT)
        elif not pairs or not all(len(pair) == 2 and all(isinstance(path, str) for path in pair) for pair in pairs):
            raise InputError(f"{list(pairs)} is no list of pairs", where="pairs", hint=_PAIRS_HINT)

    @property
    def picks_pairs(self) -> bool:
        """Whether the modules that are compared are chosen, rather than stated."""
        return isinstance(self._stated, str)

    @property
    def on_modules(self) -> bool:
        """Whether it looks inside of the networks, rather than at their outputs."""
        return True

    @property
    def reads(self) -> tuple[Pair, ...]:
        """The modules of student and teacher whose outputs are needed: those that are compared, unless it says more."""
        return self.pairs

    def prepare(self, context: Context) -> None:
        """What is known of the run, before `settle`; by default not needed."""

    def settle(self, student: Shapes, teacher: Shapes) -> str:
        """Decide which modules are compared, and build what that takes.

        Args:
            student: Output shape of each module for a batch of two, in the order they finish.
            teacher: Likewise.

        Returns:
            The pairs and why they are these, for the manifest.

        Raises:
            ModelError: A stated module gives no features, or there is nothing to pair.
        """
        if isinstance(self._stated, str):
            self.pairs, why = self.choose(student, teacher)
        else:
            self.pairs = tuple((mine, theirs) for mine, theirs in self._stated)
            why = "as stated"
            for mine, theirs in self.pairs:
                for path, shapes, who in ((mine, student, "student"), (theirs, teacher, "teacher")):
                    if path not in shapes:
                        raise ModelError(f"no features at '{path}' of the {who}", where="pairs", hint=_PAIRS_HINT)
        self.build([(student[mine], teacher[theirs]) for mine, theirs in self.pairs])
        shown = "; ".join(
            f"{mine} {_size(student[mine])} ← {theirs} {_size(teacher[theirs])}" for mine, theirs in self.pairs
        )
        return f"{shown} ({why})"

    def choose(self, student: Shapes, teacher: Shapes) -> tuple[tuple[Pair, ...], str]:
        """The pairs that `auto` means, and why.

        Raises:
            ModelError: There is nothing to pair.
        """
        pairs = matching_stages(
            student, teacher, most=self.most_pairs, same_size=self.same_size, any_kind=self.any_kind
        )
        return pairs, "the last modules of each resolution, paired from the deepest up"

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """Make the parts for features of these shapes (student, teacher); by default none."""

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """`scale` times the mean over the pairs of `compare`; gradients flow to the student and to the parts of the loss."""
        there_BL = tokens_there(batch)
        everyone = whole if self.among_samples and batch.shared else lambda rows: rows
        found = []
        for index, (mine, theirs) in enumerate(self.pairs):
            ours, others = student.features[mine].float(), teacher.features[theirs].float().detach()
            if there_BL is not None and self.any_kind:
                ours, others = (self.of_sample(each, there_BL) for each in (ours, others))
            elif there_BL is not None and are_tokens(ours, there_BL) and are_tokens(others, there_BL):
                found.append(self.compare_tokens(index, ours, others, there_BL=there_BL))
                continue
            found.append(self.compare(index, everyone(ours), everyone(others)))
        total = found[0]
        for each in found[1:]:
            total = total + each
        return self.scale * total / len(found)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar."""
        raise NotImplementedError

    def compare_tokens(self, index: int, student: Tensor, teacher: Tensor, *, there_BL: Tensor) -> Tensor:
        """The loss of one pair of tokens `[B, L, D]` of which some only pad the batch, a scalar.

        By default `compare` of the others as rows `[M, D]`, which is right where places are compared one by one.
        """
        return self.compare(index, student[there_BL], teacher[there_BL])

    def of_sample(self, feature: Tensor, there_BL: Tensor) -> Tensor:
        """A feature from which samples are compared, without padding; by default the mean of its tokens, `[B, D]`."""
        if not are_tokens(feature, there_BL):
            return feature
        there_BL1 = there_BL[..., None]
        return feature.masked_fill(~there_BL1, 0.0).sum(dim=1) / there_BL1.sum(dim=1).clamp(min=1)


def tokens_there(batch: Batch) -> Tensor | None:
    """Which tokens of each sample are no padding, `[B, L]` bool; None where nothing says so."""
    mask = batch.inputs.get(ATTENTION_MASK)
    return None if mask is None or mask.dim() != 2 else mask.bool()


def are_tokens(feature: Tensor, there_BL: Tensor) -> bool:
    """Whether a feature has one vector for each token of the input."""
    return feature.dim() == 3 and feature.shape[:2] == there_BL.shape


_PAIRS_HINT = 'write pairs = "auto" or [["student.module", "teacher.module"], ...]; compress inspect lists modules'


def matching_stages(
    student: Shapes, teacher: Shapes, *, most: int, same_size: bool, any_kind: bool = False
) -> tuple[Pair, ...]:
    """Pairs of the last modules of each stage, from the deepest up.

    A stage is a run of modules whose outputs have one height and width, or one block of a transformer. A map is paired
    with a map and tokens with tokens, unless `any_kind`.

    Raises:
        ModelError: There is nothing to pair.
    """
    mine, theirs = stage_ends(student), stage_ends(teacher)
    if same_size:
        by_size = {_grid(shape): path for path, shape in theirs.items()}
        pairs = [(path, by_size[_grid(shape)]) for path, shape in mine.items() if _grid(shape) in by_size][::-1]
    else:
        both = zip(reversed(mine.items()), reversed(theirs.items()), strict=False)
        pairs = [(path, other) for (path, shape), (other, its) in both if any_kind or len(shape) == len(its)]
    if not pairs:
        raise ModelError("student and teacher have no features that could be paired", where="pairs", hint=_PAIRS_HINT)
    return tuple(pairs[:most][::-1])


def one_stage_apart(shapes: Shapes) -> tuple[Shapes, Shapes]:
    """What a network may compare with itself: all stages but the deepest with all but the shallowest."""
    ends = list(stage_ends(shapes).items())
    return dict(ends[:-1]), dict(ends[1:])


def stage_ends(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The module that finishes each stage; of several with one output the outermost, which finishes last.

    Blocks of a transformer are numbered (`blocks.3`, `encoder_layer_3`) and give tokens; what is numbered inside of one is
    not a block. Maps with the channels last are left out, since losses on features read channels first.
    """
    blocks = {path for path, shape in shapes.items() if len(shape) == 3 and _NUMBERED.search(path)}
    found: dict[tuple[int, ...], tuple[str, tuple[int, ...]]] = {}
    for path, shape in shapes.items():
        if any(outer in blocks for outer in _ancestors(path)):
            continue  # queries and keys of four axes, for one, are no maps
        if len(shape) == 4 and min(shape[2:]) > 1 and not shape[1] == shape[2] != shape[3]:
            found[(4, *shape[2:])] = (path, shape)
        elif path in blocks:
            found[(3, len(found))] = (path, shape)
    return dict(found.values())


_NUMBERED = re.compile(r"(?:^|[._])\d+$")


def _ancestors(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _grid(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[2:] if len(shape) == 4 else shape[1:2]


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape[1:])


def require_same_places(pairs: Sequence[Pair], shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    """Refuse pairs whose places cannot be brought together: maps with tokens, and tokens of different numbers.

    Raises:
        ModelError: Names the first one.
    """
    for (mine, theirs), (ours, others) in zip(pairs, shapes, strict=True):
        if len(ours) != len(others) or (len(ours) == 3 and ours[1] != others[1]):
            raise ModelError(
                f"'{mine}' of the student ({_size(ours)}) and '{theirs}' of the teacher ({_size(others)}) have no places "
                "in common",
                where="pairs",
                hint="name other pairs, or compare samples rather than places: --loss rkd, pkt or similarity_preserving",
            )


def to_size_of(feature: Tensor, other: Tensor) -> Tensor:
    """`feature` averaged down to the height and width of `other`, where it is larger; scaled up where it is smaller."""
    if feature.dim() != 4 or feature.shape[2:] == other.shape[2:]:
        return feature
    if feature.shape[2] >= other.shape[2]:
        return F.adaptive_avg_pool2d(feature, (other.shape[2], other.shape[3]))
    return F.interpolate(feature, other.shape[2:], mode="nearest")


def aligned(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the size of the smaller map; anything but maps as it is."""
    if student.dim() == 4 and student.shape[2] < teacher.shape[2]:
        teacher = to_size_of(teacher, student)
    return to_size_of(student, teacher), teacher


def projectors_where_widths_differ(shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> nn.ModuleList:
    """For each pair a projector to the teacher's width; nothing where it is the student's own."""
    return nn.ModuleList(
        nn.Identity() if width_of(mine) == width_of(theirs) else projector(mine, theirs) for mine, theirs in shapes
    )


def width_of(shape: tuple[int, ...]) -> int:
    """Channels of a map, or the width of a token or vector."""
    return shape[1] if len(shape) == 4 else shape[-1]


def rows_of(feature: Tensor) -> Tensor:
    """One vector for each sample `[B, F]`: everything in the feature, in a row."""
    return feature.reshape(len(feature), -1)


def embedded(feature: Tensor) -> Tensor:
    """One vector for each sample: the mean over places, or over tokens."""
    if feature.dim() == 4:
        return feature.mean(dim=(2, 3))
    return feature.mean(dim=1) if feature.dim() == 3 else feature


def projector(source: tuple[int, ...], target: tuple[int, ...]) -> nn.Module:
    """From the student's width to the teacher's: a 1×1 convolution with BatchNorm; a linear layer for tokens and vectors."""
    if len(source) == 4:
        return nn.Sequential(nn.Conv2d(source[1], target[1], 1, bias=False), nn.BatchNorm2d(target[1]))
    return nn.Linear(source[-1], target[-1])
