"""Whether `precision = auto` chooses right on this machine: a training step in float32 and in bfloat16, network by network.

    python -m benchmarks.precision
    python -m benchmarks.precision --networks resnet20,convnext --rounds 1 --results DIR    # a try

Forward pass, cross-entropy, backward pass and SGD step on random pictures, in PyTorch as it comes (not compiled), both
precisions in turns on one copy of the network. What `auto` would choose is asked of the package itself. Where it chooses
bfloat16 that must be faster; where it stays with float32 for the network's sake, bfloat16 must not be faster by much.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import result
from benchmarks.result import Claim
from compressor.models import load
from compressor.recipe import TrainingSettings
from compressor.training import precision

NETWORKS: Mapping[str, tuple[str, int, int]] = {
    "resnet8": ("zoo:resnet8", 32, 128),
    "resnet20": ("zoo:resnet20", 32, 128),
    "resnet18": ("timm:resnet18", 128, 32),
    "regnety_004": ("timm:regnety_004", 128, 32),
    "densenet121": ("timm:densenet121", 64, 32),
    "deit_tiny": ("timm:deit_tiny_patch16_224", 224, 16),
    "mobilenetv2": ("timm:mobilenetv2_100", 128, 32),
    "mobilenetv3_small": ("timm:mobilenetv3_small_100", 128, 32),
    "efficientnet_b0": ("timm:efficientnet_b0", 128, 16),
    "convnext_atto": ("timm:convnext_atto", 64, 32),
}
"""By name: the model, the side of its pictures, and how many are in a batch."""

_STEPS = 2
_CLASSES = 10
_WORTH_HAVING = 1.1


def main() -> None:
    """Time every network in both precisions and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=7, help="of steps in both precisions, in turns")
    parser.add_argument("--results", type=Path, default=result.RESULTS, help="folder of the result file")
    given = parser.parse_args()
    samples = {}
    for name in given.networks.split(","):
        samples[name] = found = compare(name, rounds=given.rounds)
        ratio = found["speedup"]
        told = f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"
        print(f"{name:18} {told}  {found['auto']}: {found['why']}", file=sys.stderr, flush=True)
    print(result.write("training_precision", claims(samples), samples=samples, folder=given.results))


def compare(name: str, *, rounds: int) -> dict[str, Any]:
    """Train one network in both precisions, in turns.

    Returns:
        `auto` and `why`: what the package would choose. `images_per_s` of both (median of rounds), `speedup` of bfloat16
        over float32 in the same round (median, least and most), `load_average` when it began.
    """
    model, side, batch = NETWORKS[name]
    torch.manual_seed(0)
    loaded = load.load(model, num_classes=_CLASSES, sample_shape=(3, side, side))
    network = loaded.network.to(memory_format=torch.channels_last).train()
    chosen = precision.choose(TrainingSettings(device="cpu"), network, sample_shape=(3, side, side))
    (why,) = (each.reason for each in chosen.decisions if each.what == "precision")
    step = _Step(network, side=side, batch=batch)
    began = list(os.getloadavg())
    for wanted in (False, True):
        step(bf16=wanted)
    taken = np.array([[step(bf16=wanted) for wanted in (False, True)] for _ in range(rounds)])
    ratios = taken[:, 0] / taken[:, 1]
    rates = batch / np.median(taken, axis=0)
    return {
        "auto": chosen.precision,
        "why": why,
        "images_per_s": {"float32": float(rates[0]), "bfloat16": float(rates[1])},
        "speedup": {"median": float(np.median(ratios)), "low": float(ratios.min()), "high": float(ratios.max())},
        "load_average": began,
    }


class _Step:
    """Steps of training on the same random batch."""

    def __init__(self, network: nn.Module, *, side: int, batch: int) -> None:
        self._network = network
        self._inputs: Tensor = torch.rand(batch, 3, side, side).to(memory_format=torch.channels_last)
        self._labels: Tensor = torch.randint(0, _CLASSES, (batch,))
        self._optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def __call__(self, *, bf16: bool) -> float:
        """Seconds of one step."""
        began = time.perf_counter()
        for _ in range(_STEPS):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = self._network(self._inputs)
            self._optimizer.zero_grad()
            functional.cross_entropy(logits.float(), self._labels).backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        return (time.perf_counter() - began) / _STEPS


def claims(samples: Mapping[str, Any]) -> list[Claim]:
    """That the choice is the faster one."""
    found = []
    for name, measured in samples.items():
        ratio = measured["speedup"]["median"]
        if measured["auto"] == "bf16-mixed":
            found.append(Claim(f"{name}: bfloat16, which auto takes, is faster", 1.0, ratio, "×"))
        else:
            found.append(
                Claim(f"{name}: bfloat16, which auto leaves, gains little", _WORTH_HAVING, ratio, "×", "at most")
            )
    return found


if __name__ == "__main__":
    main()
