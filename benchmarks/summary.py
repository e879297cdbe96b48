"""Print every claim of every benchmark with its newest value: `python -m benchmarks.summary [--json]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def newest(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The newest result of each benchmark, by name."""
    by_name: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        known = by_name.get(result["benchmark"])
        if known is None or result["date"] > known["date"]:
            by_name[result["benchmark"]] = result | {"file": file.name}
    return [by_name[name] for name in sorted(by_name)]


def rows(results: list[dict[str, Any]]) -> list[list[str]]:
    """One row for each claim: benchmark, claim, goal, value, whether it holds, date."""
    return [
        [
            result["benchmark"],
            claim["claim"],
            f"{'≥' if claim['better'] == 'at least' else '≤'} {claim['goal']:g} {claim['unit']}",
            "not measured" if claim["value"] is None else f"{claim['value']:.4g} {claim['unit']}",
            "yes" if claim["holds"] else "NO",
            result["date"][:10],
        ]
        for result in results
        for claim in result["claims"]
    ]


def main(arguments: list[str]) -> None:
    """Print the claims as a table or as JSON."""
    from compressor import console

    found = newest()
    if "--json" in arguments:
        console.as_json([{"benchmark": r["benchmark"], "date": r["date"], "claims": r["claims"]} for r in found])
        return
    console.table(["benchmark", "claim", "goal", "value", "holds", "date"], rows(found))


if __name__ == "__main__":
    main(sys.argv[1:])
