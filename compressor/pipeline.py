"""Recipe → plan → skip what is unchanged → run → record.

A run is a folder, `runs/<name>/`, with one artifact for each link of the chain:

    train or teacher   the teacher, trained here or adopted from elsewhere
    clusters           classes that a generalist confuses; teacher-1 is the generalist then, specialist-1, ... know them
    control            the student's architecture trained without it
    distill            the student, trained from the teacher
    prune              the student (or the teacher), with channels cut
    export[-role]      their ONNX models
    quantize           the last of these with fewer bits
    bench              every measurement
    pack               what is carried to a device
    report             (written by `api.run`)

Each has a key: the hash of everything that goes in. A link whose key has not changed is not done again.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from compressor import __version__, artifact, console, preflight, processes, registry, trust
from compressor import recipe as recipes
from compressor.artifact import Artifact, Decision, Target
from compressor.data import guess
from compressor.errors import (
    ArtifactError,
    InputError,
    ModelError,
    ParityError,
    RecipeError,
)
from compressor.models import spec as specs
from compressor.recipe import DataSettings, ModelSettings, Recipe, SpecialistSettings, StageName, TeacherSettings

if TYPE_CHECKING:
    from compressor.data.samples import Dataset
    from compressor.stages.bench import Candidate
    from compressor.tasks._contract import Task
    from compressor.training.profile import Profile

Role = Literal["teacher", "control", "distilled", "pruned", "student"]
_T = TypeVar("_T")
ROLES: tuple[Role, ...] = get_args(Role)
BETWEEN: Mapping[str, Role] = {"distill": "distilled", "prune": "pruned"}  # what a link leaves that is not the last
_SHARED = ("train", "distill")  # stages in which all processes of a job take part
_SHOWN_VIEWS = (
    "train",
    "specialize",
    "distill",
    "prune",
    "quantize",
)  # stages whose result depends on the views of the data
_OPENING_S = 300  # for the main process to come to a run's folder: as far as starting up may differ between machines


@dataclass
class Run:
    """One run of a recipe: the artifacts it has, and the links it can still make.

    Attributes:
        recipe: What the user asked for.
        command: What the user types to do this again.
        artifacts: Networks by role.
        onnx: Exported models by role.
        why_no_onnx: Why a role that was to be exported is not.
        links: How many links there are to make, where that is known.
        done: How many of them have been made or skipped so far.
        teacher_file: The file that teaches, for a kind of teacher that is made from one.
    """

    recipe: Recipe
    command: str = ""
    artifacts: dict[Role, Artifact] = field(default_factory=dict)
    onnx: dict[Role, Artifact] = field(default_factory=dict)
    why_no_onnx: dict[Role, str] = field(default_factory=dict)
    links: int | None = None
    done: int = 0
    measurements: Artifact | None = None
    teacher_file: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the run's artifacts lie."""
        return Path(self.recipe.runs) / self.recipe.name

    @cached_property
    def dataset(self) -> Dataset:
        """The data, opened once."""
        from compressor.data.open import open_dataset

        return open_dataset(_given(self.recipe.data, "data"))

    @cached_property
    def task(self) -> Task:
        """What outputs mean, without label smoothing (training adds its own)."""
        return self._task(label_smoothing=0.0)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run's folder: two runs under one name would overwrite each other.

        Of several processes the main one holds it for all, and lets the others in.

        Raises:
            ArtifactError: The folder cannot be written, another run is at work in it, or it is not the main process's.
        """
        if not processes.is_main():
            if not processes.await_opening(self.folder, timeout_s=_OPENING_S):
                hint = "all machines of the job must share this folder (--runs DIR)"
                message = f"the main process was not seen here for {_OPENING_S} s"
                raise ArtifactError(message, where=str(self.folder), hint=hint)
            yield
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as fault:
            hint = "choose another place with --runs DIR"
            raise ArtifactError(f"cannot write here: {fault.strerror}", where=str(self.folder), hint=hint) from fault
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as fault:
                hint = "wait for it, or choose another --name"
                raise ArtifactError("another run is at work here", where=str(self.folder), hint=hint) from fault
            artifact.tidy(self.folder)
            processes.open_to_others(self.folder)
            yield

    def record_recipe(self) -> None:
        """Keep the resolved recipe beside the artifacts."""
        if not processes.is_main():
            return
        file = self.folder / "recipe.json"
        temporary = file.with_suffix(".writing")
        temporary.write_text(self.recipe.model_dump_json(indent=2), encoding="utf-8")
        temporary.replace(file)

    def make_teacher(self) -> Artifact | None:
        """Train the teacher, adopt it, take the artifact that it is, or make one of several; None when it is no network."""
        settings = _given(self.recipe.teacher, "teacher")
        takes = recipes.takes_of(settings.kind)
        if self.recipe.specialising is not None:
            self.artifacts["teacher"] = self._with_specialists(settings, self.recipe.specialising)
        elif self.recipe.train is not None:
            self.artifacts["teacher"] = self._trained("train", "teacher", settings, self.recipe.train)
        elif settings.kind == "onnx":
            self.onnx["teacher"] = self._onnx_teacher(settings)
            self.teacher_file = self.onnx["teacher"].file("model.onnx")
        elif "file" in takes:
            self.teacher_file = Path(settings.model)
        elif "networks" in takes:
            members = [self._member(number, each) for number, each in enumerate(settings.networks, start=1)]
            self.artifacts["teacher"] = self._combined(settings, members)
        elif settings.model:
            self.artifacts["teacher"] = self._network(settings, name="teacher", role="teacher")
        return self.artifacts.get("teacher")

    def make_control(self) -> Artifact:
        """Train the student's architecture with the student's budget and no teacher."""
        distill = _given(self.recipe.distillation, "distill")
        budget = recipes.TrainSettings(**distill.model_dump(exclude=set(recipes.DISTILLATION_ALONE)))
        student = _given(self.recipe.student, "student")
        data, why = self._counted_views()
        self.artifacts["control"] = self._trained("control", "control", student, budget, data=data, why=why)
        return self.artifacts["control"]

    def role_of(self, stage: StageName) -> Role:
        """What a link of the chain leaves: the student, when it is the last one."""
        chain = self.recipe.chain
        return "student" if not chain or stage == chain[-1] else BETWEEN[stage]

    @property
    def latest(self) -> Role:
        """The network that the next link takes: what the one before it left, else the teacher."""
        return next((role for role in reversed(ROLES) if role in self.artifacts and role != "control"), "teacher")

    def make_student(self) -> Artifact:
        """Distil the student from the teacher; a network that was pruned before is the student, with its weights.

        Assistants, or generations of the student, come before it, each distilled from the one before.
        """
        teacher = _given(self.recipe.teacher, "teacher")
        pruned = self.artifacts.get("pruned")
        if pruned is not None:
            student = ModelSettings(model=str(pruned.path))
        else:
            student = _given(self.recipe.student, "student")
        source: Artifact | Path | None = self.artifacts.get("teacher") or self.teacher_file
        kind = teacher.kind
        if kind == "born_again":
            source = self._generations(student, teacher)
            self.artifacts["teacher"] = source
        for number, assistant in enumerate(self.recipe.assistants, start=1):
            source = self._distilled(f"assistant-{number}", "assistant", assistant, kind=kind, source=source)
            kind = "network"
        made = self._distilled("distill", "student", student, kind=kind, source=source, pruned=pruned)
        self.artifacts[self.role_of("distill")] = made
        return made

    def _generations(self, student: ModelSettings, teacher: TeacherSettings) -> Artifact:
        """The generations before the student; the first learns from the labels alone, each has a seed of its own."""
        distill = _given(self.recipe.distillation, "distill")
        count = int(teacher.kind_options.get("generations", 1))
        budget = recipes.TrainSettings(**distill.model_dump(exclude=set(recipes.DISTILLATION_ALONE)))
        data, why = self._counted_views()
        seed = self.recipe.seed + count
        made = self._trained("generation-0", "generation", student, budget, data=data, why=why, seed=seed)
        for number in range(1, count):
            name = f"generation-{number}"
            made = self._distilled(name, "generation", student, kind="born_again", source=made, seed=seed - number)
        return made

    def _distilled(
        self,
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
        teacher = _given(self.recipe.teacher, "teacher")
        distill, why_losses = _with_usual_loss(_given(self.recipe.distillation, "distill"), kind)
        data, why = self._counted_views()
        why = (*why, *why_losses)
        options = teacher.kind_options if kind == teacher.kind and kind != "onnx" else {}
        takes = recipes.takes_of(kind)
        peers = (teacher.members or (student,)) if "peers" in takes else ()

        def make(target: Target) -> Artifact:
            from compressor.stages.distill import distill as stage
            from compressor.training.teaching import Teaching

            return stage(
                student,
                distill,
                teaching=Teaching(kind, options, source, peers),
                data=data,
                dataset=self.dataset,
                task=self._task(label_smoothing=distill.label_smoothing),
                target=target,
            )

        training = distill.model_copy(update={"control": False})
        settings = self._settings(
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
            parents = {"teacher": self.onnx["teacher"]}
        parents |= {"student": pruned} if pruned is not None else {}
        also = {
            "peers": [_model_key(peer) for peer in peers],
            "file": artifact.sha256(source) if isinstance(source, Path) else None,
        }
        return self._link(
            name, "distill", role, settings, make, identity=student, parents=parents, also=also, why=why, seed=seed
        )

    def prune(self) -> Artifact:
        """Cut the latest network, and recover it from the teacher."""
        pruning = self.recipe.prune or recipes.PruneSettings()
        source = self.artifacts[self.latest]
        teacher = self.artifacts.get("teacher", source)
        data, why = self._counted_views(pruning)
        profile = self.recipe.bench.profile_named(pruning.profile)

        def make(target: Target) -> Artifact:
            from compressor.stages.prune import prune as stage

            return stage(
                source,
                pruning,
                teacher=teacher,
                profile=profile,
                export=self.recipe.export,
                data=data,
                dataset=self.dataset,
                task=self._task(label_smoothing=pruning.label_smoothing),
                target=target,
            )

        measured = {"profile": profile, "export": self.recipe.export, **_this_machine()}
        settings = self._settings(
            data=data, training=pruning, **(measured if pruning.target[0] in ("latency", "size_mb") else {})
        )
        parents = {"source": source, "teacher": teacher}
        name = _another_name("prune", self.folder, source=source)
        made = self._link(name, "prune", "student", settings, make, parents=parents, why=why)
        self.artifacts[self.role_of("prune")] = made
        return made

    def quantize(self) -> Artifact:
        """Quantize the ONNX model of the latest network; what does not pay stays in float."""
        quantizing = self.recipe.quantize or recipes.QuantizeSettings()
        role = self.latest
        network = self.artifacts[role]
        teacher = self.artifacts.get("teacher", network)
        source = self.onnx.get(role) or self.export(role)
        assert source is not None
        data, why = self._counted_views(quantizing)
        profile = self.recipe.bench.profile_named(quantizing.profile)

        def make(target: Target) -> Artifact:
            from compressor.stages.quantize import quantize as stage

            return stage(
                source,
                quantizing,
                profile=profile,
                network=network,
                teacher=teacher,
                data=data,
                dataset=self.dataset,
                task=self._task(label_smoothing=quantizing.label_smoothing),
                target=target,
            )

        settings = self._settings(data=data, training=quantizing, profile=profile, **_this_machine())
        parents = {"source": source, "network": network, "teacher": teacher}
        self.onnx["student"] = self._link(
            "quantize", "quantize", "student-onnx", settings, make, parents=parents, also=_libraries(), why=why
        )
        return self.onnx["student"]

    def export(self, role: Role, *, required: bool = True) -> Artifact | None:
        """Export a role's network to ONNX.

        Args:
            role: Whose network.
            required: Raise when it cannot be exported; otherwise remember why and go on.
        """
        source = self.artifacts[role]

        def make(target: Target) -> Artifact:
            from compressor.stages.export import export as stage

            return stage(source, self.recipe.export, dataset=self.dataset, task=self.task, target=target)

        name = _export_folder(source)
        settings = self._settings(export=self.recipe.export)
        try:
            self.onnx[role] = self._link(
                name, "export", f"{role}-onnx", settings, make, parents={"source": source}, also=_libraries()
            )
        except (ModelError, ParityError) as fault:
            if required:
                raise
            self.why_no_onnx[role] = fault.message.split("\n")[0]
            console.note(f"{name}: not exported: {self.why_no_onnx[role]}")
        return self.onnx.get(role)

    def bench(self) -> Artifact:
        """Measure every role this run has."""
        candidates = [self._candidate(role) for role in ROLES if self._has(role)]
        parents: dict[str, Artifact] = {role: self.artifacts[role] for role in ROLES if role in self.artifacts}
        parents |= {f"{role}-onnx": self.onnx[role] for role in ROLES if role in self.onnx}
        return self._measured(candidates, parents=parents)

    def _has(self, role: Role) -> bool:
        return role in self.artifacts or role in self.onnx

    def pack(self, roles: Sequence[Role], *, samples: int) -> Artifact:
        """Pack the ONNX models of some roles for a device that has no compress.

        Args:
            roles: Whose; the first is what the others are held against.
            samples: How many test samples go along.
        """
        models: dict[str, Artifact] = {role: self.onnx[role] for role in roles}

        def make(target: Target) -> Artifact:
            from compressor.stages.pack import pack as stage

            return stage(
                models,
                self.recipe.bench,
                base=roles[0],
                samples=samples,
                dataset=self.dataset,
                task=self.task,
                task_name=self.recipe.task.name,
                target=target,
            )

        settings = self._settings(bench=self.recipe.bench, roles=list(roles), samples=samples)
        parents = {f"{role}-onnx": model for role, model in models.items()}
        return self._link("pack", "pack", "pack", settings, make, parents=parents, also=_libraries())

    def compare(self, sources: Mapping[str, Artifact | Path]) -> Artifact:
        """Measure models against the first of them, each in the form it has.

        Args:
            sources: A network's artifact, or an ONNX file or artifact, by title.
        """
        from compressor.stages.bench import Candidate

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
        known = {title: _content_key(source) for title, source in sources.items()}
        return self._measured(candidates, compared=known)

    def profile(self, *, steps: int) -> list[Profile]:
        """Time training steps of the student, or of the teacher where there is no student; nothing is kept.

        A teacher that has yet to be trained is timed with the weights it begins with.
        """
        from compressor.stages.profile import profile_distilling, profile_training

        with tempfile.TemporaryDirectory(prefix="compress-profile-") as folder:
            target = Target(Path(folder) / "profile", "profile", "profile", "profile", self.recipe.seed, {})
            teacher = _given(self.recipe.teacher, "teacher")
            if self.recipe.distillation is None:
                training = self.recipe.train or recipes.TrainSettings()
                task = self._task(label_smoothing=training.label_smoothing)
                data = _given(self.recipe.data, "data")
                return profile_training(
                    teacher, training, data=data, dataset=self.dataset, task=task, target=target, steps=steps
                )
            data, _ = self._counted_views()
            distill, _ = _with_usual_loss(self.recipe.distillation, teacher.kind)
            return profile_distilling(
                _given(self.recipe.student, "student"),
                distill,
                teacher=teacher,
                data=data,
                dataset=self.dataset,
                task=self._task(label_smoothing=self.recipe.distillation.label_smoothing),
                target=target,
                steps=steps,
            )

    def _measured(
        self, candidates: Sequence[Candidate], *, parents: Mapping[str, Artifact] | None = None, **settings: Any
    ) -> Artifact:
        """The measurements of `candidates` against the first of them."""

        def make(target: Target) -> Artifact:
            from compressor.stages.bench import bench as stage

            return stage(
                candidates,
                self.recipe.bench,
                base=candidates[0].role,
                dataset=self.dataset,
                task=self.task,
                target=target,
            )

        resolved = self._settings(bench=self.recipe.bench, **settings, **_this_machine())
        self.measurements = self._link("bench", "bench", "bench", resolved, make, parents=parents, also=_libraries())
        return self.measurements

    def _candidate(self, role: Role) -> Candidate:
        from compressor.stages.bench import Candidate

        onnx = self.onnx.get(role)
        return Candidate(
            role,
            role.capitalize(),
            torch=self.artifacts.get(role),
            onnx=onnx.path if onnx else None,
            timed=role != "control",
            why_no_onnx=self.why_no_onnx.get(role, "it was not exported"),
        )

    def _counted_views(
        self, recovery: recipes.RecoverySettings | None = None
    ) -> tuple[DataSettings, tuple[Decision, ...]]:
        """The data settings of student and control, with the number of views settled: both are shown the same ones.

        What is recovered after distillation is shown the views that the teacher has answered there already.
        """
        from compressor.data.views import plan
        from compressor.teachers import _cache

        data, distill = _given(self.recipe.data, "data"), self.recipe.distillation or recovery
        assert distill is not None
        count, why = plan.choose_count(
            data.views.count,
            epochs=max(1, distill.epochs),
            bytes_per_view=_cache.bytes_per_view(
                num_samples=len(self.dataset.train), num_classes=len(self.dataset.classes)
            ),
            budget_bytes=round(distill.cache_gb * 1e9),
        )
        return data.model_copy(update={"views": data.views.model_copy(update={"count": count})}), why

    def _trained(
        self,
        name: str,
        role: str,
        model: ModelSettings,
        training: recipes.TrainSettings,
        *,
        data: DataSettings | None = None,
        why: tuple[Decision, ...] = (),
        seed: int | None = None,
    ) -> Artifact:
        shown = data or _given(self.recipe.data, "data")

        def make(target: Target) -> Artifact:
            from compressor.data.unlabelled import for_labels_alone
            from compressor.stages.train import train as stage

            dataset, why_samples = for_labels_alone(self.dataset, as_many_steps=role != "teacher")
            target = replace(target, decisions=(*target.decisions, *why_samples))
            return stage(
                model,
                training,
                data=shown,
                dataset=dataset,
                task=self._task(label_smoothing=training.label_smoothing),
                target=target,
            )

        settings = self._settings(data=shown, model=model, training=training)
        return self._link(name, "train", role, settings, make, identity=model, why=why, seed=seed)

    def _member(self, number: int, model: ModelSettings) -> Artifact:
        """One network of several that teach together."""
        return self._network(model, name=f"teacher-{number}", role="member")

    def _network(self, model: ModelSettings, *, name: str, role: str) -> Artifact:
        """The artifact that a trained network is, or that it is adopted as."""
        if specs.parse(model.model).kind == "artifact":
            return artifact.read(Path(model.model))

        def make(target: Target) -> Artifact:
            from compressor.data.relabel import of_classes
            from compressor.stages.adopt import adopt as stage

            dataset = of_classes(self.dataset, model.classes) if model.classes else self.dataset
            return stage(model, dataset=dataset, task=self.task, target=target)

        adopted = self._link(name, "adopt", role, self._settings(model=model), make, identity=model)
        for decision in adopted.manifest.decisions:
            if decision.what == "normalisation":
                console.note(f"{name}: normalisation {decision.choice} — {decision.reason}")
        return adopted

    def _onnx_teacher(self, settings: TeacherSettings) -> Artifact:
        """The artifact that an ONNX model is, or that it is adopted as."""
        if artifact.is_artifact(Path(settings.model)):
            return artifact.read(Path(settings.model))
        from compressor.runtimes._onnx_runtime import external_files

        file = Path(settings.model)
        stated = {} if settings.normalise == "auto" else {"normalise": settings.normalise}
        options = {**stated, **settings.kind_options}

        def make(target: Target) -> Artifact:
            from compressor.stages.adopt import adopt_onnx as stage

            return stage(file, options=options, dataset=self.dataset, task=self.task, target=target)

        resolved = self._settings(model=settings, kind=settings.kind, kind_options=options)
        beside = {each.name: artifact.sha256(each) for each in sorted(external_files(file))}
        made = self._link("teacher", "adopt", "teacher", resolved, make, identity=settings, also={"beside": beside})
        for decision in made.manifest.decisions:
            if decision.what.startswith("teacher's"):
                console.note(f"{decision.what}: {decision.choice} — {decision.reason}")
        return made

    def _with_specialists(self, settings: TeacherSettings, training: SpecialistSettings) -> Artifact:
        """A generalist, trained here or adopted, with specialists for the classes it confuses, as one network."""
        from compressor.stages import specialists as stage

        stage.require_enough_classes(len(self.dataset.classes), count=training.count)
        if self.recipe.train is not None:
            generalist = self._trained("train", "member", settings, self.recipe.train)
        else:
            generalist = self._member(1, settings.networks[0])

        def find(target: Target) -> Artifact:
            return stage.cluster(generalist, training, dataset=self.dataset, target=target)

        parents = {"generalist": generalist}
        found = self._link(
            "clusters", "cluster", "clusters", self._settings(count=training.count), find, parents=parents
        )
        clusters = stage.clusters_in(found)
        for decision in found.manifest.decisions:
            if decision.what.startswith(("cluster ", "classes without")):
                console.note(f"clusters: {decision.what}: {decision.choice}")
        if self.links:
            self.links -= training.count - len(clusters)
        specialists = self._side_by_side(generalist, training, clusters)
        oversampled = [stage.oversampled_in(each) for each in specialists]
        options = {"clusters": [list(each) for each in clusters], "oversampled": oversampled}
        return self._combined(settings, [generalist, *specialists], options=options, also={"clusters": found})

    def _side_by_side(
        self, generalist: Artifact, training: SpecialistSettings, clusters: Sequence[Sequence[int]]
    ) -> list[Artifact]:
        """A specialist for each cluster; those that are not there yet are trained together."""
        from compressor.stages import specialists as stage

        data = _given(self.recipe.data, "data")
        kept = training.model_dump(mode="json", exclude={"count", "processes"})  # what changes no specialist
        made: dict[int, Artifact] = {}
        wanted = []
        for number, cluster in enumerate(clusters, start=1):
            settings = self._settings(data=data, training=kept, cluster=list(cluster))
            planned = self._planned(
                f"specialist-{number}", "specialize", "specialist", settings, parents={"generalist": generalist}
            )
            if isinstance(planned, Artifact):
                made[number] = planned
            else:
                wanted.append(stage.Wanted(number, tuple(cluster), planned))
        trained = stage.specialize(
            generalist, training, wanted, of=len(clusters), data=data, dataset=self.dataset, task=self.recipe.task
        )
        made |= {each.number: specialist for each, specialist in zip(wanted, trained, strict=True)}
        return [made[number] for number in sorted(made)]

    def _combined(
        self,
        settings: TeacherSettings,
        members: Sequence[Artifact],
        *,
        options: Mapping[str, Any] | None = None,
        also: Mapping[str, Artifact] | None = None,
    ) -> Artifact:
        """One network out of several, by the options of the recipe or those that a run has found."""
        options = settings.kind_options if options is None else options

        def make(target: Target) -> Artifact:
            from compressor.stages.adopt import combine as stage

            return stage(
                members,
                kind=settings.kind,
                options=options,
                dataset=self.dataset,
                task=self.task,
                target=target,
            )

        resolved = self._settings(kind=settings.kind, kind_options=options)
        parents = {f"member-{number}": member for number, member in enumerate(members, start=1)} | dict(also or {})
        return self._link("teacher", "adopt", "teacher", resolved, make, parents=parents)

    def _link(
        self,
        name: str,
        stage: str,
        role: str,
        settings: Mapping[str, Any],
        make: Callable[[Target], Artifact],
        *,
        identity: ModelSettings | None = None,
        parents: Mapping[str, Artifact] | None = None,
        also: Mapping[str, Any] | None = None,
        why: tuple[Decision, ...] = (),
        seed: int | None = None,
    ) -> Artifact:
        """Make one artifact, or take the one that was made from the very same.

        Of several processes all take part in training; the rest is done by the main one, and the others wait for it.
        """
        planned = self._planned(
            name, stage, role, settings, identity=identity, parents=parents, also=also, why=why, seed=seed
        )
        if isinstance(planned, Artifact):
            return planned
        made = make(planned)
        trust.remember_made(made)  # by every process, since each machine has a home of its own
        return made

    def _planned(
        self,
        name: str,
        stage: str,
        role: str,
        settings: Mapping[str, Any],
        *,
        identity: ModelSettings | None = None,
        parents: Mapping[str, Artifact] | None = None,
        also: Mapping[str, Any] | None = None,
        why: tuple[Decision, ...] = (),
        seed: int | None = None,
    ) -> Artifact | Target:
        """What is to be made, or what is there already; `also` goes into its key alone."""
        sources = parents or {}
        model = _model_key(identity)
        seed = self.recipe.seed if seed is None else seed
        key = artifact.key_of(
            stage=stage,
            version=__version__,
            settings={key: value for key, value in settings.items() if key not in ("data", "model", "teacher_file")},
            views=settings["data"]["views"] if stage in _SHOWN_VIEWS else None,
            model=model,
            also=also,
            sources=_outside_sources(settings),
            data=self.dataset.fingerprint,
            seed=seed,
            parents={parent_role: artifact.content_key(parent) for parent_role, parent in sources.items()},
        )
        folder = self.folder / name
        self.done += 1
        place = f"[{self.done}/{self.links}] " if self.links else ""
        unchanged = _unchanged(folder, key)
        if unchanged is not None:
            console.note(f"{place}{name}: unchanged (key {key}), skipped")
            return unchanged
        if stage not in _SHARED and not processes.is_main():
            made = artifact.await_other(folder, key=key)
            trust.remember_made(made)
            return made
        replaces = ", replacing the one there" if artifact.is_artifact(folder) else ""
        console.note(f"{place}{name}: starts{replaces}")
        recorded = settings if model is None else {**settings, "identity": model}
        return Target(folder, stage, role, key, seed, recorded, sources, self.command, why)

    def _settings(self, **parts: Any) -> dict[str, Any]:
        """Resolved settings as plain data, with the data and the task they were used with."""
        named = {"data": _given(self.recipe.data, "data"), "task": self.recipe.task, **parts}
        return {
            name: part.model_dump(mode="json") if isinstance(part, recipes.Settings) else part
            for name, part in named.items()
        }

    def _task(self, *, label_smoothing: float) -> Task:
        from compressor.training.start import task_of

        return task_of(self.recipe.task, label_smoothing=label_smoothing)


def run(recipe: Recipe, *, command: str = "") -> Run:
    """Run a recipe up to the measurements; what a wanted stage needs is made too, or skipped if it has not changed.

    Raises:
        CompressError: Whatever stopped it; finished links stay.
    """
    current = Run(recipe, command)
    order = recipe.stage_order()
    _require_one_process(recipe)
    current.links = _links_of(recipe)
    with current.working():
        current.record_recipe()
        current.make_teacher()
        for stage in recipe.chain:
            if stage == "distill":
                if _given(recipe.distillation, "distill").control:
                    current.make_control()
                current.make_student()
            elif stage == "prune":
                current.prune()
        if not processes.is_main():
            return current  # what is left is for one process
        if {"export", "bench", "report"} & set(order):
            export_all(current)
        if "quantize" in recipe.chain:
            current.quantize()
        if {"bench", "report"} & set(order):
            current.bench()
    return current


def _links_of(recipe: Recipe) -> int:
    """How many links a run of the recipe has."""
    order, chain = recipe.stage_order(), recipe.chain
    teacher = _given(recipe.teacher, "teacher")
    takes = recipes.takes_of(teacher.kind)
    several, generations = "networks" in takes, 0
    if teacher.kind == "born_again":
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
    controls = "distill" in chain and _given(recipe.distillation, "distill").control
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


def export_all(current: Run) -> None:
    """Export every network of a run; only the one that will be shipped must succeed."""
    for role in ROLES:
        if role in current.artifacts:
            current.export(role, required=role == _shipped(current))


def export_as_before(current: Run) -> None:
    """Give the run the settings its shipped network was exported with, if it was, so that all are exported alike."""
    shipped = current.artifacts[_shipped(current)]
    folder = current.folder / _export_folder(shipped)
    if not _is_export_of(folder, shipped):
        return
    kept = recipes.ExportSettings.model_validate(artifact.read(folder).manifest.settings["export"])
    current.recipe = current.recipe.model_copy(update={"export": kept})


def _shipped(current: Run) -> Role:
    return current.latest


def is_control_of(control: Artifact, student: Artifact) -> bool:
    """Whether `control` is the same network, trained on the same data with the same budget and seed, but no teacher."""
    ours, theirs = control.manifest, student.manifest
    budget = {k: v for k, v in theirs.settings.get("training", {}).items() if k not in recipes.DISTILLATION_ALONE}
    return (
        ours.settings.get("training") == budget
        and ours.settings.get("identity") == theirs.settings.get("identity")
        and ours.settings["data"]["views"] == theirs.settings["data"]["views"]
        and ours.data.get("fingerprint") == theirs.data.get("fingerprint")
        and ours.seed == theirs.seed
    )


def recipe_of(made: Artifact) -> dict[str, Any]:
    """The sections of a recipe that a trained network was made by, so that its training can be looked at again.

    Raises:
        InputError: It was not trained here.
    """
    kept = made.manifest.settings
    if made.manifest.stage not in _SHARED or "training" not in kept:
        hint = "name a network that compress train or distill has left, or a recipe"
        raise InputError("was not trained here, so there is no training to time", where=str(made.path), hint=hint)
    shared = {"data": kept["data"], "task": kept["task"], "seed": made.manifest.seed}
    if made.manifest.stage == "train":
        return {**shared, "teacher": kept["model"], "train": kept["training"], "stages": ["train"]}
    teacher = made.standing_for("teacher")
    if teacher is None and kept.get("teacher_file"):
        section = {"model": kept["teacher_file"], "kind": kept["kind"], "kind_options": kept["kind_options"]}
    elif teacher is None:
        raise InputError("the teacher of this student is gone", where=str(made.path), hint="name the recipe instead")
    else:
        kind = "network" if "networks" in recipes.takes_of(kept["kind"]) else kept["kind"]  # they are one by now
        section = {"model": str(teacher.path), "kind": kind}
    return {
        **shared,
        "teacher": section,
        "student": kept["model"],
        "distill": kept["training"],
        "stages": ["distill"],
    }


def reopen(source: Artifact, *, raw: Mapping[str, Any], assignments: Sequence[str], command: str = "") -> Run:
    """A run around a network that is there already, with the data it was made with unless other data is named.

    Args:
        source: The network.
        raw: Sections of the recipe that differ from the artifact's own or the defaults (`data`, `export`, `bench`).
        assignments: `a.b=value` overrides of all of it.
        command: What the user types to do this again.

    Raises:
        InputError: The artifact does not say which data it was made with, and none is given.
        RecipeError: The settings have faults.
        TrustError: The data is read by code that an artifact from elsewhere names.
    """
    folder = source.path.resolve().parent
    own = {"seed": source.manifest.seed, "stages": ["export"], "teacher": {"model": str(source.path)}}
    recipe = settings_for({**own, **raw}, assignments, made_with=source)
    runs = folder.parent.relative_to(Path.cwd()) if folder.parent.is_relative_to(Path.cwd()) else folder.parent
    current = Run(recipe.model_copy(update={"name": folder.name, "runs": str(runs)}), command)
    if "data" not in raw and current.dataset.fingerprint != source.manifest.data.get("fingerprint"):
        console.note(f"the data here is not what {source.path} was made with (its fingerprint differs)")
    return current


def settings_for(raw: Mapping[str, Any], assignments: Sequence[str], *, made_with: Artifact | None) -> Recipe:
    """A recipe from sections and overrides; data and task are those an artifact was made with where none are named.

    Raises:
        InputError: No data is named, by the user or by the artifact.
        RecipeError: The settings have faults.
        TrustError: The artifact names code to read the data or to judge outputs, and has not been trusted.
    """
    kept = made_with.manifest.settings if made_with is not None else {}
    own = {name: kept[name] for name in ("data", "task") if name in kept and name not in raw}
    resolved = recipes.override({**own, **raw}, assignments)
    data, task = resolved.get("data"), resolved.get("task")
    if not isinstance(data, dict) or not isinstance(data.get("source"), str):
        where = "--data" if made_with is None else str(made_with.path)
        raise InputError("which data?", where=where, hint="add --data D (compress list formats)")
    for key in ("source", "unlabelled"):
        named = str(data.get(key) or "")
        if made_with is not None and own.get("data", {}).get(key) == named and named.startswith("py:"):
            trust.require_artifact(made_with, what=f"the data function {named} would run")
    if made_with is not None and own.get("task") == task and ":" in str((task or {}).get("name", "")):
        trust.require_artifact(made_with, what="the task it names would run")
    found = []
    for key in ("source", "unlabelled"):
        if isinstance(data.get(key), str):
            data[key] = guess.named(data[key])
            found += preflight.data_faults(data[key], where=f"data.{key}")
    found = recipes.faults(resolved) + found
    if found:
        raise RecipeError(found, source="command line")
    return recipes.parse(resolved, source="command line")


def _export_folder(source: Artifact) -> str:
    """Named after the network alone, so that every command finds the same one: a student's is plain `export`."""
    named = {"distill": "export", "prune": "export-pruned"}
    return named.get(source.manifest.stage, f"export-{source.manifest.role}")


