"""Every loss on one pair with one budget, beside the control: what does each give on real data?

    python -m benchmarks.losses --data data/cifar-10-batches-py --teacher data/resnet20-12fca82f.th

CIFAR-10, a public ResNet-20 teaches a ResNet-8, the first 10 000 training samples, ten epochs, one seed, the last epoch,
judged on the whole test set. Each loss has its defaults; one on features has the labels beside it and no other loss, so that
its own worth shows. Differences to the control are judged on the same samples by McNemar's test. With so few samples and
epochs this ranks nothing: it shows which losses work at all.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import result
from benchmarks.result import Claim
from benchmarks.views import subset
from compressor import api, registry
from compressor.artifact import Artifact
from compressor.data.open import open_dataset
from compressor.measure.accuracy import predict
from compressor.measure.statistics import paired_difference
from compressor.models import checkpoint
from compressor.recipe import DataSettings
from compressor.runtimes.torch import TorchEager
from compressor.tasks.classification import Classification


def main() -> None:
    """Train with each loss and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the CIFAR-10 batches")
    parser.add_argument("--teacher", required=True, help="ResNet-20 checkpoint")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--losses", default="", help="comma between; by default every member of the family")
    parser.add_argument("--results", type=Path, default=result.RESULTS, help="folder of the result file")
    given = parser.parse_args()
    names = [each.strip() for each in given.losses.split(",") if each.strip()]
    names = names or [member.name for member in registry.members("losses") if member.name != "hard"]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="compress-losses-") as folder:
        os.environ["COMPRESS_CACHE"] = str(Path(folder) / "caches")
        data = subset(Path(folder), given.data, given.samples)
        right: dict[str, np.ndarray[Any, Any]] = {}
        for name in ("hard", *names):
            began = time.monotonic()
            made = _distilled(name, given, data=data, runs=Path(folder))
            right[name] = _right(made, data)
            found[name] = {
                "accuracy": 100 * float(right[name].mean()),
                "seconds": time.monotonic() - began,
                "against_control": vars(paired_difference(right["hard"], right[name])),
                "features": [d.reason for d in made.manifest.decisions if d.what.startswith("features of")],
            }
            print(_line(name, found[name]), flush=True)
    samples = {"epochs": given.epochs, "samples": given.samples, "seed": given.seed, "losses": found}
    print(result.write("losses_resnet8", claims(found), samples=samples, folder=given.results))


def claims(found: Mapping[str, Mapping[str, Any]]) -> list[Claim]:
    """That each loss beats the same student trained from the labels alone."""
    control = found["hard"]["accuracy"]
    return [
        Claim(f"{name}: points above the control", 0.0, each["accuracy"] - control, "points")
        for name, each in found.items()
        if name != "hard"
    ]


def _distilled(name: str, given: argparse.Namespace, *, data: str, runs: Path) -> Artifact:
    reads_features = any(option.name == "pairs" for option in registry.find("losses", name).options)
    return api.distill(
        given.teacher,
        "zoo:resnet8",
        data=data,
        teacher_arch="zoo:resnet20",
        loss=[{"name": name}, {"name": "hard"}] if reads_features else [{"name": name}],
        name=f"loss-{name}",
        runs=runs,
        seed=given.seed,
        options={"epochs": given.epochs, "optimizer": "sgd", "compile": False},
        assignments=["data.val_share=0.0", "teacher.normalise=imagenet"],
    )


def _right(made: Artifact, data: str) -> np.ndarray[Any, Any]:
    """Whether each test sample is answered rightly."""
    test = open_dataset(DataSettings(source=data, val_share=0.0)).test
    runtime = TorchEager.from_network(checkpoint.load(made).network.eval())
    return Classification().correct(predict(runtime, test), test.labels)


def _line(name: str, found: Mapping[str, Any]) -> str:
    paired = found["against_control"]
    change = f"{100 * paired['difference']:+.2f} ({100 * paired['low']:+.2f} to {100 * paired['high']:+.2f})"
    return f"{name:<24}{found['accuracy']:7.2f} %  {change}  p {paired['p_value']:.4f}  {found['seconds']:.0f} s"


if __name__ == "__main__":
    main()
