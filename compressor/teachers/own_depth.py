"""Be your own teacher: Zhang et al. 2019 (arXiv 1905.08094), equations 1 to 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from compressor.artifact import Decision
from compressor.errors import ModelError
from compressor.losses._features import stage_ends
from compressor.models.network import Network
from compressor.models.taps import feature_shapes
from compressor.teachers._contract import Lesson, Teacher
from compressor.tensors import Batch, Outputs

if TYPE_CHECKING:
    from compressor.tensors import Inputs


class OwnDepth(Teacher):
    """No other network: the student's own deeper layers teach its shallower ones (BYOT, Zhang et al. 2019).

    A head on each stage but the last gives an answer of its own; it learns from the labels and from the whole network's
    answer (their equations 1 and 2), and what it learns reaches the layers below it. The whole network learns from the
    labels. Heads are a 1×1 convolution to the width of the deepest stage, BatchNorm, ReLU, the mean over places and a
    linear layer; they are trained along and never exported. A loss on features (their equation 3, L2 hints: `fitnet`)
    compares each stage with the next deeper one, where theirs compares all with the deepest.

    Args:
        stages: dotted paths of the modules that get a head, from shallow to deep; empty: the last of each resolution
        share: weight of each head's lesson beside the whole network's
    """

    needs = ("labels",)
    gives = ("features", "own_features", "changing")
    parts: nn.ModuleDict
    # 0.7 CE + 0.3 KL at T = 3, as the authors weigh them; `kd` has T² before its KL, which they have not.
    usual: ClassVar[Mapping[str, Any]] = {"name": "kd", "temperature": 3.0, "alpha": 1 / 22, "weight": 0.7 * 22 / 21}

    def __init__(self, *, stages: tuple[str, ...] = (), share: float = 1.0) -> None:
        self.stages = tuple(stages)
        self.share = share

    def meet(self, student: Network, inputs: Inputs) -> tuple[Decision, ...]:
        """Find the stages, and put heads on all but the last.

        Raises:
            ModelError: The student has no two stages, or a stated module gives no features.
        """
        shapes = feature_shapes(student, inputs)
        with torch.no_grad():
            classes = student.eval()(inputs).shape[-1]
        ends = stage_ends(shapes)
        chosen = self.stages or tuple(ends)[:-1]
        strange = [path for path in chosen if path not in shapes]
        if strange or not chosen or not ends:
            what = f"no features at '{strange[0]}'" if strange else "the student has no shallower stage to teach"
            hint = "compress inspect lists modules: teacher.kind_options.stages = [...]"
            raise ModelError(what, where="own_depth.stages", hint=hint)
        width = list(ends.values())[-1][_channels(list(ends.values())[-1])]
        self.heads = {path: path.replace(".", "/") for path in chosen}
        self.parts = nn.ModuleDict({key: _head(shapes[path], width, classes) for path, key in self.heads.items()})
        self.parts.train()
        self.reads = chosen
        return (Decision("teacher", "the student's own depth", f"heads on {', '.join(chosen)}, dropped at the end"),)

    def lessons(self, batch: Batch, student: Outputs) -> Sequence[Lesson]:
        """The whole network from the labels; each head from the whole network; features from deeper ones."""
        target = Outputs.of(student.logits.detach())
        found = [Lesson(Outputs(student.tensors), None, batch)]
        for path, key in self.heads.items():
            said = Outputs.of(self.parts[key](student.features[path]))
            found.append(Lesson(said, target, batch, path, self.share))
        if self.taps:
            own = student.detached()
            found.append(Lesson(student, own, batch, "features", answers=False))
        return found


def _channels(shape: Sequence[int]) -> int:
    return 1 if len(shape) == 4 else len(shape) - 1


def _head(shape: tuple[int, ...], width: int, classes: int) -> nn.Module:
    if len(shape) == 4:
        return nn.Sequential(
            nn.Conv2d(shape[1], width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, classes),
        )
    return nn.Sequential(_MeanOverTokens(), nn.Linear(shape[-1], width), nn.GELU(), nn.Linear(width, classes))


class _MeanOverTokens(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mean(dim=1) if inputs.dim() == 3 else inputs
