"""The one training loop: view → student's answer, teacher's lessons → losses → step; checkpoint; progress.

Everything random is a pure function of the seed: the order of samples and their views by epoch, dropout by step. So a run
that was interrupted ends with the same weights, bit for bit, on the same machine; and a run of several processes shows
each step the very samples that a run of one shows.

Not covered: what is trained and why (`stages/`), and what becomes of the result (`training/keep.py`).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from compressor import console, processes
from compressor.artifact import Decision
from compressor.data.loader import LoadedBatch, Loader, as_seen
from compressor.data.samples import Dataset, Samples
from compressor.data.token_samples import lengths_of
from compressor.errors import FOREIGN_FAULTS, CompressError, InputError, InterruptedRunError, ModelError
from compressor.losses._contract import Loss
from compressor.losses._features import FeatureLoss
from compressor.models.averaged import AveragedWeights
from compressor.models.eager import as_written
from compressor.models.network import Network
from compressor.models.taps import tapped
from compressor.recipe import RampSettings, TrainingSettings
from compressor.tasks._contract import Task
from compressor.teachers._contract import Lesson, Showing, Teacher
from compressor.tensors import Batch, Outputs
from compressor.training import budget, compiling, events, optimizers, precision, resume, schedules, together
from compressor.training.faults import foreign_code
from compressor.training.health import Health
from compressor.training.signals import StopRequest, stop_requests
from compressor.training.stopwatch import Stopwatch
from compressor.views._plan import ViewPlan

if TYPE_CHECKING:
    from compressor.scores import Findings

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces choices that our manifest records

_STEPS_BETWEEN_CHECKS_ON_GPU = 20
_STEPS_BETWEEN_AGREEMENTS = 10
_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class WeightedLoss:
    """One part of the loss.

    Attributes:
        name: What logs call it.
        weight: Constant, or changing over the run.
        loss: The loss.
        ramps: Options of the loss that change over the run (a temperature, say).
    """

    name: str
    weight: float | RampSettings
    loss: Loss
    ramps: Mapping[str, RampSettings] = field(default_factory=dict)

    def at(self, progress: float) -> float:
        """Its weight after this share of the run; the loss's own options are set to theirs."""
        for option, ramp in self.ramps.items():
            setattr(self.loss, option, schedules.ramped(ramp, progress))
        return self.weight if isinstance(self.weight, float | int) else schedules.ramped(self.weight, progress)

    def is_changing(self, progress: float) -> bool:
        """Whether its weight or an option of it has yet to come to its end, so that its value says little by itself."""
        ramps = [*self.ramps.values(), *([self.weight] if isinstance(self.weight, RampSettings) else [])]
        return any(ramp.shape != "constant" and progress < ramp.until for ramp in ramps)

    def compares(self, lesson: Lesson) -> bool:
        """Whether a lesson holds what this loss looks at."""
        if isinstance(self.loss, FeatureLoss) and self.loss.on_modules:
            return lesson.teacher is not None and bool(lesson.teacher.features)
        return lesson.answers and lesson.teacher is not None


