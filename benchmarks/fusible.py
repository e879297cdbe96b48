"""What writing a model for ONNX Runtime is worth: our file beside the one that torch's exporter writes alone.

    python -m benchmarks.fusible
    python -m benchmarks.fusible --networks vit --seconds 1 --results DIR    # a try

Networks with GELU and attention (timm's, untrained: their time is that of trained ones), one sample at a time on one thread.
Both files alternate in blocks, in processes of their own that are started several times, as a bench times any two models.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from benchmarks import onnx_models, result
from benchmarks.result import Claim
from compressor.measure.contest import time_models
from compressor.measure.statistics import paired_speedup, summarise
from compressor.models import load, onnx_file
from compressor.models.network import Network
from compressor.recipe import DEFAULT_PROFILES, BenchSettings, ExportSettings
from compressor.runtimes.ort_cpu import OrtCpu

_SMALL_VIT = {"img_size": 32, "patch_size": 4, "embed_dim": 96, "depth": 6, "num_heads": 3}
NETWORKS: Mapping[str, tuple[str, int, dict[str, Any]]] = {
    "vit": ("timm:vit_tiny_patch16_224", 32, _SMALL_VIT),
    "deit": ("timm:deit_tiny_patch16_224", 224, {}),
    "convnext": ("timm:convnext_atto", 64, {}),
    "mobilevit": ("timm:mobilevit_xxs", 128, {}),
}
"""By name: the model, the side of its pictures, and its options."""

_BLOCKS = 20


def main() -> None:
    """Export every network in both ways, time them, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--seconds", type=float, default=5.0, help="that each file is timed")
    parser.add_argument("--results", type=Path, default=result.RESULTS, help="folder of the result file")
    given = parser.parse_args()
    samples = {}
    for name in given.networks.split(","):
        with tempfile.TemporaryDirectory(prefix="compress-fusible-") as folder:
            samples[name] = compare(name, Path(folder), seconds=given.seconds)
        told = "{ratio:.3f} ({low:.3f}-{high:.3f})".format(**samples[name]["speedup"])
        print(f"{name:10} {told}  {samples[name]['written']}", file=sys.stderr, flush=True)
    print(result.write("latency_fusible", claims(samples), samples=samples, folder=given.results))


def compare(name: str, folder: Path, *, seconds: float) -> dict[str, Any]:
    """Export one network in both ways and time both files.

    Returns:
        `written`: what was rewritten. `apart`: the largest difference of the answers, in deviations of the answers.
        `speedup` of ours over the exporter's (median of paired blocks, 95 % interval), `p50_ms` and `operators` of both,
        `load_average` when timing began.
    """
    files = {"exporter": folder / "exporter.onnx", "ours": folder / "ours.onnx"}
    model, side, options = NETWORKS[name]
    torch.manual_seed(0)
    loaded = load.load(model, num_classes=10, sample_shape=(3, side, side), options=options)
    by_the_exporter_alone(loaded.network.eval(), files["exporter"], side=side)
    pixels = np.zeros((2, 3, side, side), np.uint8)
    _, decisions = onnx_file.write(loaded.network, files["ours"], settings=ExportSettings(), samples={"image": pixels})
    stored, prepared = onnx_models.samples_for(files["ours"])
    np.save(folder / "inputs.npy", stored)
    theirs, ours = (_answers(file, prepared[:8]) for file in files.values())
    began = list(os.getloadavg())
    taken = time_models(
        files,
        profile=DEFAULT_PROFILES["edge"],
        inputs=folder / "inputs.npy",
        blocks=_BLOCKS,
        min_seconds=seconds,
        min_samples=10 * _BLOCKS,
        starts=BenchSettings().starts,
    )
    return {
        "written": next((each.choice for each in decisions if each.what == "written for ONNX Runtime"), "as it was"),
        "apart": float(np.abs(ours - theirs).max() / theirs.std()),
        "speedup": asdict(
            paired_speedup(taken["exporter"].blocks, taken["ours"].blocks, starts=BenchSettings().starts)
        ),
        "p50_ms": {each: summarise(taken[each].samples_ms).p50_ms for each in files},
        "operators": {each: _operators(file) for each, file in files.items()},
        "load_average": began,
    }


def by_the_exporter_alone(network: Network, file: Path, *, side: int) -> None:
    """What one gets without us."""
    torch.onnx.export(
        network,
        (torch.rand(2, 3, side, side),),
        file,
        input_names=["input"],
        output_names=["logits"],
        opset_version=18,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        external_data=False,
        verbose=False,
    )


def _operators(file: Path) -> dict[str, int]:
    return dict(Counter(node.op_type for node in onnx.load(file).graph.node))


def _answers(file: Path, samples: Any) -> Any:
    runtime = OrtCpu(threads=1)
    runtime.load(file)
    try:
        return runtime(samples)
    finally:
        runtime.close()


def claims(samples: Mapping[str, Any]) -> list[Claim]:
    """That it is never slower, and answers as before."""
    faster = [
        Claim(f"{name}: written for ONNX Runtime it is faster (lower bound)", 1.0, found["speedup"]["low"], "×")
        for name, found in samples.items()
    ]
    apart = max(found["apart"] for found in samples.values())
    return [*faster, Claim("answers differ by at most", 1e-4, apart, "deviations", "at most")]


if __name__ == "__main__":
    main()
