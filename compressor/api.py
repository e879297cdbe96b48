"""The public functions, one for each command: `from compressor import train, distill, prune, quantize, export, bench, run`.

Every function takes what the command of the same name takes, under the same names, and returns the artifact it made.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor import artifact, console, opening, pipeline, places, preflight
from compressor import recipe as recipes
from compressor.artifact import Artifact, Decision
from compressor.data import guess
from compressor.errors import InputError, ModelError, RecipeError
from compressor.files import replacing
from compressor.models import spec as specs
from compressor.opening import PathLike
from compressor.pipeline import Role, Run
from compressor.recipe import Recipe


@dataclass(frozen=True)
class Finished:
    """What a run of a recipe leaves: its artifacts by role, its measurements and its report."""

    folder: Path
    artifacts: Mapping[Role, Artifact]
    onnx: Mapping[Role, Artifact]
    measurements: Artifact | None
    report: Artifact | None


if TYPE_CHECKING:
    from compressor.report.compare import Comparison
    from compressor.report.gate import Verdict


@dataclass(frozen=True)
class Packed:
    """What `pack` leaves: the folder, and the same as one file if that was wanted."""

    folder: Artifact
    archive: Path | None


def train(
    model: PathLike,
    *,
    data: str,
    name: str | None = None,
    runs: PathLike = "runs",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    command: str = "",
) -> Artifact:
    """Train a network from labels alone: a teacher, or a baseline.

    Args:
        model: A model spec: `file.py[:callable]`, `zoo:NAME`, `timm:NAME`, `torchvision:NAME`.
        data: A data source: `digits`, `images:DIR`, `idx:DIR`, `cifar:DIR`, `npz:FILE`, `py:FILE:callable`.
        name: Folder below `runs`; by default the model's name.
        runs: Where runs are kept.
        seed: Seed of everything random.
        options: Settings of `[train]` by name: `epochs`, `batch_size`, `lr`, ...
        assignments: `a.b=value` overrides of any recipe setting.
        command: What the user types to do this again.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    raw = {
        "name": name or opening.name_of(model),
        "runs": str(runs),
        "seed": seed,
        "stages": ["train"],
        "data": {"source": data},
        "teacher": {"model": str(model)},
        "train": dict(options or {}),
    }
    return _run(raw, assignments, command).artifacts["teacher"]


