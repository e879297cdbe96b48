"""int8 side by side on the same float ONNX file and the same calibration pictures: ONNX Runtime's own tools, NNCF, ours.

    python -m benchmarks.peers.int8 --data data/cifar-10-batches-py --resnet data/resnet20-12fca82f.th --keep runs/int8
    python -m benchmarks.peers.int8 --data D --resnet T --models resnet --results DIR    # a try, nothing to train

Three networks on CIFAR-10: a ResNet-20 (a public checkpoint), and a MobileNetV2 of half width and a small ViT that are
trained here for a few epochs; with `--keep` they are trained once. Five contenders each: ONNX Runtime with its defaults and
with what its documentation advises, NNCF, and ours with every layer quantized and with layers chosen, as `compress quantize`
does by default. The peers get the very pictures of the training set that ours calibrates with. Ours alone also looks at the
validation set, and times layers; nobody sees the test set before it judges.

Judged by ONNX Runtime: accuracy on the whole test set; time of one picture on one thread, all files in turns. The best peer
is the one that turns out best on the test set, which favours the peers.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import result
from benchmarks.peers import int8_files
from benchmarks.result import Claim
from compressor import api
from compressor.artifact import Artifact
from compressor.data.open import open_dataset
from compressor.recipe import DataSettings

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
    parser.add_argument(
        "--epochs", type=int, help="train so many; by default enough for the accuracy to mean something"
    )
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
            print(table(model, samples), file=sys.stderr, flush=True)
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


def compare(model: str, network: Artifact, given: argparse.Namespace) -> dict[str, Any]:
    """Quantize one network in every way, and measure the files beside the float one.

    Returns:
        `test_samples` and `calibration`: how many pictures. `load_average`: of the machine, when timing began. `reports`:
        how each contender's file came about. `files`: what `int8_files.measure` gives for `float` and for each contender
        whose file ONNX Runtime takes.
    """
    dataset = open_dataset(DataSettings(source=f"cifar:{given.data}"))
    with tempfile.TemporaryDirectory(prefix="compress-int8-files-") as scratch:
        folder = Path(scratch)
        float_file, pictures = network.file("model.onnx"), folder / "pictures.npy"
        chosen = int8_files.calibration_pictures(
            float_file, dataset, number=given.calibration, seed=network.manifest.seed
        )
        np.save(pictures, chosen)
        files: dict[str, Path] = {"float": float_file}
        reports: dict[str, dict[str, Any]] = {}
        for name in (*PEERS, *OURS):
            print(f"{model}: {name}", file=sys.stderr, flush=True)
            file, began = folder / f"{name}.onnx", time.perf_counter()
            if name in OURS:
                report = int8_files.by_us(network, file, mixed=OURS[name], calibration=given.calibration)
            else:
                report = int8_files.by_peer(name, float_file, pictures, file, transformer=model == "vit")
            reports[name] = report | {"elapsed_s": time.perf_counter() - began}
            if report.get("fault") is None:
                files[name] = file
        return {
            "test_samples": len(dataset.test),
            "calibration": len(chosen),
            "reports": reports,
            "load_average": list(os.getloadavg()),
            "files": int8_files.measure(files, dataset, seconds=given.seconds, folder=folder),
        }


def claims(model: str, samples: Mapping[str, Any]) -> list[Claim]:
    """What int8 sets out to show for one network: it costs no time, and no more accuracy than the best peer costs.

    Where ours leaves the model in float there is nothing to gain, so that it is enough if the interval does not lie below 1.
    """
    files, in_float = samples["files"], samples["reports"]["ours"]["result"] == "float"
    speedup = files["ours"]["speedup"]
    if in_float:
        fast = Claim(f"{model}: ours stays in float, and is not slower (upper bound)", 1.0, speedup["high"], "×")
    else:
        fast = Claim(f"{model}: ours is faster than float (lower bound)", 1.0, speedup["low"], "×")
    peer = best_peer(files)
    if peer is None:
        return [fast]
    value = lost_beyond(files[peer], files["ours"], count=samples["test_samples"])
    lost = f"{model}: pictures that ours loses beyond the best peer ({PEERS[peer]}), paired"
    return [fast, Claim(lost, 1.0, value, "standard errors", "at most")]


def best_peer(files: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The peer with the most accurate file on the test set; None where no peer has one that runs."""
    there = [name for name in PEERS if name in files]
    return max(there, key=lambda name: float(files[name]["accuracy"]), default=None)


def lost_beyond(peer: Mapping[str, Any], ours: Mapping[str, Any], *, count: int) -> float:
    """How far ours falls behind a peer on the same pictures, in standard errors of that difference; negative if it is ahead.

    Of the pictures that only one of both answers right, the peer has b and we have c: (b - c) / sqrt(b + c) (McNemar 1947,
    "Note on the sampling error of the difference between correlated proportions", without correction for continuity).
    """
    theirs_N, ours_N = right_answers(peer, count=count), right_answers(ours, count=count)
    only_theirs, only_ours = int((theirs_N & ~ours_N).sum()), int((ours_N & ~theirs_N).sum())
    return float((only_theirs - only_ours) / max(1, only_theirs + only_ours) ** 0.5)


def right_answers(measured: Mapping[str, Any], *, count: int) -> NDArray[np.bool_]:
    """Whether each test sample was answered right, `[N]`, from what `int8_files.measure` keeps of it."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(measured["right"]), np.uint8), count=count).astype(np.bool_)


def table(model: str, samples: Mapping[str, Any]) -> str:
    """The numbers of all contenders, a line each."""
    files: Mapping[str, Mapping[str, Any]] = samples["files"]
    columns = ("accuracy %", "drop", "as float %", "p50 ms", "speed-up", "interval", "kB")
    lines = [f"{model:12}" + "".join(f"{column:>12}" for column in columns)]
    for name, found in files.items():
        speedup = found["speedup"]
        cells = (
            f"{found['accuracy']:.2f}",
            f"{files['float']['accuracy'] - found['accuracy']:.2f}",
            f"{100 * found['agreement']:.2f}",
            f"{found['p50_ms']:.3f}",
            f"{speedup['ratio']:.2f}",
            f"{speedup['low']:.2f}-{speedup['high']:.2f}",
            f"{found['size_bytes'] / 1000:.0f}",
        )
        lines.append(f"{name:12}" + "".join(f"{cell:>12}" for cell in cells))
    reports: Mapping[str, Mapping[str, Any]] = samples["reports"]
    return "\n".join([*lines, *(f"{name:12}{each['fault']}" for name, each in reports.items() if each.get("fault"))])


if __name__ == "__main__":
    main()
