"""Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), section 3: distillation on MNIST, the whole of it.

    python -m benchmarks.papers.mnist --data data/mnist --runs runs/mnist

The teacher (two layers of 1 200 units, dropout, weight constraints, jitter) is trained once; the students without any of
these: two layers of 800 alone and taught at T = 20, temperatures for 800 and for 30 units, without the digit 3, and with 7s
and 8s alone; and, which the paper has not, taught on jittered images that the teacher answers as they are shown. Errors are
counted among the 10 000 test images after the last epoch. As in the paper, the biases of classes that were left out, or
were alone, are moved by the amount that is best on the test set. Started again it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import result
from benchmarks.papers import runs
from benchmarks.papers.runs import made, spread
from benchmarks.result import Claim
from compressor.artifact import Artifact

WIDE, NARROW = (4.0, 8.0, 20.0), (1.0, 2.5, 4.0, 8.0, 20.0)
PARTS = ("distilled", "plain", "jittered", "jittered_plain", "of_30", "of_800", "without_3", "only_7_and_8")
SHIFTS = np.arange(0.0, 15.05, 0.1)


def main() -> None:
    """Train what is not there yet and write the result file."""
    parser = runs.options(__doc__)
    parser.add_argument("--data", required=True, help="folder of MNIST's four idx files")
    parser.add_argument("--teacher-epochs", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=40, help="of the students of 800 units and their controls")
    parser.add_argument("--short", type=int, default=3, help="epochs of the sweeps and of the left-out classes")
    parser.add_argument(
        "--parts", default=",".join(PARTS), help="comma between; those that are left out have no claims"
    )
    parser.add_argument("--called", default="mnist", help="of the result file: hinton_CALLED_...")
    given = parser.parse_args()
    parts = given.parts.split(",")
    if strange := [part for part in parts if part not in PARTS]:
        parser.error(f"no part is called '{strange[0]}'; write some of {', '.join(PARTS)}")
    runs.work_in(given.runs)
    found = Section3(given).run(parts)
    print(result.write(f"hinton_{given.called}", claims(found), samples=found, folder=given.results))


class Section3:
    """The experiments, in the order of the section."""

    def __init__(self, given: argparse.Namespace) -> None:
        """Write the transfer sets that are parts of the training set."""
        self.given, self.seeds = given, range(given.seeds)
        source = runs.beginning(f"idx:{given.data}", given.samples, given.runs)
        whole = runs.arrays(source)
        parts = {"no3": whole["y_train"] != 3, "only78": np.isin(whole["y_train"], (7, 8))}
        self.sources = {"all": source} | {
            name: runs.kept(given.runs / f"{name}.npz", runs.training_part(whole, chosen))
            for name, chosen in parts.items()
        }

    def run(self, parts: Sequence[str]) -> dict[str, Any]:
        """The numbers of some parts of the section."""
        epochs, short = self.given.epochs, self.given.short
        found: dict[str, Any] = {
            "epochs": {"teacher": self.given.teacher_epochs, "students": epochs, "short": short},
            "teacher": _errors(self._teacher()),
        }
        print(f"teacher {found['teacher']}", flush=True)
        made: dict[str, Callable[[], Any]] = {
            "distilled": lambda: self._each_seed("distilled", epochs=epochs),
            "plain": lambda: self._each_seed("plain", epochs=epochs, plain=True),
            "jittered": lambda: self._each_seed("jittered", epochs=epochs, jitter=2),
            "jittered_plain": lambda: self._each_seed("jittered-plain", epochs=epochs, jitter=2, plain=True),
            "of_30": lambda: self._sweep("of_30", NARROW, units=30, epochs=short),
            "of_800": lambda: self._sweep("of_800", WIDE, units=800, epochs=short),
            "without_3": lambda: [self._moved("no3", (3,), +1.0, seed) for seed in self.seeds],
            "only_7_and_8": lambda: [self._moved("only78", (7, 8), -1.0, seed) for seed in self.seeds],
        }
        return found | {part: made[part]() for part in parts}

    def _sweep(self, name: str, temperatures: Sequence[float], **settings: Any) -> dict[str, Any]:
        return {
            f"{temperature:g}": self._each_seed(f"{name}-{temperature:g}", temperature=temperature, **settings)
            for temperature in temperatures
        }

    def _teacher(self) -> Artifact:
        words = [f"data.source={self.sources['all']}", f"train.epochs={self.given.teacher_epochs}"]
        return made("mnist_teacher", self.given.runs / "mnist-teacher", "train", words)

    def _each_seed(self, name: str, **settings: Any) -> dict[str, Any]:
        made = spread([_errors(self._student(f"{name}-{seed}", seed=seed, **settings)) for seed in self.seeds])
        print(f"{name} {made['values']}", flush=True)
        return made

    def _student(
        self,
        name: str,
        *,
        seed: int,
        epochs: int,
        units: int = 800,
        temperature: float = 20.0,
        source: str = "all",
        jitter: int = 0,
        plain: bool = False,
        by_the_teacher_alone: bool = False,
    ) -> Artifact:
        words = [f"data.source={self.sources[source]}", f"seed={seed}", f"distill.epochs={epochs}"]
        words += [f"student.options.hidden={units}"]
        if jitter:
            words += [f"data.views.crop={jitter}", "data.views.count=0"]
        if plain:
            words += ['teacher={kind="none"}', 'distill.losses=[{name="hard"}]']
        else:
            words += [f"teacher.model={self.given.runs / 'mnist-teacher' / 'train'}"]
            words += [f"distill.losses.0.temperature={temperature}"]
        if by_the_teacher_alone:
            words += ["distill.losses.0.alpha=1.0", "labels_of(data)=false"]
        return made("mnist_student", self.given.runs / name, "distill", words)

    def _moved(self, source: str, classes: Sequence[int], sign: float, seed: int) -> dict[str, Any]:
        """A student that saw a part of the classes, before and after the biases of some are moved."""
        name = f"{source}-{seed}"
        made = self._student(name, seed=seed, epochs=self.given.short, source=source, by_the_teacher_alone=True)
        found = best_shift(*runs.answers(made, self.sources["all"]), classes=classes, sign=sign)
        print(f"{name} {found}", flush=True)
        return found


def best_shift(
    logits_NK: NDArray[np.floating[Any]], labels_N: NDArray[np.int64], *, classes: Sequence[int], sign: float
) -> dict[str, Any]:
    """Errors before and after the logits of `classes` are moved alike, by the amount with the fewest errors here.

    Args:
        logits_NK: `[N, K]` answers.
        labels_N: `[N]` class numbers.
        classes: Whose bias is moved.
        sign: +1 to raise it, -1 to lower it.
    """
    counts = [_wrong(_shifted(logits_NK, classes, sign * shift), labels_N) for shift in SHIFTS]
    best = int(np.argmin(counts))
    moved = _shifted(logits_NK, classes, sign * SHIFTS[best])
    own = np.isin(labels_N, classes)
    return {
        "errors": counts[0],
        "of_these_classes": _wrong(logits_NK[own], labels_N[own]),
        "shift": float(sign * SHIFTS[best]),
        "errors_moved": counts[best],
        "of_these_classes_moved": _wrong(moved[own], labels_N[own]),
    }


def claims(found: Mapping[str, Any]) -> list[Claim]:
    """What the section says, as far as it can be held against the parts that were run."""
    claims = [Claim("the teacher's test errors", 67, found["teacher"], "errors", "at most")]
    if "distilled" in found:
        students = found["distilled"]["mean"]
        claims.append(Claim("test errors of two layers of 800, distilled at T = 20", 74, students, "errors", "at most"))
        if "plain" in found:
            claims.append(Claim("errors that distilling saves", 146 - 74, found["plain"]["mean"] - students, "errors"))
    if "jittered" in found:
        shifted, what = found["jittered"]["mean"], "the same, on images jittered by two pixels (not the paper's)"
        claims.append(Claim(what, 74, shifted, "errors", "at most"))
    if "of_800" in found:
        high = [made["mean"] for temperature, made in found["of_800"].items() if float(temperature) >= 8]
        what = "800 units: most that temperatures of 8 and more differ"
        claims.append(Claim(what, 10, max(high) - min(high), "errors", "at most"))
    if "of_30" in found:
        narrow = {float(each): made["mean"] for each, made in found["of_30"].items()}
        saved = narrow[20.0] - min(narrow[2.5], narrow[4.0])
        claims.append(Claim("30 units: errors that T of 2.5 or 4 saves against T = 20", 0, saved, "errors"))
    if "without_3" in found:
        moved = _means(found["without_3"])
        errors, threes = moved["errors_moved"], moved["of_these_classes_moved"]
        claims.append(Claim("errors without the digit 3, its bias raised", 109, errors, "errors", "at most"))
        claims.append(Claim("errors on threes by a student that saw none", 14, threes, "errors", "at most"))
    if "only_7_and_8" in found:
        errors = _means(found["only_7_and_8"])["errors_moved"]
        claims.append(Claim("errors with 7s and 8s alone, their biases lowered", 1320, errors, "errors", "at most"))
    return claims


def _means(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def _shifted(logits_NK: NDArray[Any], classes: Sequence[int], by: float) -> NDArray[Any]:
    moved = logits_NK.copy()
    moved[:, list(classes)] += by
    return moved


def _wrong(logits_NK: NDArray[Any], labels_N: NDArray[np.int64]) -> int:
    return int((logits_NK.argmax(axis=1) != labels_N).sum())


def _errors(made: Artifact) -> int:
    return round(10_000 * (1 - runs.metric(made, "accuracy")))


if __name__ == "__main__":
    main()