@dataclass(frozen=True)
class Job:
    """Everything a training run needs.

    Attributes:
        title: What the progress bar calls it.
        key: Key of the stage; a checkpoint under another key is not resumed.
        state: Folder of the checkpoint.
        resume_line: What the user types to go on after an interruption.
        plan: Which view of each sample an epoch shows.
        taps: Modules of the network whose outputs the losses read.
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
    plan: ViewPlan
    settings: TrainingSettings
    seed: int
    taps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trained:
    """What a finished run gives: the network on the CPU, its curve, and every automatic choice.

    Attributes:
        asked: Samples that the teacher answered by computing, over all processes and resumed parts.
    """

    network: Network
    curve: tuple[Mapping[str, Any], ...]
    decisions: tuple[Decision, ...]
    elapsed_s: float
    interruptions: int
    asked: int


def fit(job: Job) -> Trained:
    """Train `job.network` in place and return it in evaluation mode on the CPU.

    Raises:
        DivergenceError: A loss is not finite or has exploded.
        InterruptedRunError: SIGINT or SIGTERM; the state is kept and the same command goes on.
        ProcessLostError: Another process of the job has gone.
    """
    return _Run(job).to_the_end()


def profile(job: Job, *, steps: int, warm_up: int) -> tuple[Stopwatch, tuple[Decision, ...]]:
    """Time `steps` training steps of a job, after `warm_up` steps; nothing is kept, and `job.network` is left trained on."""
    settings, why_budget = budget.settle(job.settings, num_samples=len(job.dataset.train))
    assert settings.epochs != "auto", "it is settled"
    assert settings.batch_size != "auto", "it is settled"
    in_an_epoch = budget.steps_in_an_epoch(len(job.dataset.train), settings.batch_size)
    epochs = max(settings.epochs, -(-(warm_up + steps) // in_an_epoch))
    long_enough = replace(job, settings=settings.model_copy(update={"epochs": epochs}))
    watch, decisions = _Run(long_enough, resumes=False).timed(steps, warm_up=warm_up)
    return watch, (*why_budget, *decisions)


class _Run:
    """One training run in progress."""

    def __init__(self, job: Job, *, resumes: bool = True) -> None:
        settings, why_budget = budget.settle(job.settings, num_samples=len(job.dataset.train))
        assert settings.epochs != "auto", "it is settled"
        assert settings.batch_size != "auto", "it is settled"
        self.epochs, self.batch_size = settings.epochs, settings.batch_size
        self.job = job = replace(job, settings=settings)
        together.require_shares(self.batch_size, num_samples=len(job.dataset.train))
        _require_parts(job, batch_size=self.batch_size)
        self.conditions = precision.choose(
            settings,
            job.network,
            sample_shape=job.dataset.fixed_shape,
            teacher=job.teacher.network,
            of_numbers=job.dataset.of_numbers,
        )
        self.fabric = together.fabric_for(self.conditions)
        lr, why_lr = optimizers.peak_lr(settings)
        self.peak_lr = lr
        if self.conditions.memory_format is torch.channels_last:
            job.network.to(memory_format=torch.channels_last)
        learning = [part.loss.to(self.fabric.device) for part in job.losses if isinstance(part.loss, nn.Module)]
        if job.teacher.parts is not None:
            learning.append(job.teacher.parts)
        for module in (job.network.module, *learning):
            together.synchronise(module, accelerator=self.conditions.accelerator)
        self.beside = [parameter for module in learning for parameter in module.parameters()]
        optimizer, why_decay = optimizers.make(settings, [job.network, *learning], lr=lr, fused=self.conditions.fused)
        self.model, self.optimizer = self.fabric.setup(job.network, optimizer)
        if self.fabric.device.type == "cuda":
            torch.cuda.set_device(self.fabric.device)  # where what is allocated without a device goes
        job.teacher.to(self.fabric.device, self.conditions.memory_format)
        self.average = AveragedWeights(job.network, decay=settings.ema_decay) if settings.ema_decay else None
        self.loader = self._training_loader()
        self.total_steps = self.epochs * len(self.loader)
        self.health = Health()
        self.modules: dict[str, nn.Module] = {"network": job.network}
        self.modules |= {part.name: part.loss for part in job.losses if isinstance(part.loss, nn.Module)}
        if self.average is not None:
            self.modules["average"] = self.average.network
        if job.teacher.parts is not None:
            self.modules["teacher"] = job.teacher.parts
        self.watch = Stopwatch()
        self.position = together.alike(self.fabric, self._resumed, job.state) if resumes else resume.Position(job.key)
        # A compiled network may leave out the modules that are tapped, or run them as part of others.
        self.compiler = compiling.Compiler(
            settings.compile if not job.taps else False, decided=compiling.was_decided(self.position)
        )
        self.sums = {name: torch.tensor(value, device=self.fabric.device) for name, value in self.position.sums.items()}
        self.decisions = (*why_budget, *self.conditions.decisions, *why_lr, *why_decay)

    def to_the_end(self) -> Trained:
        job, position = self.job, self.position
        console.note(self._budget_in_words())
        with (
            stop_requests() as stop,
            console.training(
                job.title, epochs=self.epochs, steps=self.total_steps, first_step=position.step
            ) as progress,
        ):
            try:
                while position.epoch < self.epochs:
                    self._epoch(progress, stop)
            except FOREIGN_FAULTS as fault:  # in a step they are ours already: this is talk between the processes
                gone = self._lost(fault)
                if gone is not None:
                    raise gone from fault
                raise
        compiling.undo(job.network)
        network = self.average.network if self.average is not None else job.network
        together.separate(network)
        network.to("cpu").to(memory_format=torch.contiguous_format).eval()
        asked = round(together.mean_of(self.fabric, {"": self._asked()})[""] * self.fabric.world_size)
        kept = tuple(Decision(**each) for each in position.decisions)
        return Trained(
            network,
            tuple(position.curve),
            (*self.decisions, *kept),
            position.elapsed_s,
            position.interruptions,
            asked,
        )

    def _budget_in_words(self) -> str:
        settings, steps = self.job.settings, len(self.loader)
        told = (
            f"{self.job.title}: {settings.optimizer}, peak lr {self.peak_lr:.3g}, batch {self.batch_size}, {self.epochs} "
            f"{'epoch' if self.epochs == 1 else 'epochs'} of {steps} {'step' if steps == 1 else 'steps'}, "
            f"{self.total_steps} in all"
        )
        few = "; these are few, and more epochs or a smaller batch_size give more"
        return told + (few if self.total_steps < budget.FEW_STEPS else "")

    def timed(self, steps: int, *, warm_up: int) -> tuple[Stopwatch, tuple[Decision, ...]]:
        """A stopwatch that has seen `steps` steps from the beginning of the run, and what was chosen."""
        self.model.train()
        done = 0
        with console.training(self.job.title, epochs=1, steps=warm_up + steps) as progress:
            for loaded in self._batches():
                self._one_step(loaded)
                self.watch.step(loaded.batch_size)
                done += 1
                progress.step(epoch=0, done=done, of=warm_up + steps, losses={}, images_per_s=0.0)
                if done == warm_up:
                    device = self.fabric.device
                    self.watch = Stopwatch(torch.cuda.synchronize if device.type == "cuda" else None)
                if done == warm_up + steps:
                    break
                if self.position.batch == len(self.loader):
                    self.position.epoch, self.position.batch = self.position.epoch + 1, 0
        chosen = tuple(Decision(**each) for each in self.position.decisions)
        return self.watch, (*self.decisions, *chosen)

    def _batches(self) -> Iterator[LoadedBatch]:
        """Batches from where the run stands on, through all its epochs; waiting for one is timed."""
        while self.position.epoch < self.epochs:
            epoch = self.position.epoch
            coming = self.loader.batches(epoch, first=self.position.batch)
            try:
                while True:
                    with self.watch.phase("data"):
                        loaded = next(coming, None)
                    if loaded is None:
                        break
                    yield loaded
            finally:
                coming.close()
            if self.position.epoch == epoch:
                return

    def _epoch(self, progress: console.TrainingProgress, stop: StopRequest) -> None:
        position, started, first = self.position, time.perf_counter(), self.position.batch
        batch_size = self.batch_size
        self.watch = Stopwatch(self._wait_while_deciding if self.fabric.device.type == "cuda" else None)
        self.model.train()
        for loaded in self._batches():
            parts = self._one_step(loaded)
            with self.watch.phase("rest"):
                self.watch.step(loaded.batch_size)
                rate = (position.batch - first) * batch_size / (time.perf_counter() - started)
                if parts:
                    progress.step(
                        epoch=position.epoch, done=position.step, of=self.total_steps, losses=parts, images_per_s=rate
                    )
                if position.batch < len(self.loader) and self._asked_to_stop(stop):
                    position.elapsed_s += time.perf_counter() - started
                    self._interrupt(stop)
        trained_s = time.perf_counter() - started
        self._finish_epoch(progress, rate=(len(self.loader) - first) * batch_size / trained_s)
        position.elapsed_s += time.perf_counter() - started
        self._keep()
        if together.any_of(self.fabric, bool(stop)):
            self._interrupt(stop)

    def _one_step(self, loaded: LoadedBatch) -> dict[str, float]:
        position = self.position
        torch.manual_seed(_seed_of_step(self.job.seed, position.step))
        batch = self._for_student(loaded, view=self.job.plan.number(position.epoch))
        self._settle_compiling(batch)
        parts = self._step(batch, self._lr(position.step))
        position.batch += 1
        position.step += 1
        return parts

    def _step(self, batch: Batch, lr: float) -> dict[str, float]:
        job, watch = self.job, self.watch
        optimizers.set_lr(self.optimizer, lr)
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        shown: dict[str, float] = {}
        parts = self._parts(batch)
        for number, (part, share) in enumerate(parts, start=1):
            is_last = number == len(parts)
            with foreign_code(self.batch_size, lost=self._lost):
                with watch.phase("student"):
                    student = self._student(part)
                with watch.phase("teacher"), self.fabric.autocast():
                    lessons = job.teacher.lessons(part, student)
                with watch.phase("losses"):
                    weighted = {name: share * value for name, value in self._compared(lessons).items()}
                    total = torch.stack(list(weighted.values())).sum()
            with watch.phase("losses"):
                for name, value in weighted.items():
                    sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
                if is_last:
                    for name, value in sums.items():
                        self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value
                    shown = self._checked(sums, lessons, part, lr)
            with watch.phase("backward"), foreign_code(self.batch_size, lost=self._lost):
                with nullcontext() if is_last else together.gradients_stay(self.fabric, self.model):
                    self.fabric.backward(total)
                if is_last:
                    together.average_gradients(self.fabric, self.beside)
        with watch.phase("optimiser"):
            if job.settings.clip_norm is not None:
                # an infinite gradient is left to the scaler of 16-bit training, else to the check at the end of the epoch
                self.fabric.clip_gradients(
                    self.model, self.optimizer, max_norm=job.settings.clip_norm, error_if_nonfinite=False
                )
            self.optimizer.step()
            if self.average is not None:
                self.average.update(job.network, step=self.position.step)
        with watch.phase("teacher"):
            job.teacher.after_step(step=self.position.step)
        return shown

    def _parts(self, batch: Batch) -> list[tuple[Batch, float]]:
        """What a step is computed in, one after another: rows of the batch, and which share of it they are."""
        count = min(self.job.settings.accumulate, len(batch) // 2)
        if count < 2:
            return [(batch, 1.0)]
        bounds = [number * len(batch) // count for number in range(count + 1)]
        return [
            (batch.rows(slice(start, stop), shared=batch.shared), (stop - start) / len(batch))
            for start, stop in pairwise(bounds)
        ]

    def _compared(self, lessons: Sequence[Lesson]) -> dict[str, Tensor]:
        """The parts of the loss by name, weighted; where no teacher speaks, the labels do.

        Raises:
            ModelError: No loss compares what the teacher gives.
        """
        found: dict[str, Tensor] = {}
        progress = self.position.step / self.total_steps
        parts = [(part, part.at(progress)) for part in self.job.losses]
        for lesson in lessons:
            after = f":{lesson.name}" if lesson.name else ""
            if lesson.teacher is None:
                values = {"labels": lesson.weight * lesson.batch.hard_loss(lesson.student)}
            else:
                values = {
                    part.name: lesson.weight * weight * part.loss(lesson.student, lesson.teacher, lesson.batch)
                    for part, weight in parts
                    if part.compares(lesson)
                }
            for name, value in values.items():
                name += after
                found[name] = found[name] + value if name in found else value
        if not found:
            raise ModelError("no loss compares what this teacher gives", where="distill.losses")
        return found

    def _student(self, batch: Batch) -> Outputs:
        """The network's answer, with the features that losses read."""
        if not self.job.taps:
            return Outputs.of(self.model(batch.call))
        with tapped(self.job.network, self.job.taps) as features:
            output = self.model(batch.call)
        return Outputs.of(output, dict(features))

    def _checked(
        self, weighted: Mapping[str, Tensor], lessons: Sequence[Lesson], batch: Batch, lr: float
    ) -> dict[str, float]:
        """The loss parts as numbers; on a GPU only now and then, since reading them waits for it."""
        step = self.position.step
        if self.fabric.device.type != "cpu" and step % _STEPS_BETWEEN_CHECKS_ON_GPU:
            return {}
        parts = {name: float(value.detach()) for name, value in weighted.items()}
        suspects: dict[str, bool] = {}
        if not all(math.isfinite(value) for value in parts.values()):
            suspects = {
                "the inputs": not _finite(batch.inputs),
                "the teacher's logits": any(
                    not _finite(each.teacher.tensors) for each in lessons if each.teacher is not None
                ),
                "the student's logits": any(not _finite(each.student.tensors) for each in lessons),
            }
        changing = any(part.is_changing(step / self.total_steps) for part in self.job.losses)
        self.health.check(parts, step=step, lr=lr, suspects=suspects, changing=changing)
        return parts

    def _for_student(self, loaded: LoadedBatch, *, view: int) -> Batch:
        """What the student sees in a step: the view of the epoch, or what the teacher makes of it."""
        partners = loaded.partners
        showing = Showing(
            self._shown(loaded, view=view),
            another_view=lambda number: self._shown(loaded, view=number),
            partners=None if partners is None else lambda: self._shown(partners, view=view),
        )
        return self.job.teacher.shown(showing)

    def _shown(self, loaded: LoadedBatch, *, view: int) -> Batch:
        """A loaded batch on the device, as the view shows it; view −1 is the plain sample."""
        plan = self.job.plan
        with self.watch.phase("views") if view >= 0 else nullcontext():
            loaded = loaded.to(self.fabric.device)
            shown, mixed = plan.views.show(loaded, view=view, seed=plan.seed)
            inputs = {name: self._laid_out(tensor) for name, tensor in as_seen(shown).items()}
            targets = plan.views.targets(loaded, view=view, seed=plan.seed)
            return Batch(inputs, targets, loaded.labelled, loaded.sample_ids, view, self.job.task, mixed)

    def _laid_out(self, tensor: Tensor) -> Tensor:
        return tensor.contiguous(memory_format=self.conditions.memory_format) if tensor.dim() == 4 else tensor

    def _wait_while_deciding(self) -> None:
        """Wait for the GPU for as long as what a step takes there decides whether to compile."""
        if not self.compiler.settled:
            torch.cuda.synchronize(self.fabric.device)

    def _settle_compiling(self, batch: Batch) -> None:
        """Compile student and teacher when it is time to decide, and it pays."""
        if self.compiler.settled or not self.compiler.is_time(self.watch):
            return
        teacher, steps_left = self.job.teacher, self.total_steps - self.position.step
        candidates = [
            compiling.Candidate(
                "student", self.job.network, learns=True, steps_left=steps_left, trial=lambda: self._trial(batch)
            )
        ]
        if teacher.network is not None:
            filling = self.job.plan.count * len(self.loader) - self.position.step
            asked_in = max(0, min(filling, steps_left)) if teacher.keeps_answers else steps_left
            trial = partial(self._teacher_trial, teacher.network, batch)
            candidates.append(
                compiling.Candidate("teacher", teacher.network, learns=False, steps_left=asked_in, trial=trial)
            )
        self.compiler.settle(
            candidates,
            seconds_per_step=together.mean_of(self.fabric, self.compiler.seconds_per_step()),
            position=self.position,
            device=self.fabric.device.type,
            world_size=self.fabric.world_size,
        )

    def _trial(self, batch: Batch) -> None:
        outputs = Outputs.of(self.model(batch.call)).tensors.values()
        self.fabric.backward(torch.stack([each.float().square().mean() for each in outputs]).sum())

    def _teacher_trial(self, network: nn.Module, batch: Batch) -> None:
        with torch.inference_mode(), self.fabric.autocast():
            network(batch.call)

    def _check_weights(self, lr: float) -> None:
        """A step that broke the weights after the last look at the losses must not be kept.

        Raises:
            DivergenceError: A weight is not finite.
        """
        for name, parameter in self.job.network.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                self.health.broken_weight(name, step=self.position.step - 1, lr=lr)

    def _finish_epoch(self, progress: console.TrainingProgress, *, rate: float) -> None:
        position = self.position
        lr = self._lr(position.step - 1)
        self._check_weights(lr)
        losses = self._mean_losses()
        counted = position.batch
        losses = {name: total / counted for name, total in losses.items()}
        val = self._validate(self.job.dataset.val)
        entry = {
            "epoch": position.epoch,
            "lr": lr,
            "losses": losses,
            "train_loss": sum(losses.values()),
            "val": val,
            "images_per_s": rate,
        }
        if (
            self.fabric.device.type == "cpu"
        ):  # elsewhere calls return before the work is done: compress bench --training
            entry["ms_per_step"] = self.watch.ms_per_step()
        position.curve.append(entry)
        events.write_epoch(entry, state=self.job.state, title=self.job.title)
        metric = self.job.task.metric(self.job.task.primary)
        score = f"val {metric.name} {metric.shown(val[metric.name])}" if val else ""
        progress.epoch(epoch=position.epoch, of=self.epochs, losses=losses, score=score, images_per_s=rate)
        self.job.teacher.after_epoch(epoch=position.epoch)
        position.epoch, position.batch, self.sums = position.epoch + 1, 0, {}

    def _validate(self, samples: Samples | None) -> dict[str, float] | None:
        if samples is None:
            return None
        network = self.average.network if self.average is not None else self.job.network
        network.eval()
        loader = Loader(
            samples,
            batch_size=max(_EVALUATION_BATCH, self.fabric.world_size),
            seed=0,
            shuffle=False,
            drop_last=False,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
        )
        task = self.job.task
        found: list[Findings] = []
        with torch.no_grad(), self.fabric.autocast(), as_written(network):
            for loaded in loader.batches(0):
                batch = self._shown(loaded, view=-1)
                if not len(batch):
                    found.append({})
                    continue
                outputs = Outputs.of(network(batch.call)).changed(lambda tensor: tensor.float().cpu())
                found.append(
                    task.findings(
                        {name: tensor.numpy() for name, tensor in outputs.tensors.items()},
                        {name: tensor.numpy() for name, tensor in loaded.targets.items()},
                    )
                )
        return task.metrics(together.in_order(self.fabric, found))

    def _training_loader(self) -> Loader:
        job, plan = self.job, self.job.plan
        num_samples = len(job.dataset.train)

        def partners(positions: Any, epoch: int) -> Any:
            return plan.views.partners(positions, view=plan.number(epoch), seed=plan.seed, num_samples=num_samples)

        return Loader(
            job.dataset.train,
            batch_size=self.batch_size,
            seed=job.seed,
            shuffle=True,
            drop_last=True,
            partners=partners if plan.views.mixes else job.teacher.pairing(),
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
            pin=self.fabric.device.type == "cuda",
            lengths=lengths_of(job.dataset.train) if job.settings.group_by_length else None,
        )

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

    def _mean_losses(self) -> dict[str, float]:
        """The sums of the loss parts over the epoch so far, mean over the processes."""
        return together.mean_of(self.fabric, {name: float(total) for name, total in self.sums.items()})

    def _asked(self) -> int:
        return self.position.asked + self.job.teacher.asked

    def _keep(self) -> None:
        """Write the state.

        Raises:
            ArtifactError: The disk is full, or not ours to write.
        """
        self.position.sums = self._mean_losses()
        self.position.scaler = dict(self.fabric.strategy.precision.state_dict())
        self.job.teacher.before_keeping()
        if processes.is_main():
            now = resume.at(self.position, asked=self._asked())
            resume.save(self.job.state, now, modules=self.modules, optimizer=self.optimizer.optimizer)

    def _asked_to_stop(self, stop: StopRequest) -> bool:
        """Whether to stop after this step; processes agree on it now and then, to stop after the same one."""
        if self.fabric.world_size > 1 and self.position.batch % _STEPS_BETWEEN_AGREEMENTS:
            return False
        return together.any_of(self.fabric, bool(stop))

    def _interrupt(self, stop: StopRequest) -> None:
        self._keep()
        self.fabric.barrier()
        raise InterruptedRunError(
            f"by {stop.signal_name or 'a signal to another process'} after {self.position.step} of {self.total_steps} "
            f"steps; the state is kept in {self.job.state}",
            hint=self.job.resume_line,
        )

    def _lost(self, fault: BaseException) -> CompressError | None:
        return together.lost_process(fault, state=str(self.job.state), resume_line=self.job.resume_line)

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


def _require_parts(job: Job, *, batch_size: int) -> None:
    """Refuse a step in parts where a part would be one sample, or where the teacher ties the rows of a batch together.

    Raises:
        InputError: One of both.
    """
    count = job.settings.accumulate
    if count == 1:
        return
    if batch_size < 2 * count:
        message = f"a batch of {batch_size} has no {count} parts of at least two samples"
        raise InputError(message, where="accumulate", hint=f"write at most {batch_size // 2}, or a larger batch_size")
    if type(job.teacher).shown is not Teacher.shown:
        message = "this kind of teacher shows samples beside others of the same step, which parts would separate"
        raise InputError(message, where="accumulate", hint="leave accumulate out, or take another teacher.kind")


def _finite(tensors: Mapping[str, Tensor]) -> bool:
    return all(bool(torch.isfinite(each).all()) for each in tensors.values() if each.is_floating_point())


def _seed_of_step(seed: int, step: int) -> int:
    """What the random generators of this process start from in a step: dropout is a function of seed, step and process."""
    return int(np.random.SeedSequence([seed, step, processes.rank()]).generate_state(1, np.uint64)[0] >> 1)
