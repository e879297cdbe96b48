"""From what a user names to a run: an artifact, a checkpoint, a run's folder, an ONNX file, or nothing at all."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compressor import artifact, console, pipeline, preflight
from compressor import recipe as recipes
from compressor.artifact import Artifact, Decision
from compressor.errors import ArtifactError, InputError, RecipeError
from compressor.models import spec as specs
from compressor.pipeline import Role, Run
from compressor.recipe import Recipe

PathLike = str | Path
DEFAULT_RUNS = Path("runs")
_SHIPPING = ("student", "teacher")  # roles of what may ship; controls, assistants and generations do not


def reopened(
    source: PathLike | None,
    sections: Mapping[str, Any],
    data: str | None,
    arch: str | None,
    runs: Path,
    assignments: Sequence[str],
    command: str,
    *,
    adopts_another: bool = False,
) -> Run:
    """A run around one network: an artifact, or a model from elsewhere that is adopted first.

    Args:
        source: The network; by default the newest below `runs`.
        sections: Of the recipe, as they are stated.
        data: A data source, where it is not the artifact's own.
        arch: The architecture of a source that is a state dict.
        runs: Where to look, and where a model from elsewhere is adopted.
        assignments: `a.b=value` overrides of any recipe setting.
        command: What the user types to do this again.
        adopts_another: Whether another model is adopted into `runs` beside this one.

    Raises:
        InputError: An architecture is named for an artifact, or another place than its own for what is made from it.
    """
    raw = {**sections, **({"data": {"source": data}} if data else {})}
    if source is None or artifact.is_artifact(Path(source)):
        _require_no_architecture(arch, "--arch", source or "the newest network")
    if source is None:
        found = newest_network(runs)
    elif artifact.is_artifact(Path(source)):
        found = artifact.read(Path(source))
        if runs != DEFAULT_RUNS and not adopts_another:
            pipeline.require_beside(found, option="--runs", runs=runs)
        if found.manifest.kind == "onnx":
            found = found.parent("network") or found.parent("source") or found
    else:
        found = adopt(source, raw, arch, runs, assignments, command)
    if found.manifest.kind != "torch":
        raise InputError(f"holds {found.manifest.kind}, not a network", where=str(found.path))
    current = pipeline.reopen(found, raw=raw, assignments=assignments, command=command)
    current.artifacts[_role_of(found)] = found
    return current


def for_another_link(
    source: PathLike | None,
    sections: Mapping[str, Any],
    data: str | None,
    arch: str | None,
    runs: Path,
    assignments: Sequence[str],
    command: str,
    *,
    teacher: PathLike | None,
    teacher_arch: str | None,
    takes_onnx: bool = False,
) -> Run:
    """A run around one network that is about to be changed, with the teacher that it recovers from.

    Args:
        teacher: As named; by default the one that the network learned from, else the network itself.
        teacher_arch: The architecture of a teacher that is a state dict.
        takes_onnx: Whether an ONNX model from elsewhere, which cannot be trained, will do.

    Raises:
        InputError: As `reopened`; or a teacher or an architecture is named that nobody would look at.
    """
    if takes_onnx and source is not None and specs.parse(str(source)).kind == "onnx":
        for option, stated in (("--arch", arch), ("--teacher", teacher), ("--teacher-arch", teacher_arch)):
            if stated is not None:
                hint = "leave it out, or name the network that the model was exported from"
                raise InputError(f"{source} is ONNX, which is quantized as it is", where=option, hint=hint)
        return _around_onnx(source, sections, data, runs, assignments, command)
    if takes_onnx and source is not None and artifact.is_artifact(Path(source)):
        _require_float(source)
    adopts_teacher = teacher is not None and not artifact.is_artifact(Path(teacher))
    if teacher is None:
        _require_no_architecture(teacher_arch, "--teacher-arch", "the teacher that it learned from")
    current = reopened(source, sections, data, arch, runs, assignments, command, adopts_another=adopts_teacher)
    network = current.artifacts.popitem()[1]
    if teacher is not None:
        learned_from = _teacher_named(teacher, teacher_arch, current, runs, assignments, command)
    else:
        learned_from, current.why_teacher = _teacher_of(network)
    current.artifacts["teacher"] = learned_from
    if network is not learned_from:
        current.artifacts[between(network) if between(network) != "teacher" else "distilled"] = network
    return current


def _require_float(source: PathLike) -> None:
    """Refuse to quantize what was made by quantization.

    Raises:
        ModelError: An ONNX file, or that of an artifact, has fewer bits already.
    """
    from compressor.quantizers._already import require_float

    if not artifact.is_artifact(Path(source)):
        require_float(Path(source))
        return
    found = artifact.read(Path(source))
    if found.manifest.kind == "onnx":
        made_from = found.parent("network") or found.parent("source")
        hint = f"name what it was made from: compress quantize {made_from.path}" if made_from else None
        require_float(found.file("model.onnx"), hint=hint)


def _teacher_of(network: Artifact) -> tuple[Artifact, tuple[Decision, ...]]:
    """The network that another one learned from; else itself, with the reason where it did learn from one."""
    found, recorded = network.parent("teacher"), network.manifest.parents.get("teacher")
    if found is not None and found.manifest.kind == "torch":
        return found, ()
    if recorded is None:
        return network, ()
    place = Path(os.path.normpath(network.path / recorded["path"]))
    gone = f"{place}, which it learned from, is gone or has changed; --teacher names another"
    onnx = f"{place}, which it learned from, is no network in PyTorch"
    return network, (Decision("teacher", "the network as it was", gone if found is None else onnx),)


def _around_onnx(
    source: PathLike,
    sections: Mapping[str, Any],
    data: str | None,
    runs: Path,
    assignments: Sequence[str],
    command: str,
) -> Run:
    """A run around an ONNX model from elsewhere, which has no network that could be trained."""
    raw = {**sections, **({"data": {"source": data}} if data else {})}
    current = _checked_run(source, raw, None, runs, assignments, command)
    _require_float(source)
    with current.working():
        pipeline.make_teacher(current)
    return current


def teacher_section(
    named: PathLike | Sequence[PathLike] | None,
    archs: str | Sequence[str] | None,
    kind: str | None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`[teacher]` of a recipe, from the networks that were named and the kind.

    Raises:
        InputError: There are more architectures than networks, or neither a network nor a kind.
    """
    networks = [named] if isinstance(named, str | Path) else list(named or ())
    built = [archs] if isinstance(archs, str) else list(archs or ())
    if not networks and kind is None:
        hint = "add --teacher t.pt, or --teacher-kind with a kind that needs none (compress list teachers)"
        raise InputError("who teaches?", where="--teacher", hint=hint)
    if built and not networks:
        hint = "leave it out, or name whose it is with --teacher"
        raise InputError("there is no network that it could be the architecture of", where="--teacher-arch", hint=hint)
    if len(built) not in (0, 1, len(networks)):
        message = f"{len(built)} architectures for {len(networks)} teachers"
        raise InputError(message, where="--teacher-arch", hint="give one for all, or one for each")
    if len(built) == 1:
        built *= len(networks)
    tables = [{"model": str(each)} | ({"arch": built[number]} if built else {}) for number, each in enumerate(networks)]
    kind = kind or ("ensemble" if len(networks) > 1 else None)
    section: dict[str, Any] = {"kind_options": dict(options)} if options else {}
    section |= {"kind": kind} if kind else {}
    if kind is not None and "peers" in recipes.needs_of(kind):
        return section | ({"members": tables} if tables else {})
    return section | (tables[0] if tables else {}) | ({"members": tables[1:]} if tables[1:] else {})


