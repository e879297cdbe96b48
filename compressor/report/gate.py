"""`compress report --fail-if "latency_p50_ms > 5 or accuracy_drop > 1.0"`: a condition on a report's numbers, for CI.

A condition is comparisons of named numbers, joined with and, or, not; numbers may be added, subtracted, multiplied and
divided. It is parsed, never executed. To name what was not measured is a fault: nothing passes for want of a number.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compressor import registry
from compressor.errors import InputError
from compressor.measure.record import Timing
from compressor.report import format as fmt
from compressor.report.facts import ReportData, find_candidate
from compressor.scores import Metric

_WHERE = "--fail-if"
_AS_THEY_ARE = ("r2", "mae", "rmse")
_NEAR_A_HUNDRED = ("accuracy", "teacher_accuracy", "control_accuracy", "agreement")

NAMES: Mapping[str, str] = {
    "accuracy": "metric of the deployed student: a share in percent, another in its own unit",
    "teacher_accuracy": "the same of the teacher",
    "control_accuracy": "the same of the control",
    "accuracy_drop": "worse than the teacher (the control, where there is none): a share in points, another in its own unit",
    "gain_over_control": "better than the same one trained alone, as it was distilled: likewise",
    "agreement": "samples on which the student and what it is held against decide the same, percent",
    "ece": "calibration error of the student, percent",
    "r2": "share of the targets' variance that the student explains, at most 1 (regression)",
    "mae": "mean error of the student, in the unit of the data (regression)",
    "rmse": "the same, root mean square (regression)",
    "latency_p50_ms": "of the student on its deployed runtime, first profile",
    "latency_p90_ms": "the same",
    "latency_p95_ms": "the same",
    "latency_p99_ms": "the same; needs 1,000 samples",
    "first_ms": "first answer after loading",
    "load_ms": "loading",
    "speedup": "times as fast as the teacher (or the first model of the chain) on the same runtime",
    "speedup_low": "lower end of its 95 % interval",
    "speedup_high": "upper end",
    "size_mb": "what is shipped, 10^6 bytes",
    "size_ratio": "times smaller than the teacher, or the control",
    "parameters": "of the student",
    "macs": "multiply-adds of one sample",
    "peak_memory_mb": "of the student's process",
    "budgets_missed": "number of stated budgets that were missed",
    "restless": "number of profiles whose blocks disagreed",
}
"""What a condition may name, and what it stands for."""

_COMPARE: Mapping[type[ast.cmpop], tuple[str, Callable[[float, float], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Verdict:
    """Whether a condition holds (so that CI fails), and the comparisons that decided it with their numbers."""

    failed: bool
    sentence: str


def check(expression: str, data: ReportData) -> Verdict:
    """Whether `expression` holds for a report.

    Raises:
        InputError: It is no condition, names what nobody knows, or names what was not measured; or the run has moved on.
    """
    if data.outdated:
        raise InputError(data.outdated, where=_WHERE, hint=f"compress bench {data.folder}")
    typed = expression.strip()
    evaluation = _Evaluation(values(data), percent=_NEAR_A_HUNDRED if data.primary.is_share else ("agreement",))
    try:
        failed = evaluation.truth(ast.parse(typed, mode="eval").body)
    except SyntaxError as fault:
        raise _fault(f"'{typed}' is no condition at column {fault.offset or len(typed) + 1}") from fault
    except ValueError as fault:
        raise _fault(f"'{typed}' is no condition: {fault}") from fault
    except (RecursionError, MemoryError) as fault:
        raise _fault("the condition is nested too deeply") from fault
    return Verdict(failed, "; ".join(dict.fromkeys(evaluation.held if failed else evaluation.seen)))


def values(data: ReportData) -> dict[str, float]:
    """Every number that a condition may name and this report holds."""
    head, metric = data.headline, data.primary
    student = find_candidate(data.candidates, "student")
    entry = student.accuracy_on(head.runtime) if student and head.runtime else None
    timing = data.timing("student", head.runtime, head.profile) if head.runtime and head.profile else None
    faster = None if head.speedup_crosses_runtimes else head.speedup
    found: dict[str, float | None] = {
        "accuracy": _in_unit(metric, head.student),
        "teacher_accuracy": _in_unit(metric, head.teacher if head.base == "teacher" else None),
        "control_accuracy": _in_unit(metric, head.control),
        "accuracy_drop": None if head.change is None or _is_from_another(data) else metric.drop(0.0, head.change),
        "gain_over_control": None if head.gain is None else _in_unit(metric, metric.gain(head.gain)),
        "agreement": _percent(entry.agreement_with_teacher if entry else None),
        "ece": _percent(entry.metrics.get("ece") if entry else None),
        **({name: entry.metrics.get(name) for name in _AS_THEY_ARE} if entry else {}),
        "speedup": faster.ratio if faster else None,
        "speedup_low": faster.low if faster else None,
        "speedup_high": faster.high if faster else None,
        "size_mb": None if head.student_size is None else head.student_size / 1e6,
        "size_ratio": head.size_ratio,
        "parameters": student.params if student else None,
        "macs": student.macs if student else None,
        "budgets_missed": sum(not budget.met for budget in data.budgets),
        "restless": sum(not each.calm for each in data.interference),
        **_of_timing(timing),
    }
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def _is_from_another(data: ReportData) -> bool:
    """Whether there was a teacher and a drop was measured from something else, for want of its answers."""
    return data.headline.base != "teacher" and data.taught is not None and not data.taught.alone


def _of_timing(timing: Timing | None) -> dict[str, float | None]:
    if timing is None:
        return {}
    return {
        "latency_p50_ms": timing.p50_ms,
        "latency_p90_ms": timing.p90_ms,
        "latency_p95_ms": timing.p95_ms,
        "latency_p99_ms": timing.p99_ms,
        "first_ms": timing.first_ms,
        "load_ms": timing.load_ms,
        "peak_memory_mb": timing.peak_memory_mb,
    }


class _Evaluation:
    """One walk through a condition; remembers its comparisons in words."""

    def __init__(self, known: Mapping[str, float], *, percent: Sequence[str]) -> None:
        self._known, self._percent = known, percent
        self.seen: list[str] = []
        self.held: list[str] = []

    def truth(self, node: ast.expr, *, wanted: bool = True) -> bool:
        """Whether `node` holds; a comparison that comes out as `wanted` (below `not`: false) is one that decided."""
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(part, wanted=wanted) for part in node.values]  # all, so that each fault is found
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return not self.truth(node.operand, wanted=not wanted)
        if isinstance(node, ast.Compare):
            return self._compared(node, wanted=wanted)
        raise _fault(f"'{ast.unparse(node)}' is neither true nor false")

    def _compared(self, node: ast.Compare, *, wanted: bool) -> bool:
        result, left = True, node.left
        _refuse_shares(node, percentages=self._percent)
        words = _said(left, self._number(left))
        for kind, right in zip(node.ops, node.comparators, strict=True):
            if type(kind) not in _COMPARE:
                raise _fault(f"'{ast.unparse(node)}' compares in a way that is not known here")
            sign, compare = _COMPARE[type(kind)]
            low, high = self._number(left), self._number(right)
            words += f" {sign} {_said(right, high)}"
            result, left = result and compare(low, high), right
        words = words if result else f"not {words}"
        self.seen.append(words)
        if result is wanted:
            self.held.append(words)
        return result

    def _number(self, node: ast.expr) -> float:
        """The value of `node`: always finite, since nothing compares with what is not."""
        try:
            value = self._evaluated(node)
        except OverflowError as fault:
            raise _fault("a number is too large") from fault
        if not math.isfinite(value):
            raise _fault(f"'{ast.unparse(node)}' is not a finite number")
        return value

    def _evaluated(self, node: ast.expr) -> float:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return float(node.value)
        if isinstance(node, ast.Name):
            return self._named(node.id)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            value = self._number(node.operand)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = self._number(node.left), self._number(node.right)
            try:
                return _ARITHMETIC[type(node.op)](left, right)
            except ZeroDivisionError as fault:
                raise _fault(f"'{ast.unparse(node)}' divides by zero") from fault
        raise _fault(f"'{ast.unparse(node)}' is no number")

    def _named(self, name: str) -> float:
        if name in self._known:
            return self._known[name]
        if name in NAMES:
            hint = f"measured here: {', '.join(self._known)}"
            raise InputError(f"'{name}' was not measured in this run", where=_WHERE, hint=hint)
        hint = registry.nearest(name, list(NAMES), "known:")
        raise InputError(f"no number is called '{name}'", where=_WHERE, hint=hint)


def _refuse_shares(node: ast.Compare, *, percentages: Sequence[str]) -> None:
    """Refuse to compare a percentage with a share: such a condition would pass, or fail, whatever was measured."""
    sides = [node.left, *node.comparators]
    percent = next((each.id for each in sides if isinstance(each, ast.Name) and each.id in percentages), None)
    shares = [each.value for each in sides if isinstance(each, ast.Constant) and isinstance(each.value, float)]
    if percent is not None and any(0 < share <= 1 for share in shares):
        raise InputError(f"{percent} is in percent", where=_WHERE, hint=f"write 90 for 90 %, not {shares[0]:g}")


def _said(node: ast.expr, value: float) -> str:
    text = ast.unparse(node)
    return text if isinstance(node, ast.Constant) else f"{text} ({fmt.significant(value, digits=4)})"


def _in_unit(metric: Metric, value: float | None) -> float | None:
    """A value of the metric as a condition names it."""
    return _percent(value) if metric.is_share else value


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _fault(message: str) -> InputError:
    return InputError(message, where=_WHERE, hint='write it like "latency_p50_ms > 5 or accuracy_drop > 1.0"')
