"""How results of stages are shown: one table for networks, one for a whole run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor import artifact, console, pipeline
from compressor.scores import Metric

if TYPE_CHECKING:
    from compressor.artifact import Artifact


def show_artifact(made: Artifact, *, as_json: bool, then: str) -> None:
    """One finished artifact: where it is, what it measures, what to type next."""
    if as_json:
        console.as_json({"path": str(made.path), **artifact.as_json(made.manifest)})
        return
    teacher, control = made.parent("teacher"), _control_of(made)
    compared = [each for each in (teacher, control, made) if each is not None]
    metric = (_metric_of(made) or Metric("accuracy")).words
    console.table(["", "parameters", f"val {metric}", f"test {metric}"], [_row(each) for each in compared])
    if control is not None:
        console.show(f"\n{_gain(control, made)}")
    if unlearned := _at_chance(compared):
        console.show(f"\n{unlearned}")
    console.show(f"\n{made.path}")
    if then:
        console.note(f"next: {then}")


def _control_of(made: Artifact) -> Artifact | None:
    """The control beside a student, if there is one of its own budget and data."""
    beside = made.path.parent / "control"
    if made.manifest.role != "student" or not artifact.is_artifact(beside):
        return None
    control = artifact.read(beside)
    return control if pipeline.is_control_of(control, made) else None


def _gain(control: Artifact, student: Artifact) -> str:
    """What the teacher was worth, in the words of the report."""
    from compressor.report.collect import as_trained
    from compressor.report.headline import gain_over_control

    own = as_trained(student, beside=control)
    assert own is not None, "a student is judged on the test set when it is kept"
    return gain_over_control(own, as_trained(control), metric=_metric_of(student) or Metric("accuracy"))


def _at_chance(made: Sequence[Artifact]) -> str:
    """Which networks are not shown to have learned anything, in the words of the report."""
    from compressor.report import chance
    from compressor.report.collect import as_trained

    metric = next(filter(None, map(_metric_of, made)), Metric("accuracy"))
    return chance.sentence([(f"the {each.manifest.role}", as_trained(each)) for each in made], metric=metric)


def _row(made: Artifact) -> list[str]:
    network = made.manifest.details.get("network", {})
    params = network.get("params")
    return [
        f"{made.manifest.role} ({network.get('title', made.path.name)})",
        f"{params:,}" if params is not None else "",
        _accuracy(made.manifest.metrics.get("val")),
        _accuracy(made.manifest.metrics.get("test")),
    ]


def _metric_of(made: Artifact) -> Metric | None:
    """What a network was judged by on the test set; None where it was not."""
    scored = made.manifest.metrics.get("test")
    return _metric_in(scored) if scored else None


def _metric_in(scored: Mapping[str, Any]) -> Metric:
    return Metric.from_json(scored["metric"]) if "metric" in scored else Metric(scored["primary"])


def _accuracy(scored: Any) -> str:
    if not scored:
        return "–"
    metric = _metric_in(scored)
    bounds = [metric.shown_range(*scored["interval"])] if scored["interval"] else []
    told = ", ".join([*bounds, f"{scored['samples']} samples"])
    return f"{metric.shown(scored['metrics'][metric.name])} ({told})"


def show_measurements(made: Artifact, *, report: Path | None, as_json: bool) -> None:
    """The short table of a run, and where its report lies."""
    from compressor import api

    if as_json:
        console.as_json(
            {"path": str(made.path), "report": str(report) if report else None, **api.measurements_of(made)}
        )
        return
    from compressor.report.collect import collect
    from compressor.report.tables import summary_rows

    data = collect(made)
    columns, rows = summary_rows(data)
    console.table(columns, rows)
    console.show(f"\n{data.headline.sentence}")
    for more in (data.headline.gain_sentence, data.headline.chance_sentence):
        if more:
            console.show(more)
    if report is not None:
        console.show(f"report: {report.resolve()}")


def show_device(file: Path, *, as_json: bool) -> None:
    """What a pack measured on another machine, and how to see it beside this one."""
    from compressor.measure import on_device, recorded

    if as_json:
        console.as_json({"path": str(file), **recorded.device_content(file)})
        return
    console.show(on_device.summary(recorded.device(file)))
    console.show(f"\n{file}")
    console.note(f"next: compress report {file.parent.parent}")


def raise_too_slow_there(file: Path, max_latency_ms: float | None) -> None:
    """End with exit code 1 when the student was slower on another machine than the user accepts.

    Raises:
        BudgetMissedError: Its p50 there, under the first profile, lies above the budget.
    """
    from compressor.errors import BudgetMissedError, MeasurementError
    from compressor.measure import recorded

    if max_latency_ms is None:
        return
    p50_ms = next((each.p50_ms for each in recorded.device(file).timings if each.role == "student"), None)
    if p50_ms is None:
        raise MeasurementError("timed no student, so its latency is not known", where=str(file))
    if p50_ms > max_latency_ms:
        said = f"max_latency_ms = {max_latency_ms:g} ms, measured {p50_ms:.3g} there"
        raise BudgetMissedError(said, where="budget", hint="the table above says under which profile")


def raise_missed_budgets(made: Artifact) -> None:
    """End with exit code 1 when a budget that the user stated was missed.

    Raises:
        BudgetMissedError: The first one missed.
    """
    from compressor.errors import BudgetMissedError

    missed = [budget for budget in _budgets(made) if not budget["met"]]
    if missed:
        raise BudgetMissedError(_missed_text(missed), where="budget", hint="the report says which link costs what")


def show_pruned(made: Artifact, *, as_json: bool) -> None:
    """What a cut gave and cost, round by round."""
    if as_json:
        console.as_json({"path": str(made.path), **artifact.as_json(made.manifest)})
        return
    cut = made.manifest.details["pruning"]
    metric = _metric_of(made) or Metric("accuracy")
    rows = [["start", "100.0 %", "", _shown(metric, cut["val_before"])]]
    for entry in cut["rounds"]:
        name = f"round {entry['round']}" + ("" if entry["kept"] else " (not kept)")
        rows.append(
            [name, f"{100 * entry['share']:.1f} %", _shown(metric, entry["before"]), _shown(metric, entry["after"])]
        )
    form = " in int8" if cut.get("measured_as") == "int8" else ""
    console.table(["", cut["target"] + form, "val before recovery", "val after recovery"], rows)
    for decision in made.manifest.decisions:
        if decision.what in ("rounds", "widths"):
            console.show(str(decision))
    for what in ("macs", "params"):
        before, after = cut[what]
        if before and after:
            console.show(f"{what}: {before:,} → {after:,} ({before / after:.2f} times fewer)")
    for decision in made.manifest.decisions:
        if decision.what in ("recovery", "rounds"):
            console.show(str(decision))
    console.show(f"test: {_accuracy(made.manifest.metrics.get('test'))}")
    console.show(f"\n{made.path}")
    console.note(f"next: compress quantize {made.path}, or compress bench {made.path.parent}")


def show_quantized(made: Artifact, *, as_json: bool) -> None:
    """What quantization gave and cost, and what stayed in float."""
    if as_json:
        console.as_json({"path": str(made.path), **artifact.as_json(made.manifest)})
        return
    details = made.manifest.details
    for decision in made.manifest.decisions:
        console.show(str(decision))
    console.show(f"test: {_accuracy(made.manifest.metrics.get('test'))}")
    console.show(f"{made.file('model.onnx')}, {details['size_bytes'] / 1e6:.2f} MB")
    network, source = made.parent("network"), made.parent("source")
    compared = made.path.parent if network is not None or source is None else f"{source.path} {made.path}"
    console.note(f"next: compress bench {compared}")


def raise_missed_target(made: Artifact) -> None:
    """End with exit code 1 when a cut did not reach its target, or a budget was missed.

    Raises:
        BudgetMissedError: The first one missed.
    """
    from compressor.errors import BudgetMissedError

    cut = made.manifest.details.get("pruning")
    if cut is not None and not cut["met"]:
        said = f"{cut['target']} = {cut['wanted']:g}, reached {cut['reached'] / cut['start']:.3g} of the start"
        raise BudgetMissedError(said, where="prune", hint="the rounds say why; the best one is kept")
    missed = [budget for budget in made.manifest.details.get("budgets", ()) if not budget["met"]]
    if missed:
        raise BudgetMissedError(_missed_text(missed), where="budget", hint="the table says which layers cost what")


def _shown(metric: Metric, value: float | None) -> str:
    return "–" if value is None else metric.shown(value)


def _missed_text(missed: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{budget['budget']} = {budget['limit']:g} {budget['unit']}, " + _measured_text(budget) for budget in missed
    )


def _measured_text(budget: Mapping[str, Any]) -> str:
    if budget["value"] is None:
        return "not measured"
    if budget["value"] <= budget["limit"]:
        return "and nothing that was made keeps to it, so the model is as it was"
    return f"measured {budget['value']:.3g}"


def _budgets(made: Artifact) -> list[dict[str, Any]]:
    from compressor import api

    budgets: list[dict[str, Any]] = api.measurements_of(made)["budgets"]
    return budgets


def show_profile(timed: list[dict[str, Any]], *, as_json: bool) -> None:
    """Where the milliseconds of a training step go, a column for each case."""
    from compressor.training.stopwatch import WHAT

    if as_json:
        console.as_json(timed)
        return
    rows: list[list[str]] = []
    for phase, what in WHAT.items():
        rows.append([phase, *(f"{case['ms_per_step'][phase]:.2f}" for case in timed), what])
    rows.append(["a step", *(f"{sum(case['ms_per_step'].values()):.2f}" for case in timed), "all of it"])
    rows.append(["images/s", *(f"{case['images_per_s']:.0f}" for case in timed), ""])
    console.table(["ms in a step", *(case["title"] for case in timed), "what"], rows)
    for case in timed:
        for line in case["advice"]:
            console.show(f"{case['title']}: {line}")