def _teacher_named(
    teacher: PathLike,
    arch: str | None,
    current: Run,
    runs: Path,
    assignments: Sequence[str],
    command: str,
) -> Artifact:
    """The teacher's artifact; one from elsewhere is adopted with the data and the task of the run it will teach in."""
    if artifact.is_artifact(Path(teacher)):
        _require_no_architecture(arch, "--teacher-arch", teacher)
        return artifact.read(Path(teacher))
    raw = current.recipe.model_dump(mode="json", include={"data", "task"})
    return adopt(teacher, raw, arch, runs, assignments, command)


def task_of(source: PathLike | None, runs: Path) -> Mapping[str, Any]:
    """`[task]` that the artifact was made for which a source names; empty for a model from elsewhere, which says none."""
    if source is None:
        found = _newest(runs)
    else:
        found = artifact.read(Path(source)) if artifact.is_artifact(Path(source)) else None
    return {} if found is None else recipes.table_of(found.manifest.settings, "task")


def _newest(runs: Path) -> Artifact | None:
    return artifact.newest(runs, kind="torch", roles=_SHIPPING)


def newest_network(runs: Path) -> Artifact:
    found = _newest(runs)
    if found is None:
        raise InputError("no network here yet", where=str(runs), hint="make one: compress distill, or name a source")
    console.note(f"takes the newest network: {found.path}")
    return found