def distill(
    teacher: PathLike | Sequence[PathLike] | None,
    student: PathLike,
    *,
    data: str,
    teacher_arch: str | Sequence[str] | None = None,
    kind: str | None = None,
    kind_options: Mapping[str, Any] | None = None,
    via: Sequence[PathLike] = (),
    unlabelled: str | None = None,
    labels: bool = True,
    control: bool = False,
    loss: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    name: str | None = None,
    runs: PathLike = "runs",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    command: str = "",
) -> Artifact:
    """Train a student from a teacher: a network, several, or the student itself.

    Args:
        teacher: A model spec that comes with weights: `t.pt`, an artifact, `timm:NAME` with `pretrained`, ...; or several;
            None for a kind that needs no other network.
        student: A model spec of the network to train.
        data: A data source.
        teacher_arch: The architecture of a teacher that is a state dict; one for all, or one for each.
        kind: The kind of teacher (`compress list teachers`); by default `network`, or `ensemble` for several.
        kind_options: Options of the kind.
        via: Model specs of assistants between teacher and student, from large to small.
        unlabelled: A second data source, whose samples are shown without labels.
        labels: With False the labels of the training samples are hidden, and the teacher alone teaches.
        control: Also train the same student without the teacher, with the same budget.
        loss: Name and options of the loss, or of several: `{"name": "kd", "temperature": 4}`; by default what suits the kind
            of teacher, most often `kd`.
        name: Folder below `runs`; by default the student's name.
        runs: Where runs are kept.
        seed: Seed of everything random.
        options: Settings of `[distill]` by name: `epochs`, `batch_size`, `lr`, ...
        assignments: `a.b=value` overrides of any recipe setting.
        command: What the user types to do this again.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    losses = [loss] if isinstance(loss, Mapping) else loss or ()
    section = {
        "control": control,
        **({"losses": [dict(each) for each in losses]} if losses else {}),
        **(options or {}),
    }
    raw = {
        "name": name or opening.name_of(student),
        "runs": str(runs),
        "seed": seed,
        "stages": ["distill"],
        "data": {"source": data}
        | ({"unlabelled": unlabelled} if unlabelled else {})
        | ({} if labels else {"labels": False}),
        "teacher": opening.teacher_section(teacher, teacher_arch, kind, kind_options),
        **({"assistants": [{"model": str(each)} for each in via]} if via else {}),
        "student": {"model": str(student)},
        "distill": section,
    }
    return _run(raw, assignments, command).artifacts["student"]


def export(
    source: PathLike | None = None,
    *,
    data: str | None = None,
    arch: str | None = None,
    runs: PathLike = "runs",
    options: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    command: str = "",
) -> Artifact:
    """Export a network to ONNX behind the parity gate.

    Args:
        source: An artifact, or a model spec that comes with weights; by default the newest network below `runs`.
        data: A data source; by default the one that the artifact was made with.
        arch: The architecture of a source that is a state dict.
        runs: Where to look, and where to write.
        options: Settings of `[export]` by name: `input`, `opset`, ...
        assignments: `a.b=value` overrides of any recipe setting.
        command: What the user types to do this again.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    current = opening.reopened(source, {"export": dict(options or {})}, data, arch, Path(runs), assignments, command)
    role = next(iter(current.artifacts))
    with current.working():
        made = pipeline.export(current, role)
    assert made is not None
    return made


def prune(
    source: PathLike | None = None,
    *,
    teacher: PathLike | None = None,
    teacher_arch: str | None = None,
    data: str | None = None,
    arch: str | None = None,
    loss: Mapping[str, Any] | None = None,
    runs: PathLike = "runs",
    options: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    command: str = "",
) -> Artifact:
    """Cut channels until a network is as small or as fast as asked for, recovering from its teacher.

    Args:
        source: An artifact, or a model spec that comes with weights; by default the newest network below `runs`.
        teacher: What it recovers from; by default the teacher that the source learned from, else the source itself.
        teacher_arch: The architecture of a teacher that is a state dict.
        data: A data source; by default the one that the artifact was made with.
        arch: The architecture of a source that is a state dict.
        loss: Name and options of the loss of recovery.
        runs: Where to look, and where to write.
        options: Settings of `[prune]` by name: `macs`, `latency`, `criterion`, `epochs`, ...
        assignments: `a.b=value` overrides of any recipe setting.
        command: What the user types to do this again.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    section = {"prune": {**({"losses": [dict(loss)]} if loss else {}), **(options or {})}}
    current = opening.for_another_link(
        source, section, data, arch, Path(runs), assignments, command, teacher=teacher, teacher_arch=teacher_arch
    )
    with current.working():
        return pipeline.prune(current)


def quantize(
    source: PathLike | None = None,
    *,
    teacher: PathLike | None = None,
    teacher_arch: str | None = None,
    data: str | None = None,
    arch: str | None = None,
    runs: PathLike = "runs",
    options: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    command: str = "",
) -> Artifact:
    """Quantize a network's ONNX model for the CPU that will run it; what does not pay stays in float.

    Args:
        source: An artifact, a model spec that comes with weights, or an ONNX file of any framework; by default the newest
            network below `runs`. What is not exported yet is exported.
        teacher: What quantization-aware training learns from; by default as in `prune`.
        teacher_arch: The architecture of a teacher that is a state dict.
        data: A data source; by default the one that the artifact was made with.
        arch: The architecture of a source that is a state dict.
        runs: Where to look, and where to write.
        options: Settings of `[quantize]` by name: `method`, `target`, `max_drop`, ...
        assignments: `a.b=value` overrides of any recipe setting.
        command: What the user types to do this again.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    section = {"quantize": dict(options or {})}
    current = opening.for_another_link(
        source,
        section,
        data,
        arch,
        Path(runs),
        assignments,
        command,
        teacher=teacher,
        teacher_arch=teacher_arch,
        takes_onnx=True,
    )
    with current.working():
        if not any(each.startswith("export.") for each in assignments):
            pipeline.export_as_before(current)
        return pipeline.quantize(current)


