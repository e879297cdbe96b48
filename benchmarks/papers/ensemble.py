"""Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), section 4: an ensemble of ten distilled into one network of the same size.

    python -m benchmarks.papers.ensemble --data data/fashion-mnist --runs runs/ensemble
    python -m benchmarks.papers.ensemble --on cifar --data D --runs runs/ensemble-cifar --samples 5000 --epochs 16

Ten networks (two layers of 400 on Fashion-MNIST, ResNet-8 on CIFAR-10; the paper: speech) differ by their seeds alone. One
more of the same architecture, with as many epochs, learns from all ten together. Started again it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import result
from benchmarks.papers import runs
from benchmarks.papers.runs import made, metric, percent, spread
from benchmarks.result import Claim
from compressor import artifact

FORMATS = {"fashion": "idx", "cifar": "cifar"}
"""Data sets, which recipes are named after, and the formats of their files."""

KEPT = round(100 * (60.8 - 58.9) / (61.1 - 58.9), 1)
"""Table 1: 58.9 % for one network, 61.1 for ten, 60.8 for one that was distilled from them."""


def main() -> None:
    """Train what is not there yet and write the result file."""
    parser = runs.options(__doc__)
    parser.add_argument("--on", choices=sorted(FORMATS), default="fashion", help="the data set, and the network for it")
    parser.add_argument("--data", required=True, help="folder of the data set's files")
    parser.add_argument("--members", type=int, default=10, help="of the ensemble")
    parser.add_argument("--epochs", type=int, default=10, help="of every network")
    given = parser.parse_args()
    runs.work_in(given.runs)
    source = f"data.source={runs.beginning(f'{FORMATS[given.on]}:{given.data}', given.samples, given.runs)}"
    singles = []
    for number in range(given.members):
        seed = given.seeds + number  # another beginning than any student's
        words = [source, f"seed={seed}", f"train.epochs={given.epochs}"]
        singles.append(made(f"{given.on}_single", given.runs / f"single-{seed}", "train", words))
        print(f"single {number}: {percent(singles[-1]):.2f} %", flush=True)
    first, *others = (str(single.path) for single in singles)
    members = ", ".join(f'{{model="{each}"}}' for each in others)
    students = []
    for seed in range(given.seeds):
        words = [source, f"seed={seed}", f"distill.epochs={given.epochs}"]
        words += [f"teacher.model={first}", f"teacher.members=[{members}]"]
        students.append(made(f"{given.on}_ensemble", given.runs / f"distilled-{seed}", "distill", words))
        print(f"distilled {seed}: {percent(students[-1]):.2f} %", flush=True)
    whole = artifact.read(given.runs / "distilled-0" / "teacher")
    found = {
        "on": given.on,
        "epochs": given.epochs,
        "samples": given.samples,
        "accuracy": {
            "single": spread([percent(single) for single in singles]),
            "ensemble": percent(whole),
            "distilled": spread([percent(student) for student in students]),
        },
        "cross_entropy": {
            "single": spread([metric(single, "loss") for single in singles]),
            "ensemble": metric(whole, "loss"),
            "distilled": spread([metric(student, "loss") for student in students]),
        },
    }
    name = "hinton_ensemble" if given.on == "fashion" else f"hinton_ensemble_{given.on}"
    print(result.write(name, claims(found), samples=found, folder=given.results))


def claims(found: Mapping[str, Any]) -> list[Claim]:
    """That ten answer better than one, and that most of it goes into one network."""
    accuracy = found["accuracy"]
    single, distilled = accuracy["single"], accuracy["distilled"]["mean"]
    gained = accuracy["ensemble"] - single["mean"]
    better = distilled - single["mean"]
    return [
        Claim(f"points that {len(single['values'])} networks gain over one", 0.0, gained, "points"),
        Claim("points that one network distilled from them gains over one trained alone", 0.0, better, "points"),
        Claim("share of the ensemble's gain in accuracy that one distilled network keeps", KEPT, _kept(accuracy), "%"),
        Claim("share of its gain in cross-entropy that it keeps", KEPT, _kept(found["cross_entropy"], sign=-1), "%"),
    ]


def _kept(values: Mapping[str, Any], *, sign: int = 1) -> float | None:
    """Share of the ensemble's gain that the distilled network has; None where there is no gain.

    Args:
        values: Of one network, of the ensemble and of the distilled network.
        sign: -1 where less is better.
    """
    single = values["single"]["mean"]
    gained = sign * (values["ensemble"] - single)
    return 100 * sign * (values["distilled"]["mean"] - single) / gained if gained > 0 else None


if __name__ == "__main__":
    main()