def compare(
    sources: Sequence[PathLike],
    section: Mapping[str, Any],
    data: str | None,
    name: str,
    runs: Path,
    assignments: Sequence[str],
    command: str,
    *,
    again: bool = False,
) -> Artifact:
    """Measure models as they are, against the first of them."""
    models = {Path(source).stem if Path(source).is_file() else str(source): _as_it_is(source) for source in sources}
    if len(models) < len(sources):
        raise InputError("two of the models have one name", where=", ".join(map(str, sources)), hint="rename a file")
    made_with = next((model for model in models.values() if isinstance(model, Artifact)), None)
    raw: dict[str, Any] = {
        "name": name,
        "runs": str(runs),
        "stages": ["export"],
        "teacher": {"model": "compared"},
        **section,
    }
    raw |= {"data": {"source": data}} if data is not None else {}
    current = Run(pipeline.settings_for(raw, assignments, made_with=made_with), command)
    current.again = frozenset({"bench"} if again else ())
    with current.working():
        return pipeline.compare(current, models)


def _as_it_is(source: PathLike) -> Artifact | Path:
    spec = specs.parse(str(source))
    if spec.kind == "artifact":
        assert spec.path is not None
        found = artifact.read(spec.path)
        if found.manifest.kind not in ("torch", "onnx"):
            raise InputError(
                f"holds {found.manifest.kind}, no model", where=str(source), hint="name a network or its export"
            )
        return found
    if spec.kind == "onnx":
        assert spec.path is not None
        artifact.require_as_written(spec.path)
        return spec.path
    raise InputError(
        f"a {spec.kind} is not compared directly",
        where=str(source),
        hint="make it an artifact first: compress export does (with --arch for a state dict)",
    )


def _require_no_architecture(arch: str | None, option: str, source: PathLike) -> None:
    """Refuse an architecture that nobody would look at.

    Raises:
        InputError: There is one.
    """
    if arch is not None:
        message = f"{source} is an artifact, which knows its architecture"
        raise InputError(message, where=option, hint=f"leave {option} {arch} out")


def _role_of(network: Artifact) -> Role:
    """The role a network had in its run; one from elsewhere is taken for what will be shipped."""
    return next((role for role in pipeline.ROLES if role == network.manifest.role), "student")


def adopt(
    source: PathLike, raw: Mapping[str, Any], arch: str | None, runs: Path, assignments: Sequence[str], command: str
) -> Artifact:
    """A trained network from elsewhere, made an artifact."""
    current = _checked_run(source, raw, arch, runs, assignments, command)
    with current.working():
        made = pipeline.make_teacher(current)
        assert made is not None
        return made


def _checked_run(
    source: PathLike, raw: Mapping[str, Any], arch: str | None, runs: Path, assignments: Sequence[str], command: str
) -> Run:
    """A run that begins with one model from elsewhere, its settings and files looked at.

    Raises:
        RecipeError: They have faults.
    """
    specs.parse(str(source))
    own = {
        "name": name_of(source),
        "runs": str(runs),
        "stages": ["export"],
        "teacher": {"model": str(source)} | ({"arch": arch} if arch else {}),
    }
    recipe = pipeline.settings_for({**own, **raw}, assignments, made_with=None)
    found = preflight.check(recipe.model_dump(mode="json", exclude_none=True))
    if found:
        raise RecipeError(found, source="command line")
    if recipe.name == own["name"]:
        recipe = recipe.model_copy(update={"name": _free_name(recipe, str(source), arch)})
    return Run(recipe, command)


