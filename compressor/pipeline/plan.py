"""A whole run: what its recipe asks for, in order."""

from __future__ import annotations

from pathlib import Path

from compressor import artifact, processes
from compressor import recipe as recipes
from compressor.errors import InputError
from compressor.models import spec as specs
from compressor.pipeline.compression import prune, quantize
from compressor.pipeline.current import BETWEEN, Run, given
from compressor.pipeline.exports import export_all
from compressor.pipeline.measuring import bench
from compressor.pipeline.students import make_control, make_student
from compressor.pipeline.teachers import make_teacher
from compressor.recipe import Recipe


def run(recipe: Recipe, *, command: str = "") -> Run:
    """Run a recipe up to the measurements; what a wanted stage needs is made too, or skipped if it has not changed.

    Raises:
        CompressError: Whatever stopped it; finished links stay.
    """
    current = Run(recipe, command)
    order = recipe.stage_order()
    _require_one_process(recipe)
    current.links = links_of(recipe)
    with current.working():
        current.record_recipe()
        make_teacher(current)
        for stage in recipe.chain:
            if stage == "distill":
                if given(recipe.distillation, "distill").control:
                    make_control(current)
                make_student(current)
            elif stage == "prune":
                prune(current)
        if not processes.is_main():
            return current  # what is left is for one process
        if {"export", "bench", "report"} & set(order):
            export_all(current)
        if "quantize" in recipe.chain:
            quantize(current)
        if {"bench", "report"} & set(order):
            bench(current)
    return current


def links_of(recipe: Recipe) -> int:
    """How many links a run of the recipe has."""
    order, chain = recipe.stage_order(), recipe.chain
    teacher = given(recipe.teacher, "teacher")
    takes = recipes.needs_of(teacher.kind)
    several, generations = "networks" in takes, 0
    if "previous" in takes:
        generations = int(teacher.kind_options.get("generations", 1))
    taught = 1 if recipe.train is not None or several or generations or (teacher.model and "network" in takes) else 0
    adopted = (
        sum(specs.parse(each.model).kind != "artifact" for each in teacher.networks)
        if taught and not generations
        else 0
    )
    by_file = teacher.kind == "onnx" and recipe.train is None and not artifact.is_artifact(Path(teacher.model))
    made = 1 if recipe.train is not None else adopted + several + generations + by_file
    if recipe.specialising is not None:  # the generalist, its clusters, a specialist for each, all as one
        made = (1 if recipe.train is not None else adopted) + 1 + recipe.specialising.count + 1
    controls = "distill" in chain and given(recipe.distillation, "distill").control
    links = controls + len([stage for stage in chain if stage in BETWEEN])
    measured = bool({"bench", "report"} & set(order))
    exported = taught + links if {"export", "bench", "report"} & set(order) else int("quantize" in chain)
    return made + links + len(recipe.assistants) + exported + ("quantize" in chain) + measured


def _require_one_process(recipe: Recipe) -> None:
    """Pruning and quantization measure as they go, and several processes would measure several things.

    Raises:
        InputError: There are more processes.
    """
    if recipe.specialising is not None and processes.world_size() > 1:
        message = f"specialists are trained in processes of their own, this job has {processes.world_size()} already"
        hint = "make them in one process first; their folder is then a teacher like any other: --teacher runs/x/teacher"
        raise InputError(message, where="teacher.kind", hint=hint)
    alone = [stage for stage in recipe.chain if stage in ("prune", "quantize")]
    if alone and processes.world_size() > 1:
        hint = "distil with several processes first (stages = ['distill']), then run the whole recipe in one"
        raise InputError(f"'{alone[0]}' runs in one process, this job has {processes.world_size()}", hint=hint)
