"""The tables of a report: every cell already text, shared by the HTML, the Markdown and the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compressor.measure.record import Accuracy, Budget, Candidate, Speedup, Timing
from compressor.measure.sizes import profile_of
from compressor.report import format as fmt
from compressor.report.facts import Link, ReportData, payload_of, runtime_title
from compressor.scores import Metric

_HASH_DIGITS = 12
_TRAINING_SETTINGS = ("epochs", "batch_size", "optimizer", "lr", "weight_decay", "schedule", "precision", "device")
_NOTABLE_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "adopt": ("model", "arch"),
    "train": _TRAINING_SETTINGS,
    "distill": _TRAINING_SETTINGS,
    "export": ("opset", "input", "normalise", "tolerance", "min_agreement"),
    "bench": ("runtimes", "profiles", "min_seconds", "min_samples", "blocks", "starts"),
}


@dataclass(frozen=True)
class Table:
    """A caption, column titles and rows of text.

    Attributes:
        numeric: Positions of the columns whose cells are numbers.
        roles: The role that each row is about, for its colour; empty when rows are about something else.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    roles: tuple[str, ...] = ()


def summary_rows(data: ReportData) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The short table that a terminal shows after a run: columns and rows."""
    profile = data.profiles[0] if data.profiles else None
    columns = ("model", "runs on", data.primary.words, "size", f"{profile or 'no'} p50", "speed-up")
    rows = []
    for candidate, runtime in _pairs(data):
        timing = data.timing(candidate.role, runtime, profile) if profile else None
        rows.append(
            (
                candidate.title,
                runtime_title(runtime),
                _with_interval(candidate.accuracy_on(runtime), data.primary),
                fmt.size(candidate.size_bytes.get(payload_of(runtime))),
                fmt.milliseconds(timing.p50_ms if timing else None),
                _speedup_cell(timing, data.timed_base),
            )
        )
    return columns, tuple(rows)


def accuracy(data: ReportData) -> Table:
    """How large each model is and how well it answers, on each runtime."""
    columns = (
        "Model",
        "Runs on",
        "Parameters",
        "MACs",
        "Size",
        data.primary.title,
        "95 % interval",
        f"Agrees with {data.called(data.base)}",
    )
    head = data.headline
    where = f"on the test split of {fmt.count(head.samples)} samples" if head.samples else "as measured"
    pairs = tuple(_pairs(data))
    return Table(
        caption="; ".join(
            part for part in (f"{fmt.headed(fmt.called(data.primary))} and size, {where}", right_within(data)) if part
        ),
        columns=columns,
        rows=tuple(_accuracy_row(data, candidate, runtime) for candidate, runtime in pairs),
        numeric=frozenset(range(2, len(columns))),
        roles=tuple(candidate.role for candidate, _ in pairs),
    )


def latency(data: ReportData) -> Table:
    """How fast each model is on each runtime under each profile."""
    columns = ["Model", "Runs on"]
    shown = _at_first_size(data)
    for profile in shown:
        columns += [f"{profile} p50", f"{profile} p90", f"{profile} speed-up"]
    columns += [f"{profile}, to {data.called(data.timed_base)} in PyTorch" for profile in shown[:1]]
    timed = {(timing.role, timing.runtime) for timing in data.timings}
    pairs = tuple(pair for pair in _pairs(data) if (pair[0].role, pair[1]) in timed)
    return Table(
        caption=f"Latency; a speed-up is against {data.the(data.timed_base)} on the same runtime",
        columns=tuple(columns),
        rows=tuple(_latency_row(data, candidate, runtime, shown) for candidate, runtime in pairs),
        numeric=frozenset(range(2, len(columns))),
        roles=tuple(candidate.role for candidate, _ in pairs),
    )


def latency_by_size(data: ReportData) -> Table:
    """How fast each model is at each size that was timed, where samples vary in size and several were."""
    every = [
        dict(each) for each in dict.fromkeys(tuple(timing.sizes.items()) for timing in data.timings if timing.sizes)
    ]
    axes = list(every[0]) if every else []
    name = "length" if axes == ["tokens"] else "size"
    columns = ["Model", "Runs on", "Profile"]
    for at in every:
        columns += [f"{fmt.of_sizes(at)}: p50", "95 % interval", "speed-up"]
    rows, roles = [], []
    if len(every) > 1:
        timed = {
            (each.role, each.runtime, profile_of(each.profile), tuple(each.sizes.items())): each
            for each in data.timings
        }
        for candidate, runtime in _pairs(data):
            for profile in dict.fromkeys(profile_of(each) for each in data.profiles):
                found = [timed.get((candidate.role, runtime, profile, tuple(at.items()))) for at in every]
                if not any(found):
                    continue
                cells = [candidate.title, runtime_title(runtime), profile]
                for each in found:
                    cells.append(fmt.milliseconds(each.p50_ms if each else None))
                    cells.append(_bounds(each.p50_interval if each else None))
                    cells.append(_speedup_cell(each, data.timed_base))
                rows.append(tuple(cells))
                roles.append(candidate.role)
    caption = (
        f"Latency by {name}; a speed-up is against {data.the(data.timed_base)} at the same {name} on the same runtime"
    )
    return Table(caption, tuple(columns), tuple(rows), frozenset(range(3, len(columns))), tuple(roles))


def _at_first_size(data: ReportData) -> tuple[str, ...]:
    """Of each profile the first condition: all of them where nothing was timed at several sizes."""
    return tuple({profile_of(each): each for each in reversed(data.profiles)}.values())[::-1]


def budgets(data: ReportData) -> Table:
    """What the user will accept, and what was measured."""
    rows = [
        (entry.budget, _with_unit(entry.limit, entry.unit), _with_unit(entry.value, entry.unit), _verdict(entry))
        for entry in data.budgets
    ]
    return Table("Budgets", ("Budget", "At most", "Measured", "Verdict"), tuple(rows), frozenset({1, 2}))


def missing(data: ReportData) -> Table:
    """What a reader would look for in vain, and why."""
    rows = tuple((entry.what, entry.reason) for entry in data.missing)
    return Table("What is not here", ("Missing", "Why"), rows)


def steps(data: ReportData) -> Table:
    """What each stage did, in the order it was done."""
    rows = tuple(
        (_link_name(link), fmt.duration(link.elapsed_s), notable_settings(link), _result(data, link))
        for link in data.links
    )
    roles = tuple(_candidate_role(data, link) for link in data.links)
    return Table(
        "What each stage did", ("Stage", "Took", "Settings that matter", "Result"), rows, frozenset({1}), roles
    )


def taught(data: ReportData) -> Table:
    """Who taught the student: of what kind, made of what, and how good itself."""
    told = data.taught
    rows: list[tuple[str, str]] = []
    if told is not None:
        rows.append(("Kind", told.words))
        rows.append(("Taught by", told.title or "the student itself: no network was there before"))
        rows += [("Member", member) for member in told.members]
        rows += [
            (f"Its own {name.replace('_', ' ')}, test", _own(data.meaning(name), value))
            for name, value in told.metrics.items()
        ]
        rows += [("Samples it answered", fmt.count(told.asked))] if told.asked is not None else []
    return Table("Who taught the student", ("Property", "Value"), tuple(rows))


def right_within(data: ReportData) -> str:
    """What "right" means where numbers are told; empty otherwise."""
    entry = next((each for candidate in data.candidates for each in candidate.accuracy if each.tolerance), None)
    if entry is None:
        return ""
    named = ", ".join(f"{name} ± {fmt.significant(value)}" for name, value in entry.tolerance.items())
    return f"right is {named}, and two that agree are as near to one another"


def _own(metric: Metric, value: float) -> str:
    return fmt.percent(value) if metric.is_share else fmt.significant(value)


def decisions(data: ReportData) -> Table:
    """Every automatic choice with its reason."""
    stages: dict[tuple[str, str, str], list[str]] = {}
    for entry in data.decisions:
        stages.setdefault((entry.what, entry.choice, entry.reason), []).append(f"{entry.stage} {entry.role}")
    rows = tuple((what, choice, why, _listed(names, data)) for (what, choice, why), names in stages.items())
    return Table("Automatic decisions", ("What", "Choice", "Why", "By"), rows)


def parity(data: ReportData) -> Table:
    """How far each exported model is from the network it came from, on real data."""
    columns = (
        "Model",
        "Samples",
        "Largest difference",
        "Mean difference",
        "Of the spread",
        "Same answers",
        "Metric before",
        "Metric after",
    )
    exported = [link for link in data.links if link.parity]
    rows = tuple(_parity_row(data, link.role, link.parity) for link in exported if link.parity)
    roles = tuple(_candidate_role(data, link) for link in exported)
    return Table("Exported against original", columns, rows, frozenset(range(1, 8)), roles)


def input_contract(data: ReportData) -> Table:
    """What the exported student takes."""
    contract = contract_of(data)
    rows = tuple((name.replace("_", " "), fmt.anything(value)) for name, value in flat(contract or {}))
    return Table("Input of the exported student", ("Property", "Value"), rows)


def contract_of(data: ReportData) -> Mapping[str, Any] | None:
    """What the exported student takes, as its stage recorded it."""
    contracts = (
        link.input_contract for link in reversed(data.links) if link.role.startswith("student") and link.input_contract
    )
    return next(contracts, None)


def conditions(data: ReportData) -> Table:
    """How every latency was taken."""
    timed = ("Threads", "Batch", "Timed", "Mean", "p50, 95 %", "p95", "p99", "Samples per s")
    columns = ("Model", "Runs on", "Profile", *timed, "Warm", "Provider")
    titles = {candidate.role: candidate.title for candidate in data.candidates}
    rows = tuple(_condition_row(titles.get(timing.role, timing.role), timing) for timing in data.timings)
    roles = tuple(timing.role for timing in data.timings)
    return Table("Conditions of every timing", columns, rows, frozenset(range(3, 11)), roles)


def machine(data: ReportData) -> Table:
    """The machine that measured."""
    rows = tuple((name.replace("_", " "), fmt.anything(value)) for name, value in flat(data.machine))
    return Table("Machine", ("Property", "Value"), rows)


def versions(data: ReportData) -> Table:
    """Library versions of the measurement, and of a stage where they differ."""
    rows = [
        (name, version, "every stage" if _same_everywhere(data, name) else "bench")
        for name, version in data.versions.items()
    ]
    for link in data.links:
        rows += [
            (name, version, _link_name(link))
            for name, version in link.versions.items()
            if data.versions.get(name) != version
        ]
    return Table("Library versions", ("Library", "Version", "Used by"), tuple(rows))


def provenance(data: ReportData) -> Table:
    """Where every artifact lies, what it was made from, and the hashes of its files."""
    rows = tuple(
        (
            link.place,
            link.key,
            ", ".join(f"{role} {key}" for role, key in link.parents.items()) or fmt.ABSENT,
            str(link.seed),
            str(link.data.get("fingerprint", fmt.ABSENT))[:_HASH_DIGITS],
            link.created[:19].replace("T", " "),
            ", ".join(f"{name} {digest[:_HASH_DIGITS]}" for name, digest in link.files.items()),
        )
        for link in data.links
    )
    columns = ("Artifact", "Key", "Made from", "Seed", "Data", "Created (UTC)", "Files, SHA-256")
    return Table(f"Provenance; hashes by their first {_HASH_DIGITS} digits, in full in report.json", columns, rows)


def settings(data: ReportData) -> tuple[Table, ...]:
    """The resolved settings of every stage, in full."""
    return tuple(
        Table(
            f"Settings of {_link_name(link)}",
            ("Setting", "Value"),
            tuple((name, fmt.anything(value)) for name, value in flat(link.settings)),
        )
        for link in data.links
        if link.settings
    )


def notable_settings(link: Link) -> str:
    """The settings that decide a stage's result, in one line."""
    wanted = _NOTABLE_SETTINGS.get(link.stage, ())
    own = [(name, value) for name, value in flat(link.settings) if not name.startswith("task.")]
    found = {name.rpartition(".")[2]: value for name, value in own if name.rpartition(".")[2] in wanted}
    parts = [f"{name.replace('_', ' ')} {fmt.anything(found[name])}" for name in wanted if found.get(name) is not None]
    network = [link.network] if link.network else []
    return " · ".join([*network, *_loss_words(link.settings), *parts]) or fmt.ABSENT


