"""A generalist with specialists for the classes that it confuses, as one teacher."""

from __future__ import annotations

from collections.abc import Sequence

from compressor import console
from compressor.artifact import Artifact, Target
from compressor.pipeline.current import Run, given
from compressor.pipeline.networks import combined, member, trained
from compressor.recipe import SpecialistSettings, TeacherSettings


def with_specialists(current: Run, settings: TeacherSettings, training: SpecialistSettings) -> Artifact:
    """A generalist, trained here or adopted, with specialists for the classes it confuses, as one network."""
    from compressor.stages import specialists as stage

    stage.require_enough_classes(len(current.dataset.classes), count=training.count)
    if current.recipe.train is not None:
        generalist = trained(current, "train", "member", settings, current.recipe.train)
    else:
        generalist = member(current, 1, settings.networks[0])

    def find(target: Target) -> Artifact:
        return stage.cluster(generalist, training, dataset=current.dataset, target=target)

    parents = {"generalist": generalist}
    found = current.link(
        "clusters", "cluster", "clusters", current.settings(count=training.count), find, parents=parents
    )
    clusters = stage.clusters_in(found)
    for decision in found.manifest.decisions:
        if decision.what.startswith(("cluster ", "classes without")):
            console.note(f"clusters: {decision.what}: {decision.choice}")
    if current.links:
        current.links -= training.count - len(clusters)
    specialists = _side_by_side(current, generalist, training, clusters)
    oversampled = [stage.oversampled_in(each) for each in specialists]
    options = {"clusters": [list(each) for each in clusters], "oversampled": oversampled}
    return combined(current, settings, [generalist, *specialists], options=options, also={"clusters": found})


def _side_by_side(
    current: Run, generalist: Artifact, training: SpecialistSettings, clusters: Sequence[Sequence[int]]
) -> list[Artifact]:
    """A specialist for each cluster; those that are not there yet are trained together."""
    from compressor.stages import specialists as stage

    data = given(current.recipe.data, "data")
    training, why = current.settled(training)
    kept = training.model_dump(mode="json", exclude={"count", "processes"})  # what changes no specialist
    made: dict[int, Artifact] = {}
    wanted = []
    for number, cluster in enumerate(clusters, start=1):
        settings = current.settings(data=data, training=kept, cluster=list(cluster))
        planned = current.planned(
            f"specialist-{number}", "specialize", "specialist", settings, parents={"generalist": generalist}, why=why
        )
        if isinstance(planned, Artifact):
            made[number] = planned
        else:
            wanted.append(stage.Wanted(number, tuple(cluster), planned))
    now_made = stage.specialize(
        generalist, training, wanted, of=len(clusters), data=data, dataset=current.dataset, task=current.recipe.task
    )
    made |= {each.number: specialist for each, specialist in zip(wanted, now_made, strict=True)}
    return [made[number] for number in sorted(made)]
