"""From settings to the losses a student learns by, and to what losses and teacher read of the networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor import registry
from compressor.artifact import Decision
from compressor.errors import InputError, ModelError
from compressor.losses._contract import Context, Loss, Prepared
from compressor.losses._features import FeatureLoss, one_stage_apart
from compressor.models.network import Network
from compressor.models.taps import attention_heads, feature_shapes
from compressor.recipe import (
    Asking,
    DistillSettings,
    LossSettings,
    RecoverySettings,
    feature_faults,
    loss_faults,
    usual_loss,
)
from compressor.tasks._contract import Task
from compressor.teachers._contract import Teacher
from compressor.tensors import ATTENTION_MASK, Inputs, Outputs
from compressor.training.engine import WeightedLoss


def losses_of(settings: DistillSettings | RecoverySettings, task: Task) -> tuple[WeightedLoss, ...]:
    """The losses with the names they have in logs: that of the member, numbered when it stands there more than once.

    Raises:
        InputError: A loss refuses its options, or the task.
    """
    made: list[WeightedLoss] = []
    asking: list[Asking] = []
    for index, entry in enumerate(settings.losses or (usual_loss(task.gives),)):
        member = registry.find("losses", entry.name)
        name = member.attr if ":" in entry.name else member.name
        earlier = sum(each.name.partition("-")[0] == name for each in made)
        name = f"{name}-{earlier + 1}" if earlier else name
        made.append(WeightedLoss(name, entry.weight, _loss(member, entry), entry.ramps))
        needs = needs_of_loss(made[-1].loss)
        asking.append(Asking.reading(member, entry.options, where=f"losses.{index}", name=name, needs=needs))
    for fault in loss_faults(asking, task=task.gives, where="losses"):
        raise InputError(fault.message, where=fault.where, hint=fault.hint)
    return tuple(made)


def needs_of_loss(loss: Loss) -> tuple[str, ...]:
    """What the class of a loss says that it needs; of one that says nothing, nothing."""
    return tuple(getattr(loss, "needs", ()))


def _loss(member: registry.Member, entry: LossSettings) -> Loss:
    """The loss with the options it begins with; those it ends with are tried on another one.

    Raises:
        InputError: An option is refused, or cannot change while it is in use.
    """
    loss: Loss = member.load()(**entry.options)
    for option, ramp in entry.ramps.items():
        member.load()(**{**entry.options, option: ramp.end})
        if not hasattr(loss, option):
            raise InputError(f"{option} of '{member.name}' cannot change over the run", where="distill.losses")
    return loss


def settle(
    losses: tuple[WeightedLoss, ...],
    *,
    student: Network,
    teacher: Teacher,
    example: Inputs,
    labels: NDArray[np.int64],
    seed: int,
) -> tuple[tuple[str, ...], tuple[Decision, ...]]:
    """Let the teacher meet the student, and tell losses about the run, and those that read features what shapes they have.

    Args:
        losses: Of the run.
        student: As it begins.
        teacher: Of the run.
        example: Two samples, as a network sees them.
        labels: A number for each training sample that those with equal targets share; below 0: it has none.
        seed: Of what teacher and losses build.

    Returns:
        Paths of the student's modules that are read, and what was chosen.

    Raises:
        ModelError: There is nothing to compare, or the teacher gives no features.
    """
    some = example
    torch.manual_seed(seed)  # what teacher and losses build begins the same for the same seed
    met = teacher.meet(student, some)
    preparing = [part.loss for part in losses if isinstance(part.loss, Prepared)]
    if preparing:
        context = _context(student, teacher, some, labels=torch.as_tensor(labels))
        for loss_to_be in preparing:
            loss_to_be.prepare(context)
    reading = [(part.name, part.loss) for part in losses if isinstance(part.loss, FeatureLoss) and part.loss.on_modules]
    if not reading:
        return teacher.reads, met
    own_features = "own_features" in teacher.gives
    given = teacher.gives if teacher.network is not None or own_features else ()
    for name, loss in reading:
        asking = Asking(name, needs_of_loss(loss), "distill.losses")
        for fault in feature_faults(asking, teacher=given, kind=type(teacher).__name__):
            raise ModelError(fault.message, where=fault.where, hint=fault.hint)
    mine = feature_shapes(student, some)
    theirs = mine if own_features else feature_shapes(_network_of(teacher), some)
    decisions = []
    for name, loss in reading:
        ours, others = one_stage_apart(mine) if own_features and loss.picks_pairs else (mine, theirs)
        decisions.append(Decision(f"features of {name}", "", loss.settle(ours, others)))
    pairs = [pair for _, loss in reading for pair in loss.reads]
    if own_features and any(mine == theirs for mine, theirs in pairs):
        hint = 'name modules of two depths: pairs = [["shallow.module", "deep.module"]]'
        raise ModelError("a module cannot learn from itself", where="pairs", hint=hint)
    teacher.taps = tuple(dict.fromkeys(path for _, path in pairs))
    own = (path for pair in pairs for path in (pair if own_features else pair[:1]))
    return tuple(dict.fromkeys((*teacher.reads, *own))), (*met, *decisions)


def _context(student: Network, teacher: Teacher, some: Inputs, *, labels: Tensor) -> Context:
    was_training = student.training
    with torch.no_grad():
        predicted = Outputs.of(student.eval()(some)).tensors.values()
    student.train(was_training)
    own = attention_heads(student)
    theirs = attention_heads(teacher.network) if teacher.network is not None else {}
    outputs = sum(each[0].numel() for each in predicted)
    padded = isinstance(some, Mapping) and ATTENTION_MASK in some
    return Context(labels, outputs, own, own if "own_features" in teacher.gives else theirs, padded)


def _network_of(teacher: Teacher) -> nn.Module:
    assert teacher.network is not None
    return teacher.network


def read_features(losses: tuple[WeightedLoss, ...]) -> bool:
    """Whether any of the losses compares features."""
    return any(isinstance(part.loss, FeatureLoss) and part.loss.on_modules for part in losses)
