"""Memory of judging a model: flat in the number of samples, whatever a sample's outputs take.

    python -m benchmarks.scores                          # 1 000 and 100 000 samples of 1 000 outputs each
    python -m benchmarks.scores --beside /path/to/old    # the same by the code of another checkout, beside it

Samples are made as they are asked for and the model is a product with a fixed table, so that what grows is what judging
keeps. Peak memory is that of the whole process (VmHWM), less what it had before the first sample was judged.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.result import Claim, write

_COUNTS = (1_000, 100_000)
_PROGRAM = """
import json, sys
import numpy as np
from compressor.measure import accuracy, memory
from compressor.tasks.classification import Classification

count, features, classes = int(sys.argv[1]), 16, 1000
table = np.random.default_rng(0).normal(size=(features, classes)).astype(np.float32)

class Made:
    def __len__(self):
        return count
    def fetch(self, positions):
        rows = np.random.default_rng(int(positions[0])).normal(size=(len(positions), features))
        return {"features": rows.astype(np.float32)}
    def fetch_targets(self, positions):
        return {"label": positions % classes}

task, samples = Classification(), Made()
before = memory.peak_mb()
if hasattr(accuracy, "judge"):
    found = accuracy.evaluate(task, accuracy.judge(task, lambda inputs: {"logits": inputs["features"] @ table}, samples),
                              classes=[str(k) for k in range(classes)])
else:
    outputs = accuracy.predict(lambda rows: rows @ table, samples)
    found = accuracy.evaluate(task, outputs, np.arange(count) % classes, classes=[str(k) for k in range(classes)])
print(json.dumps({"count": count, "mb": memory.peak_mb() - before, "accuracy": found["metrics"]["accuracy"],
                  "loss": found["metrics"]["loss"]}))
"""


def main() -> None:
    """Judge both sets, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="a checkout whose code does the same")
    given = parser.parse_args()
    ours = [_measured(count, Path(__file__).parents[1]) for count in _COUNTS]
    theirs = [_measured(count, given.beside) for count in _COUNTS] if given.beside else []
    small, large = (each["mb"] for each in ours)
    what = "memory of judging 100 000 samples of 1 000 outputs"
    claims = [
        Claim(f"{what}, beyond that of 1 000 samples", 64.0, large - small, "MB", "at most"),
        Claim(f"{what}, which take 400 MB themselves", 100.0, large, "MB", "at most"),
    ]
    if theirs:
        told = [[(each["accuracy"], each["loss"]) for each in side] for side in (ours, theirs)]
        same = float(told[0] == told[1])
        claims.append(Claim("accuracy and loss are those of the code beside it, bit for bit", 1.0, same, ""))
    for each in (*ours, *theirs):
        print(each)
    print(write("campaign_scores_memory", claims, samples={"ours": ours, "beside": theirs}))


def _measured(count: int, checkout: Path) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _PROGRAM, str(count)]
    done = subprocess.run(command, env=environment, cwd=checkout, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().split("\n")[-1])
    return found


if __name__ == "__main__":
    main()
