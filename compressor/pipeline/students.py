"""What learns in a run: the student, assistants and generations before it, and its control."""

from __future__ import annotations

from pathlib import Path

from compressor import artifact, registry
from compressor import recipe as recipes
from compressor.artifact import Artifact, Decision, Target
from compressor.errors import InputError
from compressor.models import spec as specs
from compressor.pipeline.current import Run, given, origins
from compressor.pipeline.keys import model_key
from compressor.pipeline.networks import trained
from compressor.recipe import ModelSettings, TeacherSettings
from compressor.tasks._contract import Task


def make_control(current: Run) -> Artifact:
    """Train the student's architecture with the student's budget and no teacher.

    Raises:
        InputError: It would replace what the student is to learn from; it cannot lie elsewhere, as links can.
    """
    teacher, place = current.artifacts.get("teacher"), current.folder / "control"
    if teacher is not None and place.resolve() in origins([teacher]):
        hint = "choose another --name, or leave the control out"
        raise InputError("a control made here would replace what the teacher comes from", where=str(place), hint=hint)
    distill = given(current.recipe.distillation, "distill")
    budget = recipes.TrainSettings(**distill.model_dump(exclude=set(recipes.DISTILLATION_ALONE)))
    student = learner(current, given(current.recipe.student, "student"))
    data, why = current.counted_views()
    current.artifacts["control"] = trained(current, "control", "control", student, budget, data=data, why=why)
    return current.artifacts["control"]


def make_student(current: Run) -> Artifact:
    """Distil the student from the teacher; a network that was pruned before is the student, with its weights.

    Assistants, or generations of the student, come before it, each distilled from the one before.
    """
    teacher = given(current.recipe.teacher, "teacher")
    pruned = current.artifacts.get("pruned")
    if pruned is not None:
        student = ModelSettings(model=str(pruned.path))
    else:
        student = learner(current, given(current.recipe.student, "student"))
    source: Artifact | Path | None = current.artifacts.get("teacher") or current.teacher_file
    kind = teacher.kind
    if "previous" in recipes.needs_of(kind):
        source = _generations(current, student, teacher)
        current.artifacts["teacher"] = source
    for number, assistant in enumerate(current.recipe.assistants, start=1):
        named = learner(current, assistant)
        source = _distilled(current, f"assistant-{number}", "assistant", named, kind=kind, source=source)
        kind = "network"
    made = _distilled(current, "distill", "student", student, kind=kind, source=source, pruned=pruned)
    current.artifacts[current.role_of("distill")] = made
    return made


def _generations(current: Run, student: ModelSettings, teacher: TeacherSettings) -> Artifact:
    """The generations before the student; the first learns from the labels alone, each has a seed of its own."""
    distill = given(current.recipe.distillation, "distill")
    count = int(teacher.kind_options.get("generations", 1))
    budget = recipes.TrainSettings(**distill.model_dump(exclude=set(recipes.DISTILLATION_ALONE)))
    data, why = current.counted_views()
    seed = current.recipe.seed + count
    made = trained(current, "generation-0", "generation", student, budget, data=data, why=why, seed=seed)
    for number in range(1, count):
        name = f"generation-{number}"
        made = _distilled(current, name, "generation", student, kind=teacher.kind, source=made, seed=seed - number)
    return made


def _distilled(
    current: Run,
    name: str,
    role: str,
    student: ModelSettings,
    *,
    kind: str,
    source: Artifact | Path | None,
    pruned: Artifact | None = None,
    seed: int | None = None,
) -> Artifact:
    """One network, distilled from a teacher of this kind."""
    teacher = given(current.recipe.teacher, "teacher")
    distill, why_losses = with_usual_loss(given(current.recipe.distillation, "distill"), kind, current.task)
    distill, why_budget = current.settled(distill)
    data, why = current.counted_views()
    why = (*why, *why_losses, *why_budget)
    options = teacher.kind_options if kind == teacher.kind and kind != "onnx" else {}
    peers = (teacher.members or (student,)) if "peers" in recipes.needs_of(kind) else ()

    def make(target: Target) -> Artifact:
        from compressor.stages.distill import distill as stage
        from compressor.training.teaching import Teaching

        return stage(
            student,
            distill,
            teaching=Teaching(kind, options, source, peers),
            material=current.material(distill, data),
            target=target,
        )

    training = distill.model_copy(update={"control": False})
    settings = current.settings(
        data=data,
        model=student,
        training=training,
        kind=kind,
        kind_options=options,
        peers=[peer.model_dump(mode="json") for peer in peers],
        teacher_file=str(source) if isinstance(source, Path) else None,
    )
    parents = {"teacher": source} if isinstance(source, Artifact) else {}
    if kind == "onnx":
        parents = {"teacher": current.onnx["teacher"]}
    parents |= {"student": pruned} if pruned is not None else {}
    also = {
        "peers": [model_key(peer) for peer in peers],
        "file": artifact.sha256(source) if isinstance(source, Path) else None,
    }
    return current.link(
        name, "distill", role, settings, make, identity=student, parents=parents, also=also, why=why, seed=seed
    )


def learner(current: Run, model: ModelSettings) -> ModelSettings:
    """The network that learns: one that is cut from the teacher by the name of the teacher's artifact.

    Raises:
        InputError: The teacher is no single network that could be cut.
    """
    if model.model != f"cut:{specs.TEACHER}":
        return model
    teacher = current.artifacts.get("teacher")
    if teacher is None:
        hint = "give a teacher that is one network of PyTorch, or name another student"
        raise InputError("the teacher has no layers that can be taken out", where="student.model", hint=hint)
    return model.model_copy(update={"model": f"cut:{teacher.path}"})


def with_usual_loss(
    distill: recipes.DistillSettings, kind: str, task: Task
) -> tuple[recipes.DistillSettings, tuple[Decision, ...]]:
    """The settings with the loss that suits task and kind of teacher, where none is stated."""
    if distill.losses:
        return distill, ()
    loss = recipes.usual_loss(task.gives)
    if loss != recipes.usual_loss(None):
        why = Decision(
            "distill.losses", loss.name, "none is stated; the task tells numbers, which are compared as they are"
        )
        return distill.model_copy(update={"losses": (loss,)}), (why,)
    usual = registry.find("teachers", kind).load().usual
    chosen = recipes.LossSettings(**usual)
    told = ", ".join(f"{name} = {value}" for name, value in usual.items() if name != "name")
    why = Decision("distill.losses", f"{chosen.name}: {told}", f"none is stated; what the authors of '{kind}' used")
    return distill.model_copy(update={"losses": (chosen,)}), (why,) if told else ()