def _another_name(name: str, folder: Path, *, source: Artifact) -> str:
    """`name`, or `name-2`, ...: a link must not replace what it is made from."""
    ancestors = set()
    current: Artifact | None = source
    while current is not None:
        ancestors.add(current.path.resolve())
        current = current.parent("source") or current.parent("student")
    found, number = name, 1
    while (folder / found).resolve() in ancestors:
        number += 1
        found = f"{name}-{number}"
    return found


def _is_export_of(folder: Path, source: Artifact) -> bool:
    if not artifact.is_artifact(folder):
        return False
    there = artifact.read(folder)
    parent = there.parent("source")
    return parent is not None and parent.path.resolve() == source.path.resolve() and _is_whole(there)


def _is_whole(made: Artifact) -> bool:
    try:
        made.verify()
    except ArtifactError:
        return False
    return True


def _libraries() -> dict[str, str]:
    """Versions of what exports and runs models: another one may give another file and another speed."""
    names = ("torch", "onnx", "onnxscript", "onnxruntime")
    return {name: version for name, version in artifact.library_versions().items() if name in names}


def _this_machine() -> dict[str, Any]:
    """What measurements depend on beside their settings."""
    from compressor.measure import machine

    here = machine.describe()
    return {"cpu": here["cpu"], "cores": here["cores"]}


