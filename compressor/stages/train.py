"""Train a network from the labels alone: a teacher, or the control that a student is compared with."""

from __future__ import annotations

from compressor.artifact import Artifact, Target
from compressor.losses.hard import Hard
from compressor.recipe import ModelSettings, TrainingSettings
from compressor.teachers.none import NoTeacher
from compressor.training.engine import WeightedLoss
from compressor.training.material import Material
from compressor.training.produce import produce


def train(
    model: ModelSettings,
    settings: TrainingSettings,
    *,
    material: Material,
    target: Target,
) -> Artifact:
    """Train `model` on the labels of `material` and keep its last epoch.

    Raises:
        ModelError: The network cannot be built or does not fit the data.
        DivergenceError: Training met NaN or exploded.
        InterruptedRunError: Stopped by a signal; the same call goes on.
    """
    losses = (WeightedLoss("hard", 1.0, Hard()),)
    return produce(model, settings, teacher=NoTeacher(), losses=losses, material=material, target=target)
