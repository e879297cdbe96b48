"""A run: its folder, the artifacts it has, and how one link is made or taken as it is."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from compressor import __version__, artifact, console, places, processes, trust
from compressor import recipe as recipes
from compressor.artifact import Artifact, Decision, Target
from compressor.errors import ArtifactError, InputError
from compressor.files import lock_file
from compressor.pipeline.keys import model_key, outside_sources, own_code, unchanged
from compressor.pipeline.recovery import unstated
from compressor.recipe import DataSettings, ModelSettings, Recipe, StageName

if TYPE_CHECKING:
    from compressor.data.samples import Dataset
    from compressor.tasks._contract import Task
    from compressor.training.material import Material

Role = Literal["teacher", "control", "distilled", "pruned", "student"]
ROLES: tuple[Role, ...] = get_args(Role)
BETWEEN: Mapping[str, Role] = {"distill": "distilled", "prune": "pruned"}  # what a link leaves that is not the last
SHARED = ("train", "distill")  # stages in which all processes of a job take part
_SHOWN_VIEWS = ("train", "specialize", "distill", "prune", "quantize")  # their result depends on the views of the data
_OPENING_S = 300  # for the main process to come to a run's folder: as far as starting up may differ between machines
_T = TypeVar("_T")
_Training = TypeVar("_Training", bound=recipes.TrainingSettings)


@dataclass
class Run:
    """One run of a recipe: the artifacts it has so far.

    Attributes:
        recipe: What the user asked for.
        command: What the user types to do this again.
        artifacts: Networks by role.
        onnx: Exported models by role.
        why_no_onnx: Why a role that was to be exported is not.
        measurements: What was measured.
        links: How many links there are to make, where that is known.
        done: How many of them have been made or skipped so far.
        teacher_file: The file that teaches, for a kind of teacher that is made from one.
        why_teacher: Why a network is recovered from another one than it learned from.
        again: Links that are made even where nothing changed, since a measurement may come out otherwise.
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
    why_teacher: tuple[Decision, ...] = ()
    again: frozenset[str] = frozenset()

    @property
    def folder(self) -> Path:
        """Where the run's artifacts lie."""
        return Path(self.recipe.runs) / self.recipe.name

    @cached_property
    def dataset(self) -> Dataset:
        """The data, opened once.

        Raises:
            InputError: Its labels are not what the task takes.
        """
        from compressor.data.open import LEFT_OUT, SEEN_IN_TRAINING, open_dataset
        from compressor.data.samples import ARRAYS_LEFT_OUT, FILES_LEFT_OUT
        from compressor.training.start import for_data, require_labels_of, task_of

        opened = open_dataset(given(self.recipe.data, "data"))
        for decision in opened.decisions:
            if decision.what == LEFT_OUT:
                console.note(f"data: {decision.reason}: {console.first_few(decision.choice.split(', '), 3)}")
            elif decision.what in (FILES_LEFT_OUT, ARRAYS_LEFT_OUT, SEEN_IN_TRAINING):
                console.note(f"data: {decision.what}: {decision.choice} — {decision.reason}")
        task = task_of(self.recipe.task, label_smoothing=0.0)
        require_labels_of(task, opened)
        _, chosen = for_data(task, opened)
        return replace(opened, decisions=(*opened.decisions, *chosen))

    @cached_property
    def task(self) -> Task:
        """What outputs mean, without label smoothing (training adds its own)."""
        return self._task_with(label_smoothing=0.0)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run's folder: two runs under one name would overwrite each other.

        Of several processes the main one holds it for all, and lets the others in.

        Raises:
            ArtifactError: The folder cannot be written, another run is at work in it, or it is not the main process's.
            NotOursError: A link stands in it where we write.
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
            places.require_no_links(self.folder)
            lock = lock_file(self.folder / artifact.LOCK)
        except OSError as fault:
            problem = f"cannot write here: {fault.strerror}"
            raise ArtifactError(problem, where=str(self.folder), hint=artifact.ELSEWHERE) from fault
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
        recipes.keep(self.folder, self.recipe.model_dump_json(indent=2, exclude=unstated(self.recipe)))

    def role_of(self, stage: StageName) -> Role:
        """What a link of the chain leaves: the student, when it is the last one."""
        chain = self.recipe.chain
        return "student" if not chain or stage == chain[-1] else BETWEEN[stage]

    @property
    def latest(self) -> Role:
        """The network that the next link takes: what the one before it left, else the teacher."""
        return next((role for role in reversed(ROLES) if role in self.artifacts and role != "control"), "teacher")

    def has(self, role: Role) -> bool:
        """Whether there is a network or an ONNX model of this role."""
        return role in self.artifacts or role in self.onnx

    def settled(self, training: _Training, *, num_samples: int | None = None) -> tuple[_Training, tuple[Decision, ...]]:
        """How to train, with batch and epochs settled, so that what they come to is part of the link's key.

        Args:
            training: As the recipe has it.
            num_samples: That an epoch shows, where they are not all training samples.
        """
        from compressor.training import budget

        return budget.settle(training, num_samples=len(self.dataset.train) if num_samples is None else num_samples)

    def counted_views(
        self, recovery: recipes.RecoverySettings | None = None
    ) -> tuple[DataSettings, tuple[Decision, ...]]:
        """The data settings of student and control, with the number of views settled: both are shown the same ones.

        What is recovered after distillation is shown the views that the teacher has answered there already.
        """
        from compressor.data.token_samples import longest_of
        from compressor.teachers import _choice
        from compressor.views import _plan

        data, training = given(self.recipe.data, "data"), self.recipe.distillation or recovery
        assert training is not None
        distill, _ = self.settled(training)
        assert distill.epochs != "auto", "it is settled"
        count, why = _plan.choose_count(
            data.views.count,
            epochs=max(1, distill.epochs),
            bytes_per_view=_choice.bytes_per_view(
                self.task.outputs(self.dataset.classes, self.dataset.inputs),
                num_samples=len(self.dataset.train),
                exact=self.dataset.of_numbers,
                longest=longest_of(self.dataset.train),
            ),
            budget_bytes=round(distill.cache_gb * 1e9),
        )
        return data.model_copy(update={"views": data.views.model_copy(update={"count": count})}), why

    def link(
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
        planned = self.planned(
            name, stage, role, settings, identity=identity, parents=parents, also=also, why=why, seed=seed
        )
        if isinstance(planned, Artifact):
            return planned
        made = make(planned)
        trust.remember_made(made)  # by every process, since each machine has a home of its own
        return made

    def planned(
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
        """What is to be made, or what is there already; `also` goes into its key alone.

        It is called `name`, or `name-2`, ...: a link must not replace what it is made from.
        """
        sources = parents or {}
        name = _apart_from(origins(sources.values()), self.folder, name)
        model = model_key(identity)
        seed = self.recipe.seed if seed is None else seed
        key = artifact.key_of(
            stage=stage,
            version=__version__,
            settings={key: value for key, value in settings.items() if key not in ("data", "model", "teacher_file")},
            views=settings["data"]["views"] if stage in _SHOWN_VIEWS else None,
            model=model,
            also=also,
            sources=outside_sources(settings),
            data=self.dataset.fingerprint,
            seed=seed,
            parents={parent_role: artifact.content_key(parent) for parent_role, parent in sources.items()},
        )
        folder = self.folder / name
        self.done += 1
        place = f"[{self.done}/{self.links}] " if self.links else ""
        there = None if name in self.again else unchanged(folder, key)
        if there is not None:
            console.note(f"{place}{name}: unchanged (key {key}), skipped")
            return there
        if stage not in SHARED and not processes.is_main():
            made = artifact.await_other(folder, key=key)
            trust.remember_made(made)
            return made
        if processes.is_main():
            artifact.require_replaceable(folder)  # before hours of work rather than after them
        replaces = ", replacing the one there" if artifact.is_artifact(folder) else ""
        console.note(f"{place}{name}: starts{replaces}")
        recorded = settings if model is None else {**settings, "identity": model}
        code = own_code(settings, sources, beside=folder)
        return Target(folder, stage, role, key, seed, recorded, sources, self.command, why, code)

    def settings(self, **parts: Any) -> dict[str, Any]:
        """Resolved settings as plain data, with the data and the task they were used with."""
        named = {"data": given(self.recipe.data, "data"), "task": self.recipe.task, **parts}
        return {
            name: part.model_dump(mode="json") if isinstance(part, recipes.Settings) else part
            for name, part in named.items()
        }

    def material(
        self, training: recipes.TrainingSettings, data: DataSettings | None = None, *, dataset: Dataset | None = None
    ) -> Material:
        """What a network is trained on.

        Args:
            training: With which label smoothing.
            data: With the views that are shown; by default the recipe's.
            dataset: Where it is not the whole one.
        """
        from compressor.training.material import Material

        task = self._task_with(label_smoothing=training.label_smoothing)
        return Material(dataset or self.dataset, data or given(self.recipe.data, "data"), task)

    def _task_with(self, *, label_smoothing: float) -> Task:
        from compressor.training.start import for_data, task_of

        task = task_of(self.recipe.task, label_smoothing=label_smoothing)
        return for_data(task, self.dataset)[0] if "rows:values" in task.gives else task


def origins(made_from: Iterable[Artifact]) -> set[Path]:
    """The folders of what something is made from, and of all that these were made from, as far as it is still there."""
    found: set[Path] = set()
    waiting = list(made_from)
    while waiting:
        current = waiting.pop()
        if current.path.resolve() not in found:
            found.add(current.path.resolve())
            waiting += filter(None, map(current.parent, current.manifest.parents))
    return found


def _apart_from(taken: Container[Path], folder: Path, name: str) -> str:
    found, number = name, 1
    while (folder / found).resolve() in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def given(section: _T | None, name: str) -> _T:
    """A section that the recipe must have.

    Raises:
        InputError: It has none.
    """
    if section is None:
        raise InputError(f"the recipe has no [{name}]", where=name, hint=f"add a section [{name}]")
    return section
