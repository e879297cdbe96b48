"""Students of every kind of teacher as exported ONNX models, each with a report that says who taught.

    python -m benchmarks.papers.kinds --runs runs/methods

What `benchmarks.papers.methods` has trained with the first seed is exported behind the parity gate, measured beside its
teacher where there is one that runs, and written up. Kinds that were not trained there are left out, and said.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import result
from benchmarks.papers.runs import compress, network
from benchmarks.result import Claim
from compressor import recipe as recipes

KINDS = {
    "union": "union",
    "specialists": "specialists",
    "assistant": "network",
    "peers": "peers",
    "onnx": "onnx",
    "outputs": "outputs",
    "no labels": "network",
    "ensemble": "ensemble",
}
"""Method -> the kind of teacher that its report must name."""
QUICK = ("--set", "bench.min_seconds=0.5", "--set", "bench.profiles=['edge']", "--set", "bench.starts=2")


def main() -> None:
    """Export, measure and write up what is there, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="where benchmarks.papers.methods kept its runs")
    parser.add_argument("--results", type=Path, default=result.RESULTS, help="folder of the result file")
    given = parser.parse_args()
    found = {}
    for method in KINDS:
        run = given.runs / f"{recipes.safe_name(method)}-0"
        if network(run / "distill") is None:
            print(f"{method}: not trained there")
            continue
        found[method] = written_up(run)
        print(f"{method}: {found[method]}", flush=True)
    print(result.write("losses_kinds", claims(found), samples={"kinds": found}, folder=given.results))


def written_up(run: Path) -> dict[str, Any]:
    """What export, bench and report of a run say of its student and of who taught it."""
    compress("export", str(run / "distill"))
    compress("bench", str(run), *QUICK)
    compress("report", str(run))
    exported, report = network(run / "export"), network(run / "report")
    assert exported is not None
    assert report is not None
    content = json.loads((report.path / "report.json").read_text(encoding="utf-8"))
    return {
        "agreement": exported.manifest.details["parity"]["agreement"],
        "kind": content["taught"]["kind"],
        "links": [f"{link['stage']} {link['role']}" for link in content["links"]],
        "page_bytes": (report.path / "report.html").stat().st_size,
    }


def claims(found: Mapping[str, Mapping[str, Any]]) -> list[Claim]:
    """That each student's ONNX model answers as its network, and that the report says who taught it."""
    claimed = []
    for method, each in found.items():
        named = each["kind"] == KINDS[method] and (method != "assistant" or "distill assistant" in each["links"])
        claimed += [
            Claim(f"{method}: ONNX and PyTorch give the same class", 0.999, each["agreement"], "share of samples"),
            Claim(f"{method}: the report names who taught", 1, float(named), ""),
        ]
    return claimed


if __name__ == "__main__":
    main()