def _role_in_comparison(position: int, count: int) -> str:
    """The first of several is what the others are held against; the last is the one that matters."""
    if position == count - 1:
        return "student"
    return "teacher" if position == 0 else f"model-{position + 1}"


def _onnx_form(source: Artifact | Path) -> Path | None:
    if isinstance(source, Path):
        return source
    return source.path if source.manifest.kind == "onnx" else None


def _content_key(source: Artifact | Path) -> str:
    return artifact.sha256(source) if isinstance(source, Path) else source.manifest.key


def _unchanged(folder: Path, key: str) -> Artifact | None:
    if not artifact.is_artifact(folder):
        return None
    try:
        there = artifact.read(folder)
        if there.manifest.key != key:
            return None
        there.verify()
    except ArtifactError as fault:
        console.note(f"{folder.name}: done again, since the one there is damaged: {fault.message}")
        return None
    return there


def _model_key(model: ModelSettings | None) -> Mapping[str, Any] | None:
    if model is None:
        return None
    named = model.model_dump(mode="json", exclude={"model", "arch"})
    return named | specs.identity(model.model, arch=model.arch)


def _outside_sources(settings: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    """Hashes of the user's own files that settings name (`mine.py:Loss`), since a change in one is another stage."""
    training, bench = settings.get("training") or {}, settings.get("bench") or {}
    named = [("losses", entry["name"]) for entry in training.get("losses", ())]
    named += [("teachers", str(settings.get("kind") or "")), ("tasks", settings["task"]["name"])]
    named += [("criteria", training.get("criterion") or ""), ("quantizers", training.get("method") or "")]
    named += [("runtimes", runtime) for runtime in bench.get("runtimes", ())]
    return {name: specs.source_hashes(registry.find(family, name).file) for family, name in named if ":" in name}


def _with_usual_loss(
    distill: recipes.DistillSettings, kind: str
) -> tuple[recipes.DistillSettings, tuple[Decision, ...]]:
    """The settings with the loss that suits the kind of teacher, where none is stated."""
    if distill.losses:
        return distill, ()
    usual = registry.find("teachers", kind).load().usual
    chosen = recipes.LossSettings(**usual)
    told = ", ".join(f"{name} = {value}" for name, value in usual.items() if name != "name")
    why = Decision("distill.losses", f"{chosen.name}: {told}", f"none is stated; what the authors of '{kind}' used")
    return distill.model_copy(update={"losses": (chosen,)}), (why,) if told else ()


def _given(section: _T | None, name: str) -> _T:
    if section is None:
        raise InputError(f"the recipe has no [{name}]", where=name, hint=f"add a section [{name}]")
    return section
