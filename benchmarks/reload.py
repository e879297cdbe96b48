"""Whether artifacts give the same outputs when a fresh process loads them.

python -m benchmarks.reload runs/cifar10-links runs/resnet56-half
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np

from compressor import artifact
from compressor.runtimes._contract import Runtime
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.runtimes.torch import TorchEager

_SAMPLES = 64
_PROGRAM = (
    "import sys; from pathlib import Path; from benchmarks.reload import digest;"
    "[print(digest(Path(folder))) for folder in sys.argv[1:]]"
)


def main() -> None:
    """Look at every network and ONNX model of the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    found = check(parser.parse_args().runs)
    for name, equal in found.items():
        print(f"{'equal' if equal else 'DIFFERENT':10} {name}")
    sys.exit(not all(found.values()))


def check(runs: list[Path]) -> dict[str, bool]:
    """For each artifact of the runs, whether a fresh process gives the very outputs that this one gives."""
    folders = [
        file.parent
        for run in runs
        for file in sorted(run.glob("*/manifest.json"))
        if not file.parent.name.startswith(".") and artifact.read(file.parent).manifest.kind in ("torch", "onnx")
    ]
    there = _in_a_fresh_process(folders)
    return {f"{each.parent.name}/{each.name}": digest(each) == there[each] for each in folders}


def digest(folder: Path) -> str:
    """SHA-256 of a model's outputs for seeded noise in the shape of its data, one thread."""
    made = artifact.read(folder)
    runtime: Runtime = OrtCpu(threads=1) if made.manifest.kind == "onnx" else TorchEager(threads=1)
    runtime.load(folder)
    try:
        shape = made.manifest.data["sample_shape"]
        samples = np.random.default_rng(0).integers(0, 256, (_SAMPLES, *shape), dtype=np.uint8)
        outputs = runtime({"input": samples}).values()
        return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in outputs)).hexdigest()
    finally:
        runtime.close()


def _in_a_fresh_process(folders: list[Path]) -> dict[Path, str]:
    command = [sys.executable, "-c", _PROGRAM, *map(str, folders)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(zip(folders, printed.split(), strict=True))


if __name__ == "__main__":
    main()