def bench(
    *sources: PathLike,
    data: str | None = None,
    name: str | None = None,
    runs: PathLike = "runs",
    options: Mapping[str, Any] | None = None,
    again: bool = False,
    assignments: Sequence[str] = (),
    command: str = "",
) -> Artifact:
    """Measure a run's student against its teacher and control; or several models, ONNX files too, against the first.

    Args:
        sources: Nothing: the newest network below `runs`. A network in a run, or a run folder, which stands for what was
            distilled, pruned or quantized last in it: that network with its quantized form, the links before it, teacher
            and control; what is not exported yet is exported. Otherwise ONNX files, ONNX artifacts and networks, compared
            as they are.
        data: A data source; by default the one that the first artifact among the sources was made with.
        name: Folder below `runs` for a comparison, by default `bench`; a run has its own.
        runs: Where to look, and where to write.
        options: Settings of `[bench]` by name: `profiles`, `runtimes`, `max_drop`, ... What is not stated for a run is as it
            was measured last; its budgets are those of its recipe.
        again: Measure even where the same was measured before, as after a restless run.
        assignments: `a.b=value` overrides of any recipe setting.
        command: What the user types to do this again.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    section = {"bench": dict(options or {})}
    of_a_run = opening.network_of_run(sources)
    if len(sources) > 1 or (sources and of_a_run is None):
        return opening.compare(sources, section, data, name or "bench", Path(runs), assignments, command, again=again)
    if name is not None:
        message = f"names a comparison, and {of_a_run or 'the newest network'} is measured with its run"
        hint = "leave it out, or name the models that are to be compared"
        raise InputError(message, where="--name", hint=hint)
    current = _exported_run(of_a_run, section, data, Path(runs), assignments, command)
    current.again = frozenset({"bench"} if again else ())
    with current.working():
        return pipeline.bench(current)


def pack(
    source: PathLike | None = None,
    *,
    teacher: bool = True,
    links: bool = False,
    samples: int = 500,
    zipped: bool = False,
    overwrite: bool = False,
    data: str | None = None,
    runs: PathLike = "runs",
    options: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    command: str = "",
) -> Packed:
    """One small folder that measures a run's models on a device with Python, NumPy and ONNX Runtime alone.

    Args:
        source: A run folder or a network in it; by default the newest network below `runs`.
        teacher: Take the teacher along, to be compared with there.
        links: Take along what lies between teacher and student as well.
        samples: How many test samples go along.
        zipped: Also write it as one zip file beside the folder, as it was packed and without what lies there since.
        overwrite: Replace a zip file of another origin.
        data: A data source; by default the one that the artifact was made with.
        runs: Where to look, and where to write.
        options: Settings of `[bench]` by name: `profiles`, `blocks`, ...
        assignments: `a.b=value` overrides of any recipe setting.
        command: What the user types to do this again.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    from compressor.stages import pack as packs

    current = _exported_run(source, {"bench": dict(options or {})}, data, Path(runs), assignments, command)
    with current.working():
        if zipped:  # as the pack is called, unless it would replace what it is made from
            packs.require_zip_fits(current.folder / "pack.zip", overwrite=overwrite)
        made = _packed(current, teacher=teacher, links=links, samples=samples)
        return Packed(made, packs.zip_beside(made, overwrite=overwrite) if zipped else None)


