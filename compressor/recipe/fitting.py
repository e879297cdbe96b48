"""Which losses fit a task and one another: told from a recipe before anything runs, and by the losses themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compressor import registry
from compressor.errors import Fault


@dataclass(frozen=True)
class LossTraits:
    """What decides where a loss can be used; see `losses._contract.Loss`.

    Attributes:
        name: Of the loss.
        of_classes: It takes answers for probabilities of classes.
        of_one_class: It needs the one right class.
        on_features: It looks at features alone.
    """

    name: str
    of_classes: bool = False
    of_one_class: bool = False
    on_features: bool = False


def traits_of(member: registry.Member) -> LossTraits:
    """The traits of a loss that is only read, not run."""
    flags = member.flags
    return LossTraits(member.name, "of_classes" in flags, "of_one_class" in flags, looks_at_features(member))


def looks_at_features(member: registry.Member) -> bool:
    """Whether a loss reads modules inside of the networks, and nothing of their answers."""
    return any(option.name == "pairs" for option in member.options)


def misfits(losses: Sequence[LossTraits], *, of_numbers: bool, of_sets: bool, where: str) -> list[Fault]:
    """Losses that do not fit the task, each at its place, or leave the last layer untaught together.

    Args:
        losses: All that a network learns by.
        of_numbers: The task tells numbers.
        of_sets: A sample of the task has a set of classes.
        where: The setting that lists them.
    """
    found = []
    for index, loss in enumerate(losses):
        place = f"{where}.{index}"
        if of_sets and loss.of_one_class:
            message = f"'{loss.name}' needs the one right class, and this task has sets of classes"
            found.append(Fault(place, message, 'write name = "kd" or name = "mse_logits"'))
        if of_numbers and loss.of_classes:
            message = f"'{loss.name}' compares probabilities of classes, and this task tells numbers"
            hint = 'write name = "mse_logits", which compares answers as they are, or leave the losses out'
            found.append(Fault(place, message, hint))
    if losses and all(loss.on_features for loss in losses):
        message = f"'{losses[0].name}' looks at features alone, which leaves the last layer untaught"
        found.append(Fault(where, message, 'add kd (or hard) beside it: a second entry with name = "kd"'))
    return found
