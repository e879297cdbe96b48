"""From a model setting to a trained artifact: what training alone and distilling have in common."""

from __future__ import annotations

from compressor.artifact import Artifact, Target
from compressor.data import views
from compressor.data.samples import Dataset
from compressor.recipe import DataSettings, ModelSettings, TrainingSettings
from compressor.tasks._contract import Task
from compressor.teachers._contract import Teacher
from compressor.training import engine, resume
from compressor.training.keep import keep
from compressor.training.start import network_for


def produce(
    model: ModelSettings,
    settings: TrainingSettings,
    *,
    teacher: Teacher,
    losses: tuple[engine.WeightedLoss, ...],
    data: DataSettings,
    dataset: Dataset,
    task: Task,
    target: Target,
) -> Artifact:
    """Build `model`, train it on `dataset` with `losses` against `teacher`, and keep its last epoch.

    Raises:
        ModelError: The network cannot be built or does not fit the data.
        DivergenceError: Training met NaN or exploded.
        InterruptedRunError: Stopped by a signal; the same call goes on.
    """
    loaded, why_network = network_for(model, dataset=dataset, task=task, seed=target.seed)
    shown, why_views = views.resolve(data.views, sample_shape=dataset.sample_shape)
    trained = engine.fit(
        engine.Job(
            title=target.role,
            key=target.key,
            state=target.state,
            resume_line=target.command,
            network=loaded.network,
            teacher=teacher,
            losses=losses,
            task=task,
            dataset=dataset,
            views=shown,
            settings=settings,
            seed=target.seed,
        )
    )
    kept = keep(
        loaded.with_network(trained.network),
        target=target,
        dataset=dataset,
        task=task,
        decisions=(*why_network, *why_views, *trained.decisions),
        details={"curve": trained.curve, "interruptions": trained.interruptions},
        elapsed_s=trained.elapsed_s,
    )
    resume.discard(target.state)
    return kept
