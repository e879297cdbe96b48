"""Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), section 5: specialists for what a generalist confuses, made one.

    python -m benchmarks.papers.specialists --data data/fashion-mnist --runs runs/specialists

The paper has 15 000 classes and 61 specialists; here a LeNet-5 knows Fashion-MNIST's ten, and three specialists begin with
its weights. A LeNet-5 is distilled from all of them as one, which the paper leaves for later; its control is trained alone
for as many epochs as the generalist and a specialist together. Every seed has its own generalist. The run of the first
seed goes on to the ONNX file and the report. Started again it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import result
from benchmarks.papers import runs
from benchmarks.papers.runs import made, percent, spread
from benchmarks.result import Claim
from compressor import artifact

KINDS = {"generalist": "train", "together": "teacher", "control": "control", "distilled": "distill"}
"""What a run leaves, and the folder of it."""
RELATIVE, ERRORS = round(100 * (26.1 / 25.0 - 1), 1), round(100 * (26.1 - 25.0) / (100 - 25.0), 1)
"""Table 3: 25.0 % for the generalist, 26.1 with 61 specialists."""


def main() -> None:
    """Train what is not there yet and write the result file."""
    parser = runs.options(__doc__)
    parser.add_argument("--data", required=True, help="folder of Fashion-MNIST's four idx files")
    parser.add_argument("--specialists", type=int, default=3)
    parser.add_argument(
        "--epochs", type=int, default=3, help="of generalist and specialists; the student has twice as many"
    )
    given = parser.parse_args()
    runs.work_in(given.runs)
    source = f"data.source={runs.beginning(f'idx:{given.data}', given.samples, given.runs)}"
    accuracy: dict[str, list[float]] = {kind: [] for kind in KINDS}
    clusters = []
    for seed in range(given.seeds):
        words = [source, f"seed={seed}", f"train.epochs={given.epochs}", f"specialists.epochs={given.epochs}"]
        words += [f"specialists.count={given.specialists}", f"distill.epochs={2 * given.epochs}"]
        words += ['stages=["train", "distill"]'] if seed else []
        run = given.runs / f"seed-{seed}"
        made("specialists", run, "distill", words)
        for kind, link in KINDS.items():
            accuracy[kind].append(percent(artifact.read(run / link)))
        clusters.append(artifact.read(run / "clusters").manifest.details["clusters"])
        told = ", ".join(f"{kind} {values[-1]:.2f}" for kind, values in accuracy.items())
        print(f"seed {seed}: {told}; {clusters[-1]}", flush=True)
    first, taught = given.runs / "seed-0", f"specialists of {given.specialists + 1}"
    found = {
        "epochs": given.epochs,
        "samples": given.samples,
        "accuracy": {kind: spread(values) for kind, values in accuracy.items()},
        "clusters": clusters,
        "agreement": runs.agreement(first),
        "taught": taught,
        "report_names": taught in runs.report_of(first),
    }
    print(result.write("hinton_specialists", claims(found), samples=found, folder=given.results))


def claims(found: Mapping[str, Any]) -> list[Claim]:
    """That specialists help the generalist, beyond longer training, and that one network can be taught by all."""
    generalist, together, control, distilled = (found["accuracy"][kind]["mean"] for kind in KINDS)
    relative, errors = 100 * (together / generalist - 1), 100 * (together - generalist) / (100 - generalist)
    return [
        Claim("relative gain in accuracy of generalist and specialists over the generalist", RELATIVE, relative, "%"),
        Claim("share of the generalist's errors that its specialists mend", ERRORS, errors, "%"),
        Claim("points of them over one network trained for as many epochs as both", 0.0, together - control, "points"),
        Claim("points of one network distilled from them over the generalist", 0.0, distilled - generalist, "points"),
        Claim("points of it over its control", 0.0, distilled - control, "points"),
        Claim("the exported student answers as PyTorch does (share of equal top-1)", 0.999, found["agreement"], "share"),
        Claim(f"the report names who taught: {found['taught']}", 1.0, float(found["report_names"]), "yes"),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