def bench_on(
    host: str,
    source: PathLike | None = None,
    *,
    name: str | None = None,
    python: str = "python3",
    ssh_options: Sequence[str] = (),
    samples: int = 500,
    data: str | None = None,
    runs: PathLike = "runs",
    options: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    command: str = "",
) -> Path:
    """Measure a run's models on another machine over ssh: pack, copy, run, fetch, clean up.

    Args:
        host: As `ssh` takes it.
        source: A run folder or a network in it; by default the newest network below `runs`.
        name: What to call the device; by default the host.
        python: The Python there, with numpy and onnxruntime; a relative path begins at home.
        ssh_options: Further words for `ssh`.
        samples: How many test samples go along.
        data: A data source; by default the one that the artifact was made with.
        runs: Where to look, and where to write.
        options: Settings of `[bench]` by name: `profiles`, `blocks`, ...
        assignments: `a.b=value` overrides of any recipe setting.
        command: What the user types to do this again.

    Returns:
        The result: `runs/RUN/devices/NAME.json`, which `report` shows beside this machine.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    from compressor.measure import recorded
    from compressor.measure.remote import Host, program

    current = _exported_run(source, {"bench": dict(options or {})}, data, Path(runs), assignments, command)
    with current.working():
        made = _packed(current, teacher=True, links=False, samples=samples)
        called = name or host.rpartition("@")[2]
        with Host(host, options=ssh_options) as there:
            console.note(f"bench  {host}: carries {made.manifest.details['size_bytes'] / 1e6:.1f} MB there")
            there.put(made.path)
            console.note(f"bench  {host}: measures")
            seconds = current.recipe.bench.min_seconds
            told = there.run(f"{program(python)} run.py --name {shlex.quote(called)} --seconds {seconds:g}")
            for line in told.splitlines()[:-1]:
                console.note(line)
            content = there.fetch("device.json")
        recorded.device_in(content, where=f"{host}: device.json")  # before it takes the place of a good one
        return _keep_device(content, _place_for_device(called, run_folder=current.folder))


def _exported_run(
    source: PathLike | None,
    sections: Mapping[str, Any],
    data: str | None,
    runs: Path,
    assignments: Sequence[str],
    command: str,
) -> Run:
    """The run of a network with its relatives, all of them exported.

    What is not stated of `[bench]` is as it was last; budgets are those of the run's recipe.
    """
    of_a_run = opening.network_of_run([source]) if source is not None else None
    if source is not None and of_a_run is None:
        hint = "name a run's folder or a network in it"
        raise InputError("holds no network that was made here", where=str(source), hint=hint)
    network = opening.newest_network(runs).path if of_a_run is None else of_a_run
    before = opening.bench_settings_beside(network, stated=sections.get("bench", {}))
    merged = {**sections, "bench": {**before, **sections.get("bench", {})}}
    current = opening.reopened(network, merged, data, None, runs, assignments, command)
    opening.add_relatives(current)
    with current.working():
        if not any(each.startswith("export.") for each in assignments):
            pipeline.export_as_before(current)
        pipeline.export_all(current)
    return current


def _packed(current: Run, *, teacher: bool, links: bool, samples: int) -> Artifact:
    shipped = [role for role in pipeline.ROLES if role in current.onnx and role != "control"]
    between = shipped[1:-1] if "teacher" in shipped else shipped[:-1]
    left_out = set(between if not links else ()) | ({"teacher"} if not teacher and len(shipped) > 1 else set())
    return pipeline.pack(current, [role for role in shipped if role not in left_out], samples=samples)


def profile(
    source: PathLike | Mapping[str, Any] | None = None,
    *,
    data: str | None = None,
    runs: PathLike = "runs",
    steps: int = 50,
    assignments: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Where each millisecond of a training step goes: of a recipe before it is run, or of a network that was trained.

    Args:
        source: A recipe (a file, or the same as plain data), a run folder or a trained network; by default the newest
            network below `runs`.
        data: A data source; by default the one that is named there.
        runs: Where to look.
        steps: Timed steps.
        assignments: `a.b=value` overrides of any recipe setting.

    Returns:
        For each case (the teacher asked, its answers kept): `title`, `images_per_s`, `ms_per_step` by phase, `advice`, and
        the `decisions` on the way.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    if isinstance(source, Mapping):
        raw = dict(source)
    elif source is not None and Path(source).suffix in (".toml", ".json"):
        raw = recipes.read_file(Path(source))
    else:
        folder = opening.network_of_run([source]) if source is not None else None
        if source is not None and folder is None:
            hint = "name a recipe, a run folder or a trained network"
            raise InputError("is no recipe and holds no network", where=str(source), hint=hint)
        made = artifact.read(folder) if folder else opening.newest_network(Path(runs))
        raw = pipeline.recipe_of(made)
    if data is not None:
        raw["data"] = {**raw.get("data", {}), "source": data}
    where = "recipe" if isinstance(source, Mapping) else str(source or "command line")
    resolved = guess.in_recipe(recipes.override(raw, assignments))
    found = recipes.faults(resolved)
    if found:
        raise RecipeError(found, source=where)
    timed = pipeline.profile(Run(recipes.parse(resolved, source=where)), steps=steps)
    return [asdict(each) for each in timed]


def run(recipe: PathLike | Mapping[str, Any], *, assignments: Sequence[str] = (), command: str = "") -> Finished:
    """Run a whole recipe: teacher, control, student, ONNX, measurements, report; what is unchanged is skipped.

    Args:
        recipe: A TOML file, or the same as plain data.
        assignments: `a.b=value` overrides of any recipe setting.
        command: What the user types to do this again.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    from compressor.report import write as reports

    if isinstance(recipe, str | Path):
        done = _run(recipes.read_file(Path(recipe)), assignments, command, source=str(recipe))
    else:
        done = _run(recipe, assignments, command, source="recipe")
    report = None
    if done.measurements is not None and "report" in done.recipe.stage_order():
        with done.working():
            report = reports.write(done.measurements, done.folder / "report", devices=_devices_of(done.folder))
    return Finished(done.folder, dict(done.artifacts), dict(done.onnx), done.measurements, report)


