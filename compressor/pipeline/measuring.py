"""What a run is measured by: its models, models given by name, a pack for a device, the steps of training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor import console
from compressor import recipe as recipes
from compressor.artifact import Artifact, Target
from compressor.errors import ArtifactError, InputError, ModelError
from compressor.pipeline.current import ROLES, Role, Run, given
from compressor.pipeline.keys import content_key, libraries, this_machine
from compressor.pipeline.students import learner, with_usual_loss

if TYPE_CHECKING:
    from compressor.stages.bench import Candidate, TaughtElsewhere
    from compressor.training.profile import Profile


def bench(current: Run) -> Artifact:
    """Measure every role this run has.

    Raises:
        ArtifactError: Two of them are one network, or have one ONNX model.
    """
    candidates = [_candidate(current, role) for role in ROLES if current.has(role)]
    _require_apart(candidates)
    parents: dict[str, Artifact] = {role: current.artifacts[role] for role in ROLES if role in current.artifacts}
    parents |= {f"{role}-onnx": current.onnx[role] for role in ROLES if role in current.onnx}
    return _measured(current, candidates, parents=parents, taught_by=_taught_elsewhere(current))


def pack(current: Run, roles: Sequence[Role], *, samples: int) -> Artifact:
    """Pack the ONNX models of some roles for a device that has no compress.

    Args:
        roles: Whose; the first is what the others are held against.
        samples: How many test samples go along.
    """
    models: dict[str, Artifact] = {role: current.onnx[role] for role in roles}

    def make(target: Target) -> Artifact:
        from compressor.stages.pack import pack as stage

        return stage(
            models,
            current.recipe.bench,
            base=roles[0],
            samples=samples,
            dataset=current.dataset,
            task=current.task,
            task_name=current.recipe.task.name,
            task_options=current.recipe.task.options,
            target=target,
        )

    settings = current.settings(bench=current.recipe.bench, roles=list(roles), samples=samples)
    parents = {f"{role}-onnx": model for role, model in models.items()}
    return current.link("pack", "pack", "pack", settings, make, parents=parents, also=libraries())


def compare(current: Run, sources: Mapping[str, Artifact | Path]) -> Artifact:
    """Measure models against the first of them, each in the form it has.

    Args:
        sources: A network's artifact, or an ONNX file or artifact, by title.
    """
    from compressor.stages.bench import Candidate

    sources = {title: _as_it_is_fed(current, title, source) for title, source in sources.items()}
    candidates = [
        Candidate(
            _role_in_comparison(position, len(sources)),
            title,
            torch=source if isinstance(source, Artifact) and source.manifest.kind == "torch" else None,
            onnx=_onnx_form(source),
            why_no_onnx="it was given as a network",
        )
        for position, (title, source) in enumerate(sources.items())
    ]
    known = {title: content_key(source) for title, source in sources.items()}
    return _measured(current, candidates, compared=known)


def profile(current: Run, *, steps: int) -> list[Profile]:
    """Time training steps of the student, or of the teacher where there is no student; nothing is kept.

    A teacher that has yet to be trained is timed with the weights it begins with.
    """
    from compressor.stages.profile import profile_distilling, profile_training

    with tempfile.TemporaryDirectory(prefix="compress-profile-") as folder:
        target = Target(Path(folder) / "profile", "profile", "profile", "profile", current.recipe.seed, {})
        teacher = given(current.recipe.teacher, "teacher")
        if current.recipe.distillation is None:
            training = current.recipe.train or recipes.TrainSettings()
            return profile_training(teacher, training, material=current.material(training), target=target, steps=steps)
        data, _ = current.counted_views()
        distill, _ = with_usual_loss(current.recipe.distillation, teacher.kind, current.task)
        return profile_distilling(
            learner(current, given(current.recipe.student, "student")),
            distill,
            teacher=teacher,
            material=current.material(distill, data),
            target=target,
            steps=steps,
        )


def _measured(
    current: Run,
    candidates: Sequence[Candidate],
    *,
    parents: Mapping[str, Artifact] | None = None,
    taught_by: TaughtElsewhere | None = None,
    **settings: Any,
) -> Artifact:
    """The measurements of `candidates` against the first of them."""

    def make(target: Target) -> Artifact:
        from compressor.stages.bench import bench as stage

        return stage(
            candidates,
            current.recipe.bench,
            base=candidates[0].role,
            dataset=current.dataset,
            task=current.task,
            target=target,
            taught_by=taught_by,
        )

    resolved = current.settings(bench=current.recipe.bench, **settings, **this_machine())
    current.measurements = current.link("bench", "bench", "bench", resolved, make, parents=parents, also=libraries())
    return current.measurements


def _taught_elsewhere(current: Run) -> TaughtElsewhere | None:
    """Who taught the student, where that is nothing this run can measure."""
    from compressor.stages.bench import TaughtElsewhere

    made = (current.artifacts.get(role) for role in ("distilled", "student"))
    told = next(
        (each.manifest.details.get("teacher") for each in made if each and each.manifest.stage == "distill"), None
    )
    if current.has("teacher") or not told or told.get("title") is None:
        return None
    return TaughtElsewhere(str(told["title"]), dict(told.get("test") or {}))


def _candidate(current: Run, role: Role) -> Candidate:
    from compressor.stages.bench import Candidate

    onnx = current.onnx.get(role)
    return Candidate(
        role,
        role.capitalize(),
        torch=current.artifacts.get(role),
        onnx=onnx.path if onnx else None,
        timed=role != "control",
        why_no_onnx=current.why_no_onnx.get(role, "it was not exported"),
    )


def _require_apart(candidates: Sequence[Candidate]) -> None:
    """Refuse to hold a model against itself under two names.

    Raises:
        ArtifactError: Two candidates are loaded from one place.
    """
    seen: dict[Path, str] = {}
    for candidate in candidates:
        places = [candidate.torch.path if candidate.torch else None, candidate.onnx]
        for place in (each.resolve() for each in places if each is not None):
            if place in seen:
                message = f"would be measured as {seen[place]} and as {candidate.role}, and is one model"
                raise ArtifactError(message, where=str(place), hint="name the two networks: compress bench A B")
            seen[place] = candidate.role


def _as_it_is_fed(current: Run, title: str, source: Artifact | Path) -> Artifact | Path:
    """A file from elsewhere that does not say how its input is normalised, as a copy that says what was found out.

    One that knows next to nothing of the data however it is fed is measured as it is: it may be there for its speed.
    """
    from compressor.models import onnx_copy

    dataset, stated = current.dataset, current.recipe.teacher.normalise if current.recipe.teacher else "auto"
    if isinstance(source, Artifact) or "one_class" not in current.task.gives or onnx_copy.says_its_input(source):
        return source
    file = source

    def make(target: Target) -> Artifact:
        from compressor.stages.adopt import adopt_onnx as stage

        options: dict[str, Any] = {"outputs": "logits"}  # probabilities are measured as what they are
        options |= {} if stated == "auto" else {"normalise": stated}
        return stage(file, options=options, dataset=dataset, task=current.task, target=target, judged=False)

    name = f"fed-{recipes.safe_name(title)}"
    settings = current.settings(model=str(source), normalise=stated)
    try:
        made = current.link(name, "adopt", name, settings, make, also={"file": content_key(source)})
    except (ModelError, InputError) as fault:
        if stated != "auto":
            raise
        console.note(f"{title} is measured as it is: {fault.message}")
        return source
    for decision in made.manifest.decisions:
        if decision.what.startswith("teacher's"):
            what = decision.what.removeprefix("teacher's ")
            console.note(f"{title}: {what} {decision.choice} — {decision.reason}")
    return made


def _role_in_comparison(position: int, count: int) -> str:
    """The first of several is what the others are held against; the last is the one that matters."""
    if position == count - 1:
        return "student"
    return "teacher" if position == 0 else f"model-{position + 1}"


def _onnx_form(source: Artifact | Path) -> Path | None:
    if isinstance(source, Path):
        return source
    return source.path if source.manifest.kind == "onnx" else None
