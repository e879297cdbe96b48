"""Cut channels until a network is as small or as fast as asked for: a little, recover from the teacher, again.

What a cut saves is counted or measured on the network it leaves, and what it costs is the metric on validation before and
after recovery; both are kept for each round. Once a round ends below what the user accepts, the one before it is the result.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from compressor import artifact, console, registry, sealed_json
from compressor.artifact import Artifact, Decision, Target
from compressor.data.loader import Loader, as_seen, tried
from compressor.data.samples import Samples, SubsetSamples
from compressor.data.unlabelled import labelled
from compressor.errors import InputError
from compressor.files import replacing
from compressor.measure import accuracy, ruin, sizes
from compressor.measure.costs import Costs
from compressor.models import checkpoint, inspection
from compressor.models.build import Loaded
from compressor.models.network import Network
from compressor.quantizers._quick import make_int8
from compressor.quantizers._targets import cpu
from compressor.recipe import ExportSettings, ProfileSettings, PruneSettings
from compressor.runtimes.torch import TorchEager
from compressor.surgery import aim, gradients, sensitivity
from compressor.surgery.criteria._contract import Criterion
from compressor.surgery.cut import Prunable
from compressor.surgery.latency import LatencyTable
from compressor.surgery.record import Surgery
from compressor.teachers._contract import Teacher
from compressor.training import batch_norm, engine, resume
from compressor.training.keep import keep
from compressor.training.material import Material, OnMaterial
from compressor.training.produce import job_for, require_keepable
from compressor.training.rounds import Rounds
from compressor.training.sources import losses_of, read_features
from compressor.training.start import require_same_classes
from compressor.training.teaching import Teaching, teacher_of

_SAMPLES_FOR_GRADIENTS = 512
_SAMPLES_FOR_STATISTICS = 2048
_SAMPLES_FOR_SENSITIVITY = 512
_SECONDS_FOR_SENSITIVITY = 120.0
_INPUTS_KEPT = 64


def prune(
    source: Artifact,
    settings: PruneSettings,
    *,
    teacher: Artifact,
    profile: ProfileSettings,
    export: ExportSettings,
    material: Material,
    target: Target,
) -> Artifact:
    """Prune the network in `source`, and keep the best round.

    Args:
        source: The network to cut.
        settings: How far, by which criterion, and how it is recovered.
        teacher: What it recovers from.
        profile: Run conditions that latency is measured under.
        export: The form in which size and latency are measured.
        material: Samples, how they are shown, and what outputs mean.
        target: What to leave behind.

    Raises:
        ModelError: The network cannot be cut, or cannot be kept.
        InputError: It is as small as asked for already, or nothing is left to judge a drop on.
        DivergenceError: Recovery met NaN or exploded.
        InterruptedRunError: Stopped by a signal; the same call goes on.
    """
    if settings.max_drop is not None and material.dataset.val is None:
        raise InputError(
            f"max_drop = {settings.max_drop:g} is judged on validation samples, and there are none",
            where="prune.max_drop",
            hint="keep a val_share, or leave max_drop out",
        )
    require_same_classes(source, material.dataset, what="network")
    loaded = checkpoint.load(source)
    require_keepable(loaded, material.dataset)
    with tempfile.TemporaryDirectory(prefix="compress-prune-") as scratch:
        return _Pruning(loaded, settings, teacher, profile, export, material, target, Path(scratch)).to_the_end()


@dataclass
class _Pruning(OnMaterial):
    loaded: Loaded
    settings: PruneSettings
    teacher: Artifact
    profile: ProfileSettings
    export: ExportSettings
    material: Material
    target: Target
    scratch: Path

    def __post_init__(self) -> None:
        self.started = time.perf_counter()
        self.what, self.wanted = self.settings.target
        samples = sizes.for_timing(self.dataset.train, most=_INPUTS_KEPT)
        self.rounds = Rounds(self.target.state, key=self.target.key)
        whole = self.rounds.find("whole")
        self.known: dict[str, Any] | None = whole[1] if whole else None
        is_int8 = self.settings.measures_files and self.settings.measured_as == "int8"
        self.costs = Costs(
            self.loaded.network,
            export=self.export,
            profile=self.profile,
            samples=samples,
            inputs=self.dataset.inputs,
            scratch=self.scratch,
            shrink=partial(make_int8, samples=samples, cpu=cpu("this")) if is_int8 else None,
            whole_ms=self.known["start"] if self.known and self.what == "latency" else None,
        )
        self.measured = f"{self.what} in int8" if is_int8 else self.what
        self.table: LatencyTable | None = None
        self.decisions: list[Decision] = []
        self.curve: list[Mapping[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.interruptions = 0
        member = registry.find("criteria", self.settings.criterion)
        self.criterion: Criterion = member.load()(**self.settings.criterion_options)

    def to_the_end(self) -> Artifact:
        whole = self.loaded
        start = self.known["start"] if self.known else self.costs.of(whole.network.module, self.what)
        share = self.wanted / start if self.what == "size_mb" else self.wanted
        if share >= 1:
            raise InputError(
                f"the network is at {start:.3g} MB already, below the {self.wanted:g} MB asked for",
                where="prune.size_mb",
            )
        first = self.metric(whole.network)
        console.note(f"prune  {self.measured} {_amount(self.what, start)} → {share:.0%}; {self._score_text(first)}")
        scanned = self.known or self._scan(whole, start=start)
        best, reached = whole, start
        for number in range(1, self.settings.rounds + 1):
            want = start * (1 - (1 - share) * number / self.settings.rounds)
            found, record = self._round(number, best, want=want, now=reached, start=start, first=first)
            self.history.append(record)
            limit = self._most_below(number)
            if limit is not None and record["drop"] is not None and record["drop"] > limit:
                self._give_up(number, drop=record["drop"], limit=limit)
                record["kept"] = False
                break
            best, reached = found, record["cost"]
            if record.get("coarse"):
                self.decisions.append(Decision("widths", f"multiples of {self.settings.round_to}", record["coarse"]))
            if not record["met"] and (record["narrowest"] or number == self.settings.rounds):
                reason = f"{record['short']}; {reached / start:.0%} of the {self.what} is left"
                self.decisions.append(Decision("rounds", str(number), reason))
                break
        return self._kept(best, start=start, reached=reached, scanned=scanned, first=first)

    def _round(
        self, number: int, before: Loaded, *, want: float, now: float, start: float, first: float | None
    ) -> tuple[Loaded, dict[str, Any]]:
        """One cut and its recovery; what an interrupted run has of it already is not done again."""
        there = self.rounds.find(f"round-{number}")
        if there is not None:
            loaded, record = there
            self._take_in(record)
            return loaded, record
        title = f"prune {number}/{self.settings.rounds}"
        half = self.rounds.find(f"cut-{number}")
        if half is None:
            loaded, record = self._cut(before, want=want, now=now, start=start)
            record |= {"round": number, "wanted": want, "share": record["cost"] / start, "kept": True}
            loaded, record = self.rounds.keep(f"cut-{number}", loaded, record, dataset=self.dataset)
        else:
            loaded, record = half
        console.note(
            f"{title}: {self.measured} at {record['cost'] / start:.1%} of the start; "
            f"{self._score_text(record['before'])} before recovery"
        )
        loaded, training = self._recover(number, loaded, title=title)
        after = self.metric(loaded.network)
        drop = None if first is None or after is None else self.task.metric(self.task.primary).drop(first, after)
        record = {**record, "after": after, "drop": drop, **training}
        loaded, record = self.rounds.keep(f"round-{number}", loaded, record, dataset=self.dataset)
        resume.discard(self._training_state(number))
        self._take_in(record)
        console.note(f"{title}: {self._score_text(after)} after recovery")
        return loaded, record

    def _cut(self, before: Loaded, *, want: float, now: float, start: float) -> tuple[Loaded, dict[str, Any]]:
        network = before.network
        prunable = self._prunable(network)
        scores = self._scores(prunable, network)
        round_to, how = self.settings.round_to, self.settings.ranking
        if self.what == "latency":
            table = self._latency_table(prunable, now_ms=now)
            cut = aim.by_latency(
                prunable, scores, table, want_ms=want, now_ms=now, times=self.costs.times, round_to=round_to
            )
        else:
            cut = aim.by_cost(
                prunable, scores, want=want, cost=partial(self.costs.of, what=self.what), how=how, round_to=round_to
            )
        surgery = Surgery.between(network.module, cut.module)
        pruned = Network(cut.module, network.normalisation).eval()
        norms = batch_norm.re_estimate(
            pruned, self.dataset.train, number=_SAMPLES_FOR_STATISTICS, seed=self.target.seed
        )
        record = {
            "cost": cut.reached,
            "met": cut.met,
            "short": cut.short,
            "narrowest": cut.narrowest,
            "coarse": aim.coarse(cut, what=self.what, want=want, start=start, round_to=round_to),
            "candidates": cut.tried,
            "before": self.metric(pruned),
            "batch_norms": norms,
        }
        known = before.surgery
        whole = surgery if known is None else known.then(surgery)
        return replace(before.with_network(pruned), surgery=whole), record

    def _recover(self, number: int, loaded: Loaded, *, title: str) -> tuple[Loaded, dict[str, Any]]:
        """Train a cut network back; gives it with its curve and what was chosen."""
        epochs = _share_of_epochs(self.settings.epochs, number, self.settings.rounds)
        if epochs == 0:
            return loaded, {"curve": [], "decisions": [], "interruptions": 0}
        teacher, why_teacher = self._teacher
        job, why_views = job_for(
            loaded,
            self.settings.model_copy(update={"epochs": epochs}),
            teacher=teacher,
            losses=losses_of(self.settings, self.task),
            material=self.material,
            target=replace(self.target, role=title),
        )
        key = artifact.key_of(stage=self.target.key, round=number)
        trained = engine.fit(replace(job, key=key, state=self._training_state(number)))
        chosen = [asdict(decision) for decision in (*why_views, *why_teacher, *trained.decisions)]
        told = {"curve": list(trained.curve), "decisions": chosen, "interruptions": trained.interruptions}
        return loaded.with_network(trained.network), told

    def _training_state(self, number: int) -> Path:
        return self.target.state / f"training-{number}"

    def _take_in(self, record: Mapping[str, Any]) -> None:
        """What a round's training has to tell, once for decisions that every round makes alike."""
        self.curve += record["curve"]
        self.interruptions += record["interruptions"]
        chosen = (Decision(**decision) for decision in record["decisions"])
        self.decisions += [decision for decision in chosen if decision not in self.decisions]

    @cached_property
    def _teacher(self) -> tuple[Teacher, tuple[Decision, ...]]:
        return teacher_of(
            Teaching(source=self.teacher),
            self.settings,
            material=self.material,
            seed=self.target.seed,
            reads_features=read_features(losses_of(self.settings, self.task)),
        )

    def _prunable(self, network: Network) -> Prunable:
        return Prunable(network.module, tried(self.dataset.example(2)), ignore=self.settings.ignore)

    def _scores(self, prunable: Prunable, network: Network) -> dict[str, Any]:
        if self.criterion.needs != "weights":
            gradients.accumulate(network, self._some_training_batches(), self.task.hard_loss, criterion=self.criterion)
        scores: dict[str, Any] = prunable.score(self.criterion)
        network.zero_grad(set_to_none=True)
        return scores

    def _some_training_batches(self) -> Iterator[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]:
        known = labelled(self.dataset.train, what_for="this criterion", where="prune.criterion")
        chosen = np.random.default_rng([self.target.seed, 0x6D]).permutation(len(known))
        few = SubsetSamples(known, np.sort(chosen[:_SAMPLES_FOR_GRADIENTS]))
        for loaded in Loader(few, batch_size=64, seed=self.target.seed, shuffle=False, drop_last=False).batches(0):
            yield as_seen(loaded.inputs), loaded.targets

    def _latency_table(self, prunable: Prunable, *, now_ms: float) -> LatencyTable:
        """Measured once, and kept for whoever goes on after an interruption; what later rounds cut has the same names."""
        kept = self.target.state / "latency.json"
        if self.table is None and kept.is_file():
            self.table = self._kept_table(kept)
        if self.table is None:
            shapes = len({group.shape for group in prunable.groups})
            console.note(f"prune  the latency of {shapes} shapes of layers is measured, each at a few widths")
            self.table = aim.measure_table(
                prunable, times=self.costs.times, now_ms=now_ms, round_to=self.settings.round_to
            )
            with replacing(kept) as file:
                table = {"key": self.target.key, "saved_ms": self.table.saved_ms}
                file.write_text(sealed_json.text(table), encoding="utf-8")
        return self.table

    def _kept_table(self, file: Path) -> LatencyTable | None:
        try:
            kept = sealed_json.read_file(file)
            if kept["key"] != self.target.key:
                raise ValueError("it belongs to other settings")
            return LatencyTable.from_plain(kept["saved_ms"])
        except (OSError, ValueError, KeyError) as fault:
            console.note(f"prune  the latencies that were kept are damaged ({fault}), so they are measured again")
            return None

    def metric(self, network: Network, *, samples: Samples | None = None) -> float | None:
        """The task's metric on validation, or None where there is no such set."""
        judged = samples or self.dataset.val
        if judged is None:
            return None
        findings = accuracy.judge(self.task, TorchEager.from_network(network), judged)
        return self.task.metrics(findings)[self.task.primary]

    def _scan(self, loaded: Loaded, *, start: float) -> dict[str, Any]:
        """How far each group can be cut alone, on a part of validation and for two minutes at most; and what is spared."""
        prunable = self._prunable(loaded.network)
        found = []
        if self.dataset.val is not None:
            spaced = np.linspace(0, len(self.dataset.val) - 1, _SAMPLES_FOR_SENSITIVITY).astype(np.int64)
            few = SubsetSamples(self.dataset.val, np.unique(spaced))
            began = time.monotonic()
            found = sensitivity.scan(
                prunable,
                self._scores(prunable, loaded.network),
                judge=partial(self._judged, loaded.network, few),
                go_on=lambda: time.monotonic() - began < _SECONDS_FOR_SENSITIVITY,
            )
        plain = {
            "start": start,
            "groups": len(prunable.groups),
            "sensitivity": [asdict(each) for each in found],
            "spared": dict(prunable.spared),
        }
        return self.rounds.keep("whole", loaded, plain, dataset=self.dataset)[1]

    def _judged(self, like: Network, samples: Samples, module: nn.Module) -> float:
        score = self.metric(Network(module, like.normalisation).eval(), samples=samples)
        assert score is not None
        return score

    def _most_below(self, number: int) -> float | None:
        """How many points below the start a round may end; of one that was not trained back only what is stated counts."""
        trained = _share_of_epochs(self.settings.epochs, number, self.settings.rounds) > 0
        in_points = self.task.metric(self.task.primary).is_share
        return ruin.limit(self.settings.max_drop) if trained and in_points else self.settings.max_drop

    def _give_up(self, number: int, *, drop: float, limit: float) -> None:
        """Say why no further round is cut, and what is left."""
        worse = self.task.metric(self.task.primary).shown_drop(drop)
        below = f"round {number} ended {worse} below the start, more than {limit:g}"
        reason = f"{below}{'' if self.settings.max_drop is not None else ruin.UNSTATED}"
        if number == 1:
            reason += "; there is nothing to gain by this cut, and the network is as it was"
        decision = Decision("rounds", str(number - 1), reason)
        self.decisions.append(decision)
        console.note(f"prune  {decision}")

    def _score_text(self, score: float | None) -> str:
        if score is None:
            return "no validation set"
        return f"val {self.task.primary} {self.task.metric(self.task.primary).shown(score)}"

    def _kept(
        self, best: Loaded, *, start: float, reached: float, scanned: dict[str, Any], first: float | None
    ) -> Artifact:
        goal = self.wanted if self.what == "size_mb" else self.wanted * start
        met = reached <= goal * (aim.CLOCK if self.what == "latency" else 1 + 1e-9)
        if self.settings.target == ("macs", 0.5) and self.settings.macs is None:
            self.decisions.append(Decision("target", "macs = 0.5", "no target was given"))
        sample = self.dataset.fixed_shape or tried(self.dataset.example(1))
        details = {
            "pruning": {
                "target": self.what,
                "measured_as": self.settings.measured_as,
                "wanted": self.wanted,
                "reached": reached,
                "met": met,
                "val_before": first,
                "rounds": [{k: v for k, v in each.items() if k not in ("curve", "decisions")} for each in self.history],
                "widths": inspection.widths(self.loaded.network.module, best.network.module),
                **scanned,
                "macs": [inspection.count_macs(each.network.module, sample) for each in (self.loaded, best)],
                "params": [inspection.count_parameters(each.network.module) for each in (self.loaded, best)],
            },
            "curve": [{**entry, "epoch": number} for number, entry in enumerate(self.curve)],
            "interruptions": self.interruptions,
        }
        made = keep(
            best,
            target=self.target,
            dataset=self.dataset,
            task=self.task,
            decisions=tuple(self.decisions),
            details=details,
            elapsed_s=time.perf_counter() - self.started,
        )
        resume.discard(self.target.state)
        return made


def _share_of_epochs(epochs: int, number: int, rounds: int) -> int:
    """Epochs of round `number`, from 1: as even as whole epochs allow, the later rounds first."""
    return epochs * number // rounds - epochs * (number - 1) // rounds


def _amount(what: str, value: float) -> str:
    return {"latency": f"{value:.3g} ms", "size_mb": f"{value:.3g} MB"}.get(what, f"{value / 1e6:.3g} M")