def report(
    source: PathLike | None = None,
    *,
    runs: PathLike = "runs",
    destination: PathLike | None = None,
    devices: Sequence[PathLike] = (),
) -> Artifact:
    """Write the report of a run's measurements.

    Args:
        source: A run folder or a `bench` artifact; by default the newest measurements below `runs`.
        runs: Where to look.
        destination: Folder of the report; by default `report` beside the measurements.
        devices: `device.json` files that packs of the run wrote elsewhere; they are kept with the run from now on.

    Raises:
        InputError: There are no measurements, or a device's file is not one, or is that of other models.
    """
    from compressor.report import write as reports

    measured = measurements(source, runs=runs)
    run_folder = measured.path.parent
    given = {
        _place_for_device(reports.device_name(file, of=measured), run_folder=run_folder, given=file): file
        for file in map(Path, devices)
    }
    shown = {file: file for file in _devices_of(run_folder)} | given
    made = reports.write(
        measured,
        Path(destination) if destination else run_folder / "report",
        devices=[shown[kept] for kept in sorted(shown)],
    )
    for kept, file in given.items():  # now that a report has been made of all of them
        if kept.resolve() != file.resolve():
            _keep_device(file.read_bytes(), kept)
    return made


def _devices_of(run_folder: Path) -> list[Path]:
    return sorted(file for file in (run_folder / "devices").glob("*.json") if file.is_file())


def _place_for_device(name: str, *, run_folder: Path, given: Path | None = None) -> Path:
    """Where a run keeps what a device of this name has measured, over an older result and nothing else.

    Raises:
        NotOursError: A link, or something else than a result, stands there.
    """
    from compressor.measure import on_device

    kept = run_folder / "devices" / f"{recipes.safe_name(name)}.json"
    if given is None or kept.resolve() != given.resolve():
        places.require_no_links(run_folder)
        places.require_free(kept, is_ours=on_device.is_result, where="--name", can_overwrite=False)
    return kept


