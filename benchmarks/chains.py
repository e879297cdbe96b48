"""The whole chain on a real data set, from the recipe of its name in benchmarks/recipes/, and what came of it.

python -m benchmarks.chains cifar10 --data data/cifar-10-batches-py --teacher data/resnet56-4bfd9763.th
python -m benchmarks.chains fashion --data data/fashion-mnist
python -m benchmarks.chains flowers --data data/flowers
python -m benchmarks.chains cifar10 --run runs/cifar10    # measure again what has been trained
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import result
from benchmarks.result import Claim
from compressor import api, artifact

RECIPES = Path(__file__).parent / "recipes"
GOALS = {  # the least speed-up of the student over its teacher on the edge profile
    "cifar10": 2.5,
    "fashion": 2.0,
    "flowers": 2.0,
}


def main() -> None:
    """Run one chain and write its result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chain", choices=sorted(GOALS))
    parser.add_argument("--data", help="folder of the data set")
    parser.add_argument("--teacher", help="the teacher's checkpoint (cifar10)")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--run", type=Path, help="a run that has been trained: measure it again, train nothing")
    given = parser.parse_args()
    if given.run is not None:
        measured = api.bench(given.run)
        exported = artifact.read(given.run / "export")
    elif given.data is not None:
        measured, exported = _run(given)
    else:
        parser.error("give --data, or --run")
    results, parity = api.measurements_of(measured), exported.manifest.details["parity"]
    trained = {
        role: {"elapsed_s": made.manifest.elapsed_s, "curve": made.manifest.details["curve"]}
        for role in ("teacher", "control", "student")
        if (made := measured.parent(role)) is not None and "curve" in made.manifest.details
    }
    samples = {"measurements": results, "parity": parity, "training": trained}
    print(result.write(f"chain_{given.chain}", claims(given.chain, results, parity), samples=samples))


def _run(given: argparse.Namespace) -> tuple[artifact.Artifact, artifact.Artifact]:
    formats = {"cifar10": "cifar", "fashion": "idx", "flowers": "images"}
    assignments = [f"runs={given.runs}", f"data.source={formats[given.chain]}:{given.data}"]
    if given.teacher:
        assignments.append(f"teacher.model={given.teacher}")
    finished = api.run(RECIPES / f"{given.chain}.toml", assignments=assignments)
    assert finished.measurements is not None
    return finished.measurements, finished.onnx["student"]


def claims(chain: str, measured: dict[str, Any], parity: dict[str, Any]) -> list[Claim]:
    """What a chain sets out to show."""
    accuracy = {
        role: 100 * _deployed(measured, role)["metrics"]["accuracy"] for role in ("teacher", "control", "student")
    }
    edge = next(
        t for t in measured["timings"] if (t["role"], t["runtime"], t["profile"]) == ("student", "ort_cpu", "edge")
    )
    sizes = {entry["role"]: entry["size_bytes"]["onnx"] for entry in measured["candidates"]}
    return [
        Claim(
            "the distilled student is better than its control", 0.0, accuracy["student"] - accuracy["control"], "points"
        ),
        Claim(
            "the student loses few points to its teacher",
            2.0,
            accuracy["teacher"] - accuracy["student"],
            "points",
            "at most",
        ),
        Claim(
            "the student is faster on edge (ONNX Runtime, 1 thread, batch 1; low end of the interval)",
            GOALS[chain],
            edge["speedup"]["low"],
            "×",
        ),
        Claim("the student's file is smaller", 2.0, sizes["teacher"] / sizes["student"], "×"),
        Claim("ONNX answers as PyTorch does (share of equal top-1)", 1.0, parity["agreement"], "share"),
    ]


def _deployed(measured: dict[str, Any], role: str) -> dict[str, Any]:
    entry = next(each for each in measured["candidates"] if each["role"] == role)
    found: dict[str, Any] = next(each for each in entry["accuracy"] if each["runtime"] == "ort_cpu")
    return found


if __name__ == "__main__":
    main()
