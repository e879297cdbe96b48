"""`compress distill`, or with --alone the same student with no teacher, through the public Python API.

python -m benchmarks.peers.ours --data D --teacher T --student resnet8 --epochs 2 --runs runs --out ours.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.peers import contender


def main() -> None:
    """Distil, or train alone, once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", default="resnet20")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="no teacher")
    parser.add_argument("--views", help="views of each sample; by default what auto picks")
    parser.add_argument("--temperature", type=float, default=contender.TEMPERATURE)
    parser.add_argument("--compile", choices=("auto", "true", "false"), default="auto")
    parser.add_argument("--runs", required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    from compressor import api

    options = {
        "epochs": given.epochs,
        "batch_size": contender.BATCH_SIZE,
        "optimizer": "sgd",
        "lr": contender.LR,
        "compile": {"auto": "auto", "true": True, "false": False}[given.compile],
    }
    shared: dict[str, Any] = {
        "data": f"cifar:{given.data}",
        "name": given.out.stem,
        "runs": given.runs,
        "seed": given.seed,
        "options": options,
    }
    views = [] if given.views is None else [f"data.views.count={given.views}"]
    if given.alone:
        made = api.train(f"zoo:{given.student}", assignments=views, **shared)
    else:
        made = api.distill(
            given.teacher,
            f"zoo:{given.student}",
            teacher_arch="zoo:resnet56",
            loss={"name": "kd", "temperature": given.temperature, "alpha": contender.ALPHA},
            assignments=[*views, "teacher.normalise=imagenet"],  # the peers are told as well
            **shared,
        )
    manifest = made.manifest
    found = {
        "contender": "ours, no teacher" if given.alone else "ours",
        "student": given.student,
        "seed": given.seed,
        "epochs": given.epochs,
        "temperature": None if given.alone else given.temperature,
        "views": manifest.settings["data"]["views"]["count"],
        "images_per_s": [entry["images_per_s"] for entry in manifest.details["curve"]],
        "ms_per_step": [entry.get("ms_per_step") for entry in manifest.details["curve"]],
        "asked": manifest.details["teacher"]["asked"],
        "trained_s": manifest.elapsed_s,
        "wall_s": contender.elapsed_s(),
        "test_accuracy": 100 * manifest.metrics["test"]["metrics"]["accuracy"],
        "decisions": [[each.what, each.choice, each.reason] for each in manifest.decisions],
    }
    given.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
