"""Every family of networks that users bring: prune 30 %, export, int8, reload, with parity; or a clear refusal.

python -m benchmarks.families
python -m benchmarks.families --networks resnet18,vit_tiny_patch16_224
python -m benchmarks.families --untrained --networks torchvision:shufflenet_v2_x0_5,levit_128s,pit_ti_224

The networks are timm's, built for ten classes of 64 x 64 and trained for a moment on generated pictures (a coloured shape in
one of ten places), so that decisions mean something. Nothing is downloaded. Accuracy here is no measure of the networks.
With `--untrained` a network is only cut and exported as it was built, which tells in seconds whether it can be followed.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks import reload, result
from benchmarks.result import Claim
from compressor import api
from compressor.artifact import Artifact
from compressor.errors import CompressError
from compressor.models import inspection, load, onnx_file
from compressor.models.network import Network
from compressor.recipe import ExportSettings
from compressor.surgery import aim
from compressor.surgery.criteria.l1 import L1
from compressor.surgery.cut import Prunable

NETWORKS = (
    "resnet18",
    "resnet50",
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "efficientnet_b0",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "regnetx_002",
    "regnety_002",
    "densenet121",
)
_SIDE = 64
_CLASSES = 10
_SAMPLES = {"train": 512, "test": 200}
_KEPT = 0.7
_WANTS_224 = re.compile("levit|tiny_vit|pit|xcit|coat_|mixer|gmixer|pvt|convit|visformer|vit_b")


def main() -> None:
    """Take every network through the chain and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--untrained", action="store_true", help="cut and export alone; nothing is written")
    given = parser.parse_args()
    if given.untrained:
        for name in given.networks.split(","):
            print(f"{name:32} {untrained(name)}", flush=True)
        return
    with tempfile.TemporaryDirectory(prefix="compress-families-") as folder:
        data = _pictures(Path(folder))
        rows = {}
        for name in given.networks.split(","):
            started = time.perf_counter()
            rows[name] = chain(name, data=data, runs=Path(folder) / "runs", epochs=given.epochs)
            rows[name]["elapsed_s"] = time.perf_counter() - started
            print(_line(name, rows[name]), flush=True)
    print(result.write("chain_families", claims(rows), samples={"networks": rows}))


def chain(name: str, *, data: Path, runs: Path, epochs: int) -> dict[str, Any]:
    """Train, prune, export, quantize and reload one network; what each link gave, or the sentence it refused with."""
    row: dict[str, Any] = {}
    patches = {"vit": 8, "deit": 8}
    patch = patches.get(name.partition("_")[0])
    options = ["teacher.options.img_size=64", f"teacher.options.patch_size={patch}"] if patch else []
    training = {"epochs": epochs, "batch_size": 32, "lr": 1e-3, "compile": False}
    source = f"npz:{data}"
    try:
        trained = api.train(f"timm:{name}", data=source, name=name, runs=runs, options=training, assignments=options)
        row["trained"] = _accuracy(trained)
        cut = {"macs": _KEPT, "epochs": 1, "rounds": 1, "batch_size": 32, "compile": False}
        pruned = api.prune(trained.path, runs=runs, options=cut)
        surgery = pruned.manifest.details["pruning"]
        row["pruned"] = _accuracy(pruned)
        row["macs"], row["params"], row["spared"] = surgery["macs"], surgery["params"], len(surgery["spared"])
        row["met"] = surgery["met"]
        exported = api.export(pruned.path, runs=runs)
        row["export_parity"] = exported.manifest.details["parity"]["max_relative"]
        every = api.quantize(pruned.path, runs=runs, options={"mixed": False, "calibration": 64})
        row["int8"] = _accuracy(every)
        row["int8_parity"] = every.manifest.details["parity"]["agreement"]
        row["int8_result"] = every.manifest.details["result"]
        row["reloaded"] = all(reload.check([runs / name]).values())
    except CompressError as refusal:
        row["refused"] = str(refusal)
    return row