def _keep_device(content: bytes, kept: Path) -> Path:
    """Keep what a device has measured with its run."""
    kept.parent.mkdir(exist_ok=True)
    with replacing(kept) as written:
        written.write_bytes(content)
    return kept


def compare_reports(sources: Sequence[PathLike], *, runs: PathLike = "runs") -> Comparison:
    """Runs side by side: what each reached, what differs between them, and what cannot be compared.

    Args:
        sources: Run folders or `bench` artifacts; the names shown are those of the folders.
        runs: Where to look for a source that is only a name.

    Raises:
        InputError: One of them has no measurements, or two have one name.
    """
    from compressor.report import compare
    from compressor.report.collect import collect

    measured = [measurements(_run_named(source, Path(runs)), runs=runs) for source in sources]
    places = [made.path.resolve() for made in measured]
    if len(set(places)) < len(places):
        raise InputError("two of the runs are the same", where=", ".join(map(str, sources)), hint="name each once")
    names = [place.parent.name for place in places]
    shown = names if len(set(names)) == len(names) else [str(source) for source in sources]
    return compare.compare({name: collect(made) for name, made in zip(shown, measured, strict=True)})


def _run_named(source: PathLike, runs: Path) -> Path:
    return Path(source) if Path(source).exists() else runs / source


def gate(expression: str, source: PathLike | None = None, *, runs: PathLike = "runs") -> Verdict:
    """Whether a condition on a run's numbers holds: `latency_p50_ms > 5 or accuracy_drop > 1.0`.

    Args:
        expression: What would be a failure.
        source: A run folder or a `bench` artifact; by default the newest measurements below `runs`.
        runs: Where to look.

    Raises:
        InputError: It is no condition, or names what was not measured.
    """
    from compressor.report import gate as gates
    from compressor.report.collect import collect

    return gates.check(expression, collect(measurements(source, runs=runs)))


def measurements(source: PathLike | None = None, *, runs: PathLike = "runs") -> Artifact:
    """The measurements of a run.

    Args:
        source: A run folder or a `bench` artifact; by default the newest below `runs`.
        runs: Where to look.

    Raises:
        InputError: There are none.
    """
    if source is None:
        measured = artifact.newest(Path(runs), kind="measurements")
        if measured is None:
            raise InputError("no measurements here", where=str(runs), hint="make some: compress bench")
        return measured
    folder = Path(source) if artifact.is_artifact(Path(source)) else Path(source) / "bench"
    if not artifact.is_artifact(folder):
        raise InputError("no measurements here", where=str(source), hint=f"make some: compress bench {source}")
    return artifact.read(folder)


