"""How long a training is where nobody says: batch and epochs by the number of samples.

128 samples a step are common, and on 199 pictures they are one step an epoch. A smaller set is shown in smaller batches,
and as often as it takes to come to some hundred steps.
"""

from __future__ import annotations

from typing import Any, TypeVar

from compressor.artifact import Decision
from compressor.recipe import TrainingSettings
from compressor.training import optimizers

USUAL_BATCH, USUAL_EPOCHS = 128, 30
FEW_STEPS = 200
"""Below it a training says that its steps are few."""

_SMALLEST_BATCH = 16  # what BatchNorm makes of fewer samples is mostly noise
_STEPS_IN_AN_EPOCH = 10
_STEPS = 300
_Training = TypeVar("_Training", bound=TrainingSettings)


def settle(settings: _Training, *, num_samples: int) -> tuple[_Training, tuple[Decision, ...]]:
    """The settings with a number for batch and epochs where they are `auto`, and why it is that one.

    Args:
        settings: Of a training.
        num_samples: That an epoch shows.
    """
    chosen: list[Decision] = []
    batch, epochs = settings.batch_size, settings.epochs
    if batch == "auto":
        batch = USUAL_BATCH
        while batch > _SMALLEST_BATCH and num_samples // batch < _STEPS_IN_AN_EPOCH:
            batch //= 2
        steps = steps_in_an_epoch(num_samples, batch)
        least = ", the smallest that is taken" if batch == _SMALLEST_BATCH else ""
        chosen.append(Decision("batch_size", str(batch), f"{steps} steps an epoch of {num_samples} samples{least}"))
    if epochs == "auto":
        steps = steps_in_an_epoch(num_samples, batch)
        epochs = max(USUAL_EPOCHS, -(-_STEPS // steps))
        reason = (
            "common" if epochs == USUAL_EPOCHS else f"at {steps} steps an epoch fewer are below {_STEPS} steps in all"
        )
        chosen.append(Decision("epochs", str(epochs), reason))
    if not chosen:
        return settings, ()
    settled: dict[str, Any] = {"batch_size": batch, "epochs": epochs}
    if settings.batch_size == "auto" and settings.lr == "auto" and batch < USUAL_BATCH:
        settled["lr"], common = optimizers.usual_lr(settings)
        reason = f"{common} at batch {USUAL_BATCH}; batches are small here for more steps, not for shorter ones"
        chosen.append(Decision("lr", f"{settled['lr']:g}", reason))
    return settings.model_copy(update=settled), tuple(chosen)


def steps_in_an_epoch(num_samples: int, batch_size: int) -> int:
    """How many steps an epoch has: the last batch is left out unless it is full, or the only one."""
    return max(1, num_samples // batch_size)