def untrained(name: str) -> str:
    """Cut a network by 30 % of its multiply-adds as it was built, and compare it with its ONNX file; or the refusal."""
    size = 224 if _WANTS_224.match(name.rpartition(":")[2]) else _SIDE
    shape = (3, size, size)
    spec = name if ":" in name else f"timm:{name}"
    generator = torch.Generator().manual_seed(0)
    try:
        network = load.load(spec, num_classes=_CLASSES, sample_shape=shape).network.eval()
        prunable = Prunable(network.module, torch.rand(2, *shape, generator=generator))
        whole = inspection.count_macs(network.module, shape) or 0
        cut = aim.by_cost(
            prunable,
            prunable.score(L1()),
            want=_KEPT * whole,
            cost=lambda module: float(inspection.count_macs(module, shape) or 0),
            how="global",
            round_to=8,
        )
        pruned = Network(cut.module, network.normalisation).eval()
        pixels = torch.rand(2, *shape, generator=generator)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pruned.onnx"
            onnx_file.write(pruned, file, settings=ExportSettings(), samples={"image": pixels.numpy()})
            session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
            found = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})[0]
        with torch.no_grad():
            expected = pruned(pixels).numpy()
    except CompressError as refusal:
        return f"refused: {refusal}"
    off = float(np.abs(found - expected).max() / max(float(expected.std()), 1e-12))
    told = aim.coarse(cut, what="multiply-adds", want=_KEPT * whole, start=whole, round_to=8) or cut.short
    return (
        f"{cut.reached / whole:.2f} of the multiply-adds, {len(prunable.groups)} groups cut, {len(prunable.spared)} layers "
        f"spared, ONNX off by {off:.0e} of the spread {told}"
    )


def claims(rows: dict[str, Any]) -> list[Claim]:
    """Every family passes; what was refused is in the samples, with its sentence."""
    passed = [name for name, row in rows.items() if "refused" not in row and row["met"] and row["reloaded"]]
    refused = [name for name, row in rows.items() if "refused" in row]
    return [
        Claim("networks that are pruned by 30 %, exported, quantized and reloaded", len(rows), len(passed), "networks"),
        Claim("networks refused with a sentence", 0, len(refused), "networks", "at most"),
        *(
            Claim(f"{name}: multiply-adds left", _KEPT, row["macs"][1] / row["macs"][0], "share", "at most")
            for name, row in rows.items()
            if "macs" in row
        ),
    ]


def _pictures(folder: Path) -> Path:
    """Ten classes: a bright square of one colour at one of ten places on noise."""
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, number in _SAMPLES.items():
        labels = np.arange(number) % _CLASSES
        pixels = generator.integers(0, 96, (number, 3, _SIDE, _SIDE))
        for picture, label in zip(pixels, labels, strict=True):
            row, column = divmod(int(label), 5)
            picture[label % 3, 32 * row + 4 : 32 * row + 24, 12 * column + 2 : 12 * column + 12] += 140
        arrays |= {f"x_{split}": pixels.astype(np.uint8), f"y_{split}": labels.astype(np.int64)}
    file = folder / "pictures.npz"
    np.savez(file, **arrays)
    return file


def _accuracy(made: Artifact) -> float:
    return float(made.manifest.metrics["test"]["metrics"]["accuracy"])


def _line(name: str, row: dict[str, Any]) -> str:
    if "refused" in row:
        return f"{name:24} refused: {row['refused']}"
    before, after = row["macs"]
    return (
        f"{name:24} {row['trained']:.3f} → pruned {row['pruned']:.3f} at {after / before:.2f} of the MACs, "
        f"{row['spared']} spared"
        f" → int8 {row['int8']:.3f} ({row['int8_result']}), reloaded {row['reloaded']}, {row['elapsed_s']:.0f} s"
    )


if __name__ == "__main__":
    main()