def _free_name(recipe: Recipe, source: str, arch: str | None) -> str:
    """A run's name, with a short hash of the model that begins it where another run has that name already."""
    known = pipeline.identity(source, arch=arch)
    run = Path(recipe.runs) / recipe.name
    teacher = artifact.read(run / "teacher") if artifact.is_artifact(run / "teacher") else None
    kept = teacher.manifest.settings.get("identity", {}) if teacher is not None else {}
    if kept.items() >= known.items() or not _newest_first(run):
        return recipe.name
    return f"{recipe.name}-{artifact.key_of(**known)[:8]}"


def network_of_run(sources: Sequence[PathLike]) -> Path | None:
    """The network that stands for a run, when one source is a run's folder or something in it.

    Of a folder it is the network that was distilled, pruned or quantized last, else the teacher.
    """
    if len(sources) != 1:
        return None
    folder = Path(sources[0])
    if artifact.is_artifact(folder):
        found = _network_in(artifact.read(folder))
        return found.path if found else None
    networks = [(each, _network_in(each)) for each in _newest_first(folder)]
    shipping = [(each, network) for each, network in networks if network and network.manifest.role in _SHIPPING]
    by_links = [network for each, network in shipping if each.manifest.stage in (*pipeline.BETWEEN, "quantize")]
    newest = next(iter(by_links or [network for _, network in shipping]), None)
    return newest.path if newest else None