def flat(values: Mapping[str, Any], *, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as (dotted name, value), in their order; tables inside lists are numbered."""
    for name, value in values.items():
        dotted = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flat(value, prefix=f"{dotted}.")
        elif isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
            for index, item in enumerate(value):
                yield from flat(item, prefix=f"{dotted}.{index}.")
        else:
            yield dotted, value


def _pairs(data: ReportData) -> Iterator[tuple[Candidate, str]]:
    """Every candidate with every runtime it was judged or timed on."""
    for candidate in data.candidates:
        judged = [entry.runtime for entry in candidate.accuracy]
        timed = [timing.runtime for timing in data.timings if timing.role == candidate.role]
        for runtime in dict.fromkeys([*judged, *timed]):
            yield candidate, runtime


def _accuracy_row(data: ReportData, candidate: Candidate, runtime: str) -> tuple[str, ...]:
    entry = candidate.accuracy_on(runtime)
    return (
        candidate.title,
        runtime_title(runtime),
        fmt.magnitude(candidate.params),
        fmt.magnitude(candidate.macs),
        fmt.size(candidate.size_bytes.get(payload_of(runtime))),
        fmt.measured(data.primary, entry.metrics.get(data.metric) if entry else None),
        fmt.measured_range(data.primary, entry.interval if entry else None),
        fmt.percent(entry.agreement_with_teacher if entry else None),
    )


def _latency_row(data: ReportData, candidate: Candidate, runtime: str, profiles: Sequence[str]) -> tuple[str, ...]:
    cells = [candidate.title, runtime_title(runtime)]
    timings = [data.timing(candidate.role, runtime, profile) for profile in profiles]
    for timing in timings:
        cells.append(fmt.milliseconds(timing.p50_ms if timing else None))
        cells.append(fmt.milliseconds(timing.p90_ms if timing else None))
        cells.append(_speedup_cell(timing, data.timed_base))
    cells += [_ratio(timing.speedup_against_teacher_torch if timing else None) for timing in timings[:1]]
    return tuple(cells)


def _speedup_cell(timing: Timing | None, base: str) -> str:
    if timing is not None and timing.speedup is None and timing.role == base:
        return "1× (base)"
    return _ratio(timing.speedup if timing else None)


def _ratio(speedup: Speedup | None) -> str:
    return fmt.ABSENT if speedup is None else fmt.ratio(speedup.ratio, low=speedup.low, high=speedup.high)


def _with_interval(entry: Accuracy | None, metric: Metric) -> str:
    if entry is None or metric.name not in entry.metrics:
        return fmt.ABSENT
    bounds = fmt.measured_range(metric, entry.interval).removesuffix(metric.unit).rstrip()
    return f"{fmt.measured(metric, entry.metrics[metric.name])}{f' ({bounds})' if entry.interval else ''}"


def _parity_row(data: ReportData, role: str, report: Mapping[str, Any]) -> tuple[str, ...]:
    metric = data.meaning(str(report.get("metric_name", "")))
    return (
        role,
        fmt.count(report.get("samples")),
        fmt.anything(report.get("max_abs")),
        fmt.anything(report.get("mean_abs")),
        fmt.anything(report.get("max_relative")),
        fmt.percent(report.get("agreement")),
        f"{metric.name} {fmt.measured(metric, report.get('metric_reference'))}",
        f"{metric.name} {fmt.measured(metric, report.get('metric_candidate'))}",
    )


def _condition_row(title: str, timing: Timing) -> tuple[str, ...]:
    provider = timing.describe.get("provider", fmt.ABSENT)
    return (
        title,
        runtime_title(timing.runtime),
        timing.profile,
        "all" if timing.threads == 0 else str(timing.threads),
        str(timing.batch),
        fmt.count(timing.samples),
        fmt.milliseconds(timing.mean_ms),
        _bounds(timing.p50_interval),
        fmt.milliseconds(timing.p95_ms),
        fmt.milliseconds(timing.p99_ms),
        fmt.magnitude(timing.throughput_per_s),
        "steady" if timing.steady else "not steady",
        str(provider),
    )


def _bounds(interval: tuple[float, float] | None) -> str:
    return fmt.ABSENT if interval is None else f"{fmt.significant(interval[0])}–{fmt.significant(interval[1])} ms"


def _result(data: ReportData, link: Link) -> str:
    if link.parity:
        spread = fmt.anything(link.parity.get("max_relative"))
        return f"same answer on {fmt.percent(link.parity.get('agreement'))}; largest difference {spread} of the spread"
    if link.stage == "bench":
        return f"{len(data.candidates)} models, {len(data.timings)} timings"
    found = _metric_by_split(link.metrics, data.metric)
    return ", ".join(f"{split} {fmt.measured(data.primary, value)}" for split, value in found) or fmt.ABSENT


def _metric_by_split(
    values: Mapping[str, Any], metric: str, *, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, float]]:
    """Every value of `metric` with the split it stands under (`test.metrics.accuracy` is that of `test`)."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _metric_by_split(value, metric, path=path if name == "metrics" else (*path, name))
        elif name == metric and isinstance(value, int | float):
            yield " ".join((*path, metric.replace("_", " "))), value


def _loss_words(values: Mapping[str, Any]) -> list[str]:
    """The losses of a stage, wherever in its settings they stand: `kd (temperature 4, alpha 0.9)`."""
    for name, value in values.items():
        if name == "losses" and isinstance(value, list | tuple):
            return [_loss(entry) for entry in value if isinstance(entry, Mapping)]
        if isinstance(value, Mapping) and (found := _loss_words(value)):
            return found
    return []


def _loss(entry: Mapping[str, Any]) -> str:
    weight = entry.get("weight", 1.0)
    head = f"{entry.get('name', 'loss')}" + ("" if weight == 1.0 else f" × {fmt.anything(weight)}")
    options = [f"{name} {fmt.anything(value)}" for name, value in flat(entry) if name not in ("name", "weight")]
    return f"{head} ({', '.join(options)})" if options else head


def _candidate_role(data: ReportData, link: Link) -> str:
    """The measured candidate that a link is about; empty when it is about none or all of them."""
    role = link.role.removesuffix("-onnx")
    return role if data.candidate(role) else ""


def _link_name(link: Link) -> str:
    return link.stage if link.role == link.stage else f"{link.stage} {link.role}"


def _listed(names: list[str], data: ReportData) -> str:
    """Stages in words; a choice that all of them made alike is not repeated for each."""
    deciding = {f"{entry.stage} {entry.role}" for entry in data.decisions}
    return "every stage" if len(deciding) > 1 and set(names) == deciding else ", ".join(dict.fromkeys(names))


def _same_everywhere(data: ReportData, name: str) -> bool:
    return all(link.versions.get(name, data.versions[name]) == data.versions[name] for link in data.links)


def _verdict(budget: Budget) -> str:
    if budget.value is None:
        return "missed: it could not be measured"
    return "met" if budget.met else "missed"


def _with_unit(value: float | None, unit: str) -> str:
    return fmt.ABSENT if value is None else f"{fmt.anything(value)} {unit}".strip()
