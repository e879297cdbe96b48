"""From settings to a teacher: what its constructor takes is found by name; its answers are kept where they stay the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compressor import artifact, caches, registry
from compressor.artifact import Artifact, Decision
from compressor.data.loader import as_seen, in_torch, tried
from compressor.data.samples import Dataset, Samples
from compressor.data.token_samples import longest_of
from compressor.models import checkpoint, combined, folding
from compressor.models import spec as specs
from compressor.models.network import Network
from compressor.recipe import DistillSettings, ModelSettings, RecoverySettings
from compressor.tasks._contract import Task
from compressor.teachers._cache import CachedTeacher
from compressor.teachers._choice import choose_form
from compressor.teachers._contract import Teacher
from compressor.teachers._frozen import Frozen
from compressor.teachers._kept_error import kept_error
from compressor.teachers._records import AnswerStore, Form
from compressor.tensors import Batch
from compressor.training import precision
from compressor.training.material import Material
from compressor.training.start import network_for, require_same_classes
from compressor.views._compose import SCHEME

_COMPARED = 32
_MEASURED_AT_ONCE = 4  # samples: a map of logits in float64 takes many times what is kept of it
_MOST_VALUES_MEASURED = 1 << 24


@dataclass(frozen=True)
class Teaching:
    """Which teacher, and what it is made from.

    Attributes:
        kind: A member of `teachers`.
        options: Its options.
        source: The artifact of the network that answers, or the file that was named; None for a kind that needs neither.
        peers: Networks to be trained along, for a kind that takes them.
    """

    kind: str = "network"
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Artifact | Path | None = None
    peers: tuple[ModelSettings, ...] = ()

    def described(self) -> dict[str, Any]:
        """What a manifest keeps of it: `kind`, `title`, and the titles of its `members` where it has several."""
        kept: dict[str, Any] = {"kind": self.kind, "options": dict(self.options)}
        if isinstance(self.source, Artifact):
            network = self.source.manifest.details["network"]
            kept["title"] = network["title"]
            if network.get("members"):
                kept["members"] = combined.titles(network)
        elif self.source is not None:
            kept["title"] = self.source.name
        elif self.peers:
            kept["members"] = [peer.model for peer in self.peers]
        return kept


def teacher_of(
    teaching: Teaching,
    settings: DistillSettings | RecoverySettings,
    *,
    material: Material,
    seed: int,
    reads_features: bool = False,
) -> tuple[Teacher, tuple[Decision, ...]]:
    """The teacher, with BatchNorm folded in where that changes no answer, and with its answers kept where views are counted.

    Raises:
        ModelError: It knows other classes than the data.
        InputError: It refuses its options.
    """
    decisions: tuple[Decision, ...] = ()
    network: Network | None = None
    if isinstance(teaching.source, Artifact):
        require_same_classes(teaching.source, material.dataset, what="teacher")
        network = checkpoint.load(teaching.source).network
        if not reads_features:
            network, why_folded = folded(network, dataset=material.dataset)
            decisions = (why_folded,)
    teacher = make(teaching, network=network, material=material, seed=seed)
    if reads_features:
        return teacher, (Decision("teacher cache", "none", "a loss reads features, which are too large to keep"),)
    if teaching.source is None or not may_be_kept(teacher):
        return teacher, decisions
    return _kept(teacher, teaching, settings, network=network, material=material, decisions=decisions)


def folded(network: Network, *, dataset: Dataset) -> tuple[Network, Decision]:
    """A network that no longer changes, with BatchNorm folded in where that changes no answer."""
    faster, why = folding.fold_batch_norm(network, tried(dataset.example(_COMPARED)))
    return faster, Decision("teacher's BatchNorm folded", "no" if faster is network else "yes", why)


def may_be_kept(teacher: Teacher) -> bool:
    """Whether an answer to a view stays the same for ever, and is made of logits alone."""
    return not ("changing" in teacher.gives or teacher.keeps_answers or bool(teacher.taps))


def make(teaching: Teaching, *, network: Network | None, material: Material, seed: int) -> Teacher:
    """The member of the family, with what its constructor takes by position.

    Args:
        teaching: Which one.
        network: The trained network behind it; None for a kind that has none.
        material: What the student learns from.
        seed: Of the networks that are trained along.

    Raises:
        InputError: It refuses its options.
        ModelError: A peer cannot be built.
    """
    member = registry.find("teachers", teaching.kind)
    takes = [option.name for option in member.positional]
    if "networks" in takes:  # they have been combined into one network already, which answers by itself
        assert network is not None
        return Frozen(network)

    def peers() -> list[Network]:
        return [
            network_for(peer, dataset=material.dataset, task=material.task, seed=seed + number)[0].network
            for number, peer in enumerate(teaching.peers, start=1)
        ]

    offered: dict[str, Callable[[], object]] = {
        "network": lambda: network,
        "previous": lambda: network,
        "file": lambda: teaching.source,
        "classes": lambda: material.dataset.classes,
        "samples": lambda: material.dataset.train,
        "peers": peers,
    }
    made: Teacher = member.load()(*(offered[name]() for name in takes), **teaching.options)
    return made


def form_for(material: Material, *, cache_gb: float) -> tuple[Form | None, Decision]:
    """In which form answers to the counted views of this material are kept; None where they are not."""
    count, dataset = material.data.views.count, material.dataset
    return choose_form(
        material.task.outputs(dataset.classes, dataset.inputs),
        num_samples=len(dataset.train),
        num_views=1 if count == "auto" else count,
        budget_bytes=round(cache_gb * 1e9),
        exact=dataset.of_numbers,
        longest=longest_of(dataset.train),
    )


def _kept(
    teacher: Teacher,
    teaching: Teaching,
    settings: DistillSettings | RecoverySettings,
    *,
    network: Network | None,
    material: Material,
    decisions: tuple[Decision, ...],
) -> tuple[Teacher, tuple[Decision, ...]]:
    """The teacher behind the answers it has given before, where the same views come round again."""
    if material.data.views.count in ("auto", 0) or settings.cache_gb == 0:
        return teacher, decisions
    dataset = material.dataset
    form, why_form = form_for(material, cache_gb=settings.cache_gb)
    if form is None:
        return teacher, (*decisions, why_form)
    shown, _ = material.views()
    own = {
        entry.name: specs.source_hashes(registry.find("views", entry.name).file) for entry in material.data.views.own
    }
    own_code = {"code": own} if own else {}
    num_values = sum(prod(codec.shape) for _, codec in form.codecs)
    measured = min(_COMPARED, max(_MEASURED_AT_ONCE, _MOST_VALUES_MEASURED // num_values))
    identity, computes_here = _identity(teaching), network is not None or _is_outside(teaching.kind)
    asked_of_run = settings.model_copy(update={"channels_last": False})  # the layout is not in question

    def find(student: Network) -> tuple[AnswerStore, Decision]:
        computed = "32-true"
        if computes_here:  # it answers under the precision of the run, which is chosen for the network that is trained
            shape, of_numbers = dataset.fixed_shape, dataset.of_numbers
            computed = precision.choose(asked_of_run, student, sample_shape=shape, of_numbers=of_numbers).precision
        key = artifact.key_of(
            teacher=identity,
            kind=teaching.kind,
            data=dataset.fingerprint,
            views=shown.as_json() | own_code | {"seed": material.data.views.seed, "scheme": SCHEME},
            precision=computed,
            form=str(form),
        )
        about = {"teacher": _place(teaching), "data": material.data.source, "precision": computed}
        folder = caches.open_cache("teacher", key, about)
        loses = kept_error(
            teacher, form, some_batches(dataset.train, material.task, count=measured), inputs=dataset.inputs
        )
        why = replace(why_form, reason=f"{why_form.reason}; {loses}")
        return AnswerStore(folder, key=key, num_samples=len(dataset.train), form=form), why

    return CachedTeacher(teacher, find, form=form, inputs=dataset.inputs), decisions


def some_batches(samples: Samples, task: Task, *, count: int) -> Iterator[Batch]:
    """Plain samples from all over a set, a few at a time, as a teacher sees them."""
    chosen = np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(np.int64)
    for positions in np.array_split(chosen, -(-len(chosen) // _MEASURED_AT_ONCE)):
        yield Batch(
            as_seen(in_torch(samples.fetch(positions))),
            in_torch(samples.fetch_targets(positions)),
            torch.from_numpy(samples.labelled[positions]),
            torch.from_numpy(positions),
            -1,
            task,
        )


def _identity(teaching: Teaching) -> dict[str, Any]:
    """What tells the answers of one teacher from those of another."""
    options = {"options": dict(teaching.options)} if teaching.options else {}
    code = {}
    if _is_outside(teaching.kind):
        code = {"code": specs.source_hashes(registry.find("teachers", teaching.kind).file)}
    if isinstance(teaching.source, Artifact):
        manifest = teaching.source.manifest
        return {"files": dict(manifest.files), "network": manifest.details["network"], **options, **code}
    assert teaching.source is not None
    return {"file": artifact.sha256(teaching.source), "options": dict(teaching.options), **code}


def _is_outside(kind: str) -> bool:
    """Whether a kind is the user's own (`mine.py:Mirrored`)."""
    return ":" in kind


def _place(teaching: Teaching) -> str:
    source = teaching.source
    return str((source.path if isinstance(source, Artifact) else source or Path()).resolve())
