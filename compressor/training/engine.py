"""The one training loop: view → student's answer, teacher's answer → losses → step; checkpoint; progress.

Everything random is a pure function of the seed (order, views) or kept with the checkpoint (dropout), so a run that was
interrupted ends with the same weights, bit for bit, on the same machine.

Not covered: what is trained and why (`stages/`), and what becomes of the result (`training/keep.py`).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from compressor import console
from compressor.artifact import Decision
from compressor.batch import Batch, Outputs
from compressor.data.loader import Loader, to_float
from compressor.data.samples import Dataset, Samples
from compressor.data.views import Views
from compressor.errors import FOREIGN_FAULTS, InterruptedRunError, ModelError
from compressor.losses._contract import Loss
from compressor.models.network import Network
from compressor.recipe import TrainingSettings
from compressor.tasks._contract import Task
from compressor.teachers._contract import Teacher
from compressor.training import optimizers, precision, resume, schedules
from compressor.training.ema import AveragedWeights
from compressor.training.health import Health
from compressor.training.signals import StopRequest, stop_requests

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces choices that our manifest records

_STEPS_BETWEEN_CHECKS_ON_GPU = 20
_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class WeightedLoss:
    """One part of the loss: its name in logs, its weight, the loss."""

    name: str
    weight: float
    loss: Loss


@dataclass(frozen=True)
class Job:
    """Everything a training run needs.

    Attributes:
        title: What the progress bar calls it.
        key: Key of the stage; a checkpoint under another key is not resumed.
        state: Folder of the checkpoint.
        resume_line: What the user types to go on after an interruption.
    """

    title: str
    key: str
    state: Path
    resume_line: str
    network: Network
    teacher: Teacher
    losses: tuple[WeightedLoss, ...]
    task: Task
    dataset: Dataset
    views: Views
    settings: TrainingSettings
    seed: int


@dataclass(frozen=True)
class Trained:
    """What a finished run gives: the network on the CPU, its curve, and every automatic choice."""

    network: Network
    curve: tuple[Mapping[str, Any], ...]
    decisions: tuple[Decision, ...]
    elapsed_s: float
    interruptions: int


def fit(job: Job) -> Trained:
    """Train `job.network` in place and return it in evaluation mode on the CPU.

    Raises:
        DivergenceError: A loss is not finite or has exploded.
        InterruptedRunError: SIGINT or SIGTERM; the state is kept and the same command goes on.
    """
    return _Run(job).to_the_end()


@contextmanager
def _foreign_code(batch_size: int) -> Iterator[None]:
    """Networks and losses of the user's raise what they like; turned into one of ours at this edge.

    Raises:
        ModelError: With what was raised.
    """
    try:
        yield
    except torch.OutOfMemoryError as fault:
        hint = f"take smaller steps: --batch-size {max(2, batch_size // 2)}"
        raise ModelError("the device has not enough memory for a training step", where="training", hint=hint) from fault
    except FOREIGN_FAULTS as fault:
        text = str(fault).strip().split("\n")[0]
        raise ModelError(f"a training step fails: {type(fault).__name__}: {text}", where="training") from fault


class _Run:
    """One training run in progress."""

    def __init__(self, job: Job) -> None:
        self.job = job
        settings = job.settings
        sample_shape = job.dataset.train.sample_shape
        self.conditions = precision.choose(settings, job.network, sample_shape=sample_shape)
        self.fabric = Fabric(
            accelerator=self.conditions.accelerator,
            devices=[self.conditions.device_index] if self.conditions.accelerator == "cuda" else 1,
            precision=self.conditions.precision,
        )
        torch.manual_seed(job.seed)
        lr, why_lr = optimizers.peak_lr(settings)
        self.peak_lr = lr
        if self.conditions.memory_format is torch.channels_last:
            job.network.to(memory_format=torch.channels_last)
        learning = [part.loss.to(self.fabric.device) for part in job.losses if isinstance(part.loss, nn.Module)]
        optimizer, why_decay = optimizers.make(settings, [job.network, *learning], lr=lr)
        self.model, self.optimizer = self.fabric.setup(job.network, optimizer)
        if self.fabric.device.type == "cuda":
            torch.cuda.set_device(self.fabric.device)  # its random state is the one that is kept
        job.teacher.to(self.fabric.device, self.conditions.memory_format)
        self.average = AveragedWeights(job.network, decay=settings.ema_decay) if settings.ema_decay else None
        self.loader = Loader(
            job.dataset.train, batch_size=settings.batch_size, seed=job.seed, shuffle=True, drop_last=True
        )
        self.total_steps = settings.epochs * len(self.loader)
        self.health = Health()
        self.modules: dict[str, nn.Module] = {"network": job.network}
        self.modules |= {part.name: part.loss for part in job.losses if isinstance(part.loss, nn.Module)}
        if self.average is not None:
            self.modules["average"] = self.average.network
        self.position = self._resumed()
        self.sums = {name: torch.tensor(value, device=self.fabric.device) for name, value in self.position.sums.items()}
        self.decisions = (*self.conditions.decisions, *why_lr, *why_decay)

    def to_the_end(self) -> Trained:
        job, position = self.job, self.position
        epochs = job.settings.epochs
        with (
            stop_requests() as stop,
            console.training(job.title, epochs=epochs, steps=self.total_steps, first_step=position.step) as progress,
        ):
            while position.epoch < epochs:
                self._epoch(progress, stop)
        network = self.average.network if self.average is not None else job.network
        network.to("cpu").to(memory_format=torch.contiguous_format).eval()
        return Trained(network, tuple(position.curve), self.decisions, position.elapsed_s, position.interruptions)

    def _epoch(self, progress: console.TrainingProgress, stop: StopRequest) -> None:
        position, started, first = self.position, time.perf_counter(), self.position.batch
        self.model.train()
        lr = self.peak_lr
        for loaded in self.loader.batches(position.epoch, first=position.batch):
            lr = self._lr(position.step)
            batch = self._shown(loaded.inputs, loaded.labels, loaded.sample_ids, view=position.epoch)
            parts = self._step(batch, lr)
            position.batch += 1
            position.step += 1
            rate = (position.batch - first) * self.job.settings.batch_size / (time.perf_counter() - started)
            if parts:
                progress.step(
                    epoch=position.epoch, done=position.step, of=self.total_steps, losses=parts, images_per_s=rate
                )
            if stop and position.batch < len(self.loader):
                position.elapsed_s += time.perf_counter() - started
                self._interrupt(stop)
        trained_s = time.perf_counter() - started
        self._finish_epoch(progress, lr=lr, rate=(len(self.loader) - first) * self.job.settings.batch_size / trained_s)
        position.elapsed_s += time.perf_counter() - started
        self._keep()
        if stop:
            self._interrupt(stop)

    def _step(self, batch: Batch, lr: float) -> dict[str, float]:
        job = self.job
        optimizers.set_lr(self.optimizer, lr)
        with _foreign_code(job.settings.batch_size):
            with self.fabric.autocast():
                answer = job.teacher.answer(batch)
            student = Outputs(self.model(batch.inputs))
            weighted = {part.name: part.weight * part.loss(student, answer, batch) for part in job.losses}
        total = torch.stack(list(weighted.values())).sum()
        for name, value in weighted.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value.detach()
        parts = self._checked(weighted, student, answer, batch, lr)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        if job.settings.clip_norm is not None:
            # an infinite gradient is left to the scaler of 16-bit training, else to the check at the end of the epoch
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=job.settings.clip_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        if self.average is not None:
            self.average.update(job.network, step=self.position.step)
        return parts

    def _checked(
        self, weighted: Mapping[str, Tensor], student: Outputs, answer: Outputs, batch: Batch, lr: float
    ) -> dict[str, float]:
        """The loss parts as numbers; on a GPU only now and then, since reading them waits for it."""
        step = self.position.step
        if self.fabric.device.type != "cpu" and step % _STEPS_BETWEEN_CHECKS_ON_GPU:
            return {}
        parts = {name: float(value.detach()) for name, value in weighted.items()}
        suspects: dict[str, bool] = {}
        if not all(math.isfinite(value) for value in parts.values()):
            suspects = {
                "the inputs": not bool(torch.isfinite(batch.inputs).all()),
                "the teacher's logits": not bool(torch.isfinite(answer.logits).all()),
                "the student's logits": not bool(torch.isfinite(student.logits).all()),
            }
        self.health.check(parts, step=step, lr=lr, suspects=suspects)
        return parts

    def _shown(self, inputs: Tensor, labels: Tensor, sample_ids: Tensor, *, view: int) -> Batch:
        """A loaded batch on the device, as the view shows it; view −1 is the plain sample."""
        device = self.fabric.device
        inputs = inputs.to(device, non_blocking=True)
        sample_ids = sample_ids.to(device, non_blocking=True)
        if view >= 0:
            inputs = self.job.views(inputs, sample_ids, view=view, seed=self.job.seed)
        inputs = to_float(inputs)
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=self.conditions.memory_format)
        return Batch(inputs, labels.to(device, non_blocking=True), sample_ids, view, self.job.task)

    def _check_weights(self, lr: float) -> None:
        """A step that broke the weights after the last look at the losses must not be kept.

        Raises:
            DivergenceError: A weight is not finite.
        """
        for name, parameter in self.job.network.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                self.health.broken_weight(name, step=self.position.step - 1, lr=lr)

    def _finish_epoch(self, progress: console.TrainingProgress, *, lr: float, rate: float) -> None:
        position = self.position
        self._check_weights(lr)
        counted = position.batch
        losses = {name: float(total) / counted for name, total in self.sums.items()}
        val = self._validate(self.job.dataset.val)
        position.curve.append(
            {
                "epoch": position.epoch,
                "lr": lr,
                "losses": losses,
                "train_loss": sum(losses.values()),
                "val": val,
                "images_per_s": rate,
            }
        )
        primary = self.job.task.primary
        score = f"val {primary} {100 * val[primary]:.2f} %" if val else ""
        progress.epoch(epoch=position.epoch, of=self.job.settings.epochs, losses=losses, score=score, images_per_s=rate)
        position.epoch, position.batch, self.sums = position.epoch + 1, 0, {}

    def _validate(self, samples: Samples | None) -> dict[str, float] | None:
        if samples is None:
            return None
        network = self.average.network if self.average is not None else self.model
        network.eval()
        loader = Loader(samples, batch_size=_EVALUATION_BATCH, seed=0, shuffle=False, drop_last=False)
        answers, labels = [], []
        with torch.no_grad(), self.fabric.autocast():
            for loaded in loader.batches(0):
                batch = self._shown(loaded.inputs, loaded.labels, loaded.sample_ids, view=-1)
                answers.append(network(batch.inputs).float().cpu())
                labels.append(loaded.labels)
        return self.job.task.metrics(torch.cat(answers).numpy(), torch.cat(labels).numpy())

    def _lr(self, step: int) -> float:
        settings = self.job.settings
        return self.peak_lr * schedules.factor(
            settings.schedule,
            step=step,
            total=self.total_steps,
            warmup=min(round(settings.warmup_epochs * len(self.loader)), self.total_steps // 2),
            milestones=settings.milestones,
            gamma=settings.gamma,
        )

    def _keep(self) -> None:
        """Write the state.

        Raises:
            ArtifactError: The disk is full, or not ours to write.
        """
        self.position.sums = {name: float(total) for name, total in self.sums.items()}
        self.position.scaler = dict(self.fabric.strategy.precision.state_dict())
        resume.save(self.job.state, self.position, modules=self.modules, optimizer=self.optimizer.optimizer)

    def _interrupt(self, stop: StopRequest) -> None:
        self._keep()
        raise InterruptedRunError(
            f"by {stop.signal_name} after {self.position.step} of {self.total_steps} steps; "
            f"the state is kept in {self.job.state}",
            hint=self.job.resume_line,
        )

    def _resumed(self) -> resume.Position:
        """Where to begin: at a kept state that fits, else at the beginning."""
        job = self.job
        position, why_not = resume.position(job.state, key=job.key)
        if position.step and why_not is None:
            why_not = resume.restore(job.state, modules=self.modules, optimizer=self.optimizer.optimizer)
            if why_not is None:
                position.interruptions += 1
                if position.scaler:
                    self.fabric.strategy.precision.load_state_dict(position.scaler)
                console.note(f"{job.title}: goes on at epoch {position.epoch + 1}, batch {position.batch + 1}")
                return position
        if why_not is not None:
            console.note(f"{job.title}: {why_not}")
        return resume.Position(job.key)
