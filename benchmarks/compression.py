"""Pruning and quantization on real networks, link by link: accuracy, measured time and size, and whether it all reloads.

python -m benchmarks.compression links --data data/cifar-10-batches-py --teacher data/resnet56-4bfd9763.th --student data/resnet20-12fca82f.th
python -m benchmarks.compression half --data data/cifar-10-batches-py --teacher data/resnet56-4bfd9763.th

`links`: ResNet-56 teaches ResNet-20, which is pruned by measured time and quantized. `half`: ResNet-56 itself at half
of its multiply-adds. ONNX Runtime on the CPU, one thread, batch 1, all models in turns; the teacher's float ONNX is the base.
"""  # noqa: E501 - a command is one line

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

from benchmarks import reload, result
from benchmarks.result import Claim
from compressor import api

RECIPES = Path(__file__).parent / "recipes"
NAMES = {"links": "cifar10_links", "half": "resnet56_half"}


def main() -> None:
    """Run one chain and write its result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chain", choices=sorted(NAMES))
    parser.add_argument("--data", required=True, help="folder of the CIFAR-10 batches")
    parser.add_argument("--teacher", required=True, help="the ResNet-56 checkpoint")
    parser.add_argument("--student", help="the ResNet-20 checkpoint (links)")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--called", help="what the result file's name ends with; by default the recipe's name")
    parser.add_argument("--set", action="append", default=[], dest="assignments", metavar="A.B=VALUE")
    given = parser.parse_args()
    assignments = [f"runs={given.runs}", f"data.source=cifar:{given.data}", f"teacher.model={given.teacher}"]
    if given.chain == "links":
        if given.student is None:
            parser.error("links needs --student")
        assignments.append(f"student.model={given.student}")
    finished = api.run(RECIPES / f"{NAMES[given.chain]}.toml", assignments=[*assignments, *given.assignments])
    assert finished.measurements is not None
    measured = api.measurements_of(finished.measurements)
    reloaded = reload.check([finished.folder])
    links = {
        role: {"details": dict(made.manifest.details), "elapsed_s": made.manifest.elapsed_s}
        for role, made in (*finished.artifacts.items(), *((f"{r}-onnx", m) for r, m in finished.onnx.items()))
        if made.manifest.stage in ("distill", "prune", "quantize")
    }
    claims = {"links": links_claims, "half": half_claims}[given.chain](measured)
    claims.append(Claim("artifacts whose outputs a fresh process gives again", 1.0, _share(reloaded), "share"))
    samples = {"measurements": measured, "links": links, "reloaded": reloaded}
    print(result.write(f"chain_{given.called or NAMES[given.chain]}", claims, samples=samples))


def links_claims(measured: dict[str, Any]) -> list[Claim]:
    """What the whole chain sets out to show, and what each link adds."""
    rows = rows_of(measured)
    teacher, student = rows["teacher"], rows["student"]
    drop = teacher["accuracy"] - student["accuracy"]
    found = [
        Claim("the shipped student is faster than its teacher (lower bound)", 10.0, student["speedup"]["low"], "×"),
        Claim("its file is smaller", 12.0, teacher["size"] / student["size"], "×"),
        Claim("it loses few points to its teacher", 1.0, drop, "points", "at most"),
    ]
    chain = [role for role in rows if role != "control"]
    for before, after in itertools.pairwise(chain):
        ratio = rows[before]["p50_ms"] / rows[after]["p50_ms"]
        found.append(Claim(f"{after} is faster than {before} (ratio of p50)", 1.0, ratio, "×"))
        change = rows[after]["accuracy"] - rows[before]["accuracy"]
        found.append(Claim(f"{after} answers as well as {before}", -0.5, change, "points"))
    return found


def half_claims(measured: dict[str, Any]) -> list[Claim]:
    """What half of the multiply-adds is to be worth."""
    rows = rows_of(measured)
    teacher, student = rows["teacher"], rows["student"]
    return [
        Claim("ResNet-56 at half of its multiply-adds still answers right", 93.0, student["accuracy"], "%"),
        Claim(
            "multiply-adds of the whole network over those of the pruned one",
            2.0,
            teacher["macs"] / student["macs"],
            "×",
        ),
        Claim("measured speed-up (lower bound)", 1.5, student["speedup"]["low"], "×"),
    ]


def rows_of(measured: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each candidate on ONNX Runtime under the edge profile: accuracy in percent, p50, speed-up, bytes, MACs."""
    timed = {t["role"]: t for t in measured["timings"] if (t["runtime"], t["profile"]) == ("ort_cpu", "edge")}
    found = {}
    for entry in measured["candidates"]:
        role = entry["role"]
        judged = next((each for each in entry["accuracy"] if each["runtime"] == "ort_cpu"), None)
        if role not in timed or judged is None:
            continue
        found[role] = {
            "accuracy": 100 * judged["metrics"]["accuracy"],
            "p50_ms": timed[role]["p50_ms"],
            "speedup": timed[role]["speedup"],
            "size": entry["size_bytes"]["onnx"],
            "macs": entry["macs"],
        }
    return found


def _share(reloaded: dict[str, bool]) -> float:
    return sum(reloaded.values()) / len(reloaded)


if __name__ == "__main__":
    main()
