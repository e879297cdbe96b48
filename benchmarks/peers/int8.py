"""int8 side by side on the same float ONNX file and the same calibration pictures: ONNX Runtime's own tools, NNCF, ours.

    python -m benchmarks.peers.int8 --data data/cifar-10-batches-py --resnet data/resnet20-12fca82f.th --keep runs/int8
    python -m benchmarks.peers.int8 --data D --resnet T --models resnet --results /tmp/try    # a try, nothing to train

Three networks on CIFAR-10: a ResNet-20 (a public checkpoint), and a MobileNetV2 of half width and a small ViT that are trained
here for a few epochs; with `--keep` they are trained once. Five contenders each: ONNX Runtime with its defaults and with what
its documentation advises, NNCF, and ours with every layer quantized and with layers chosen, as `compress quantize` does by
default. The peers get the very pictures of the training set that ours calibrates with. Ours alone also looks at the
validation set, and times layers; nobody sees the test set before it judges.

Judged by ONNX Runtime: accuracy on the whole test set; time of one picture on one thread, all files in turns.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import result
from benchmarks.result import Claim
from compressor import api
from compressor.artifact import Artifact
from compressor.data.open import open_dataset
from compressor.data.samples import Dataset
from compressor.measure.accuracy import predict
from compressor.measure.contest import time_models
from compressor.measure.statistics import paired_speedup, summarise
from compressor.quantizers._calibration import TrainingSamples
from compressor.recipe import DEFAULT_PROFILES, DataSettings
from compressor.runtimes.ort_cpu import OrtCpu

MODELS = ("resnet", "mobilenet", "vit")
PEERS = {
    "ort": "ONNX Runtime's defaults",
    "ort_advised": "ONNX Runtime as its documentation advises",
    "nncf": "NNCF",
}
OURS = {"ours_all": False, "ours": True}
"""Ours by name, and whether layers are chosen (`quantize.mixed`)."""

TRAINED: Mapping[str, dict[str, Any]] = {
    "mobilenet": {
        "model": "zoo:mobilenet_v2",
        "assignments": ("teacher.options.width=0.5",),
        "options": {"epochs": 4, "optimizer": "sgd"},
    },
    "vit": {
        "model": "timm:vit_tiny_patch16_224",
        "assignments": tuple(
            f"teacher.options.{name}={value}"
            for name, value in {"img_size": 32, "patch_size": 4, "embed_dim": 96, "depth": 6, "num_heads": 3}.items()
        ),
        "options": {"epochs": 6, "optimizer": "adamw"},
    },
}


def main() -> None:
    """Train what is to be trained, quantize, measure, and write a result file for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the CIFAR-10 batches")
    parser.add_argument("--resnet", help="the ResNet-20 checkpoint")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--epochs", type=int, help="train so many; by default enough for the accuracy to mean something")
    parser.add_argument("--calibration", type=int, default=512, help="pictures of the training set")
    parser.add_argument("--seconds", type=float, default=5.0, help="that each file is timed")
    parser.add_argument("--keep", type=Path, help="keep networks and files here; what is trained is not trained again")
    parser.add_argument("--results", type=Path, default=result.RESULTS, help="folder of the result files")
    given = parser.parse_args()
    models = given.models.split(",")
    if "resnet" in models and given.resnet is None:
        parser.error("the ResNet needs --resnet")
    with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory(prefix="compress-int8-") as folder:
        for model in models:
            network = network_of(model, given, Path(folder))
            samples = compare(model, network, given)
            print(result.write(f"int8_{model}", claims(model, samples), samples=samples, folder=given.results))


def network_of(model: str, given: argparse.Namespace, folder: Path) -> Artifact:
    """The float ONNX artifact of one network, trained first where it has to be."""
    data, runs = f"cifar:{given.data}", str(folder)
    if model == "resnet":
        return api.export(
            given.resnet, arch="zoo:resnet20", data=data, runs=runs, assignments=["teacher.normalise=imagenet"]
        )
    asked = TRAINED[model]
    options = asked["options"] | ({"epochs": given.epochs} if given.epochs else {})
    trained = api.train(
        asked["model"], assignments=asked["assignments"], options=options, data=data, name=model, runs=runs
    )
    return api.export(trained.path)