def files_named(settings: Recipe) -> list[Path]:
    """Every file and folder that settings name and that is there: data, models, code."""
    return [path for text in _texts(settings.model_dump(mode="json")) for path in _paths_in(text)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _paths_in(text: str) -> Iterator[Path]:
    """What of `a`, `format:a` or `format:a:attr` is a path that is there."""
    words = text.split(":")
    for first in range(min(2, len(words))):
        for last in range(first + 1, len(words) + 1):
            named = ":".join(words[first:last])
            path = Path(named).expanduser()
            try:
                if named not in ("", ".") and path.exists():
                    yield path
            except (OSError, ValueError):  # too long for a path, or with a NUL
                continue


def _newest_first(folder: Path) -> list[Artifact]:
    """The artifacts in a run's folder, what was made last first; a folder of others with a manifest is told and left out."""
    made = []
    for file in sorted(folder.glob(f"[!.]*/{artifact.MANIFEST}")):
        try:
            made.append(artifact.read(file.parent))
        except ArtifactError as fault:
            console.note(f"{file.parent}: {fault.message}; left out")
    return list(reversed(artifact.in_order(made)))


def _network_in(made: Artifact) -> Artifact | None:
    """The network that an artifact is, or was quantized from."""
    if made.manifest.stage == "quantize":
        return made.parent("network")
    return made if made.manifest.kind == "torch" else None


def bench_settings_beside(network: Path, *, stated: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """How a network's run was measured last, as far as the settings are this version's, with the budgets of its recipe.

    A budget that was stated for a single bench is not one of those: it was that command's own. Settings that are stated now
    are left out, and a runtime that they name runs as asked, whatever it was then.

    Args:
        network: Of the run.
        stated: Settings of `[bench]` that the user states.

    Raises:
        TrustError: They name a runtime outside the package, and were made elsewhere and have not been trusted.
    """
    run = network.resolve().parent
    if not artifact.is_artifact(run / "bench"):
        return {}
    measured = artifact.read(run / "bench")
    asked = stated or {}
    kept = {
        name: each for name, each in recipes.table_of(measured.manifest.settings, "bench").items() if name not in asked
    }
    own = {
        runtime: pipeline.own_member(measured, runtime, what="the runtime", hint="measure in the folder it lies in")
        for runtime in pipeline.runtimes_in(kept)
        if ":" in runtime and runtime not in pipeline.runtimes_in(asked)
    }
    kept = _renamed(kept, own)
    of_the_recipe = recipes.table_of(recipes.kept_in(run) or {}, "bench")
    budgets = {name: of_the_recipe.get(name) for name in recipes.BUDGETS}
    return {name: value for name, value in {**kept, **budgets}.items() if name in recipes.BenchSettings.model_fields}


def _renamed(settings: Any, names: Mapping[str, str]) -> Any:
    """Plain settings with some of their texts in other words."""
    if isinstance(settings, Mapping):
        return {key: _renamed(value, names) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [_renamed(value, names) for value in settings]
    return names.get(settings, settings) if isinstance(settings, str) else settings


def add_relatives(current: Run) -> None:
    """What belongs to the network a run was opened with, when it is still there.

    That is its quantized form; and of a link, the links that led to it, its teacher and its control.
    """
    network = next(iter(current.artifacts.values()))
    links, quantized = _links_to(network), _quantized_from(network)
    if not links and quantized is None:
        return
    current.artifacts.clear()
    if quantized is not None:
        current.onnx["student"] = quantized
    if not links:
        current.artifacts["teacher"] = network
        return
    for link in links:
        is_last = link is network and quantized is None
        role = "student" if is_last else pipeline.BETWEEN[link.manifest.stage]
        if role in current.artifacts:
            console.note(f"{current.artifacts[role].path} is left out: of what was {role} twice, the last is measured")
        current.artifacts[role] = link
    _add_teacher(current, network, links)
    _add_control(current, links)


def _add_teacher(current: Run, network: Artifact, links: Sequence[Artifact]) -> None:
    """The teacher a network learned from; past assistants, the one that taught the first of them."""
    learner, teacher = network, network.parent("teacher")
    if teacher is not None and teacher.path in [link.path for link in links]:
        learner, teacher = links[0], links[0].parent("teacher")  # it recovered from itself
    back = list(artifact.walk(teacher, lambda each: each.parent("teacher") if _is_assistant(each) else None))
    assistants = [each for each in back if _is_assistant(each)]
    teacher = next((each for each in back if not _is_assistant(each)), None)
    learner = assistants[-1] if assistants else learner
    if teacher is None and "teacher" in learner.manifest.parents:
        console.note(f"the teacher of {network.path} is gone or has changed, so there is nothing to compare with")
    elif teacher is not None and teacher.manifest.kind == "onnx":
        current.onnx["teacher"] = teacher
    elif teacher is not None and teacher.manifest.kind == "torch":
        current.artifacts["teacher"] = teacher


def _is_assistant(network: Artifact) -> bool:
    return network.manifest.role == "assistant"


def _links_to(network: Artifact) -> list[Artifact]:
    """The distilled and pruned networks up to `network`, oldest first; none for a network that is no link."""
    back = artifact.walk(network, lambda each: each.parent("source") or each.parent("student"))
    links = list(itertools.takewhile(lambda each: each.manifest.stage in pipeline.BETWEEN, back))
    return links[::-1]


def _quantized_from(network: Artifact) -> Artifact | None:
    """The model beside a network that was quantized from it last."""
    quantized = (each for each in _newest_first(network.path.parent) if each.manifest.stage == "quantize")
    sources = ((each, each.parent("network")) for each in quantized)
    return next((each for each, source in sources if source and source.path.resolve() == network.path.resolve()), None)


def _add_control(current: Run, links: Sequence[Artifact]) -> None:
    distilled = next((link for link in links if link.manifest.stage == "distill"), None)
    if distilled is None or not artifact.is_artifact(distilled.path.parent / "control"):
        return
    control = artifact.read(distilled.path.parent / "control")
    if pipeline.is_control_of(control, distilled):
        current.artifacts["control"] = control
    else:
        console.note(f"{control.path} was trained with another budget or data, so it is no control of this student")


def between(found: Artifact) -> Role:
    """The role of a network that another link is about to be made from."""
    return pipeline.BETWEEN.get(found.manifest.stage, "teacher")


def name_of(model: PathLike) -> str:
    return recipes.safe_name(specs.parse(str(model)).title)