def evaluate(
    source: PathLike,
    *,
    data: str | None = None,
    arch: str | None = None,
    split: str = "test",
    save_outputs: PathLike | None = None,
    overwrite: bool = False,
    assignments: Sequence[str] = (),
) -> dict[str, Any]:
    """Accuracy of any model on a split of a data set: a network, a checkpoint, an ONNX file, an artifact.

    Args:
        source: A model spec.
        data: A data source; by default the one that an artifact was made with.
        arch: The architecture of a source that is a state dict.
        split: `train`, `val` or `test`.
        save_outputs: An `.npz` to write the answers to all splits into, for the teacher `outputs`. Earlier answers are
            replaced.
        overwrite: Replace any other file there as well, unless it is read here.
        assignments: `data.x=value`, `task.x=value` or `teacher.x=value` overrides.

    Returns:
        `samples`, `metrics`, `interval`, `per_class`, `wording` (what these are called), and the `decisions` on the way.

    Raises:
        CompressError: With the sentence that the command would print.
    """
    import numpy as np

    from compressor.data.samples import SubsetSamples
    from compressor.measure import accuracy, outputs
    from compressor.scores import Wording
    from compressor.stages.adopt import caveat_of
    from compressor.training.start import require_same_classes

    specs.parse(str(source))
    made_with = artifact.read(Path(source)) if artifact.is_artifact(Path(source)) else None
    raw: dict[str, Any] = {"teacher": {"model": str(source)} | ({"arch": arch} if arch else {}), "stages": ["train"]}
    raw |= {"data": {"source": data}} if data is not None else {}
    settings = pipeline.settings_for({**raw, "train": {}}, assignments, made_with=made_with)
    if save_outputs is not None:
        outputs.require_free_for(Path(save_outputs), inputs=opening.files_named(settings), overwrite=overwrite)
    current = Run(settings)
    dataset = current.dataset
    named = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    splits = {name: samples for name, samples in named.items() if samples is not None}
    if split not in splits:
        raise InputError(f"there is no split '{split}' here", where="--split", hint="write train, val or test")
    if made_with is not None:
        require_same_classes(made_with, dataset, what="network")
    answer, title, decisions = _answering(settings, current)
    samples = splits[split]
    if not samples.labelled.all():  # a training sample may have no targets
        samples = SubsetSamples(samples, np.flatnonzero(samples.labelled).astype(np.int64))
    for output in answer(samples.fetch(np.arange(min(2, len(samples)), dtype=np.int64))).values():
        current.task.check_outputs(output.shape, len(dataset.classes))
    found = accuracy.evaluate(current.task, accuracy.judge(current.task, answer, samples), classes=dataset.classes)
    if save_outputs is not None:
        count = outputs.save(Path(save_outputs), answer, splits, classes=dataset.classes)
        then = f": compress distill --teacher {save_outputs}" if "one_class" in current.task.gives else ""
        console.note(f"{count} answers are in {save_outputs}{then}")
    if made_with is None and split == "test":
        decisions = [*decisions, *_plain(caveat_of(dataset))]
    told = {"wording": asdict(getattr(current.task, "wording", Wording())), "decisions": decisions}
    return {"model": title, "data": dataset.source, "split": split, **found, **told}


def measurements_of(made: Artifact) -> dict[str, Any]:
    """The numbers in a `bench` artifact as plain data."""
    from compressor.measure import recorded

    return dict(recorded.content(made))


def _answering(settings: Recipe, current: Run) -> tuple[Any, str, list[dict[str, str]]]:
    """What answers for any model: ONNX Runtime for ONNX, fed as it would be as a teacher, PyTorch for the rest."""
    from compressor.runtimes.torch import TorchEager
    from compressor.stages.adopt import onnx_as_fed
    from compressor.training.start import network_for

    assert settings.teacher is not None
    spec = specs.parse(settings.teacher.model)
    is_onnx = spec.kind == "onnx" or (
        spec.kind == "artifact" and spec.path is not None and artifact.read(spec.path).manifest.kind == "onnx"
    )
    if is_onnx:
        assert spec.path is not None
        fed, why = onnx_as_fed(spec.path, settings.teacher.normalise, dataset=current.dataset, task=current.task)
        return fed, spec.title, _plain(why)
    loaded, decisions = network_for(settings.teacher, dataset=current.dataset, task=current.task, seed=0, as_it_is=True)
    if not loaded.trained:
        raise ModelError(
            "an architecture without weights, so there is nothing to evaluate",
            where=settings.teacher.model,
            hint="give the weights, and the architecture with --arch",
        )
    return TorchEager.from_network(loaded.network), loaded.title, _plain(decisions)


def _plain(decisions: Sequence[Decision]) -> list[dict[str, str]]:
    return [{"what": each.what, "choice": each.choice, "reason": each.reason} for each in decisions]


def _run(raw: Mapping[str, Any], assignments: Sequence[str], command: str, *, source: str = "command line") -> Run:
    resolved = guess.in_recipe(recipes.override(raw, assignments))
    found = preflight.check(resolved, file=Path(source) if Path(source).is_file() else None)
    if found:
        raise RecipeError(found, source=source)
    return pipeline.run(recipes.parse(resolved, source=source), command=command)
