"""Reading a folder of JPEGs: our loader against torchvision's ImageFolder and DataLoader, and its memory as the set grows.

    python -m benchmarks.loader                            # speed: 4 000 photographs-like JPEGs of 256 x 256, read at 128
    python -m benchmarks.loader --sizes 10000,100000,1000000   # memory and time to the first batch, JPEGs of 32 x 32

The pictures are generated (smooth shapes and noise, seeded). Speed is taken in turns, epoch by epoch, with the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import result
from benchmarks.result import Claim

_BATCH = 128
_CLASSES = 10
_ROUNDS = 5
_DISTINCT = 2000  # distinct pictures; beyond that the files are copies with other names


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", help="numbers of files for the memory part; without it, speed is measured")
    parser.add_argument("--images", type=int, default=4000, help="files of the speed part")
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "OUT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _child(Path(given.child[0]), Path(given.child[1]))
        return
    with tempfile.TemporaryDirectory(prefix="compress-loader-") as folder:
        os.environ["COMPRESS_CACHE"] = str(Path(folder) / "caches")
        if given.sizes:
            claims, samples = _memory(Path(folder), [int(size) for size in given.sizes.split(",")])
            print(result.write("training_loader_memory", claims, samples=samples))
        else:
            claims, samples = _speed(Path(folder), given.images)
            print(result.write("training_loader", claims, samples=samples))


def _speed(folder: Path, number: int) -> tuple[list[Claim], dict[str, Any]]:
    pictures = folder / "pictures"
    _generate(pictures, number, side=256)
    readers = {
        "torchvision": _torchvision(pictures, side=128),
        "stream": _ours(pictures, side=128, decode="stream"),
        "once": _ours(pictures, side=128, decode="once"),
    }
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(_ROUNDS):
        for name, epoch in readers.items():
            started = time.perf_counter()
            seen = sum(epoch())
            rates[name].append(seen / (time.perf_counter() - started))
    medians = {name: statistics.median(each) for name, each in rates.items()}
    claims = [
        Claim(
            f"{what} against ImageFolder and DataLoader (images per second)",
            goal,
            medians[name] / medians["torchvision"],
            "×",
        )
        for name, what, goal in (("stream", "streaming", 1.0), ("once", "decoded once", 5.0))
    ]
    return claims, {"images": number, "images_per_s": rates, "cores": len(os.sched_getaffinity(0))}


def _torchvision(folder: Path, *, side: int) -> Callable[[], Iterator[int]]:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    resize = v2.Resize(side, interpolation=v2.InterpolationMode.BICUBIC)  # as ours does
    steps = v2.Compose([resize, v2.CenterCrop(side), v2.PILToTensor()])
    loader = DataLoader(
        ImageFolder(str(folder), steps),
        batch_size=_BATCH,
        shuffle=True,
        num_workers=len(os.sched_getaffinity(0)),
        persistent_workers=True,
    )

    def epoch() -> Iterator[int]:
        for inputs, _ in loader:
            yield len(inputs)

    return epoch


def _ours(folder: Path, *, side: int, decode: str) -> Callable[[], Iterator[int]]:
    from compressor.data.formats.images import images
    from compressor.data.loader import Loader

    samples = images(folder, image_size=side, decode=decode).train
    loader = Loader(samples, batch_size=_BATCH, seed=0, shuffle=True, drop_last=False)
    epochs = iter(range(1_000_000))

    def epoch() -> Iterator[int]:
        for batch in loader.batches(next(epochs)):
            yield len(batch.labelled)

    return epoch


def _memory(folder: Path, sizes: list[int]) -> tuple[list[Claim], dict[str, Any]]:
    found = []
    for size in sizes:
        pictures = folder / f"pictures-{size}"
        _generate(pictures, size, side=32)
        out = folder / "out.json"
        subprocess.run([sys.executable, "-m", "benchmarks.loader", "--child", str(pictures), str(out)], check=True)
        found.append({"files": size, **json.loads(out.read_text(encoding="utf-8"))})
        print(found[-1], file=sys.stderr, flush=True)
        shutil.rmtree(pictures)
    first, last = found[0], found[-1]
    growth = last["peak_mb"] - first["peak_mb"]
    claims = [
        Claim(f"peak memory at {last['files']} files above that at {first['files']}", 150.0, growth, "MB", "at most"),
        Claim(f"time to the first batch of {last['files']} files", 10.0, last["first_batch_s"], "s", "at most"),
    ]
    return claims, {"runs": found}


def _child(folder: Path, out: Path) -> None:
    """Open a streamed set, read 200 batches, and say what that took; without torchvision or a network in the process."""
    from compressor.data.formats.images import images
    from compressor.data.loader import Loader

    before_mb = _peak_mb()
    started = time.perf_counter()
    samples = images(folder, decode="stream").train
    opened_s = time.perf_counter() - started
    loader = Loader(samples, batch_size=_BATCH, seed=0, shuffle=True, drop_last=False)
    batches = loader.batches(0)
    next(batches)
    first_s = time.perf_counter() - started
    seen = sum(len(batch.inputs) for _, batch in zip(range(200), batches, strict=False))
    found = {
        "before_mb": before_mb,
        "peak_mb": _peak_mb(),
        "opened_s": opened_s,
        "first_batch_s": first_s,
        "images_per_s": seen / (time.perf_counter() - started - first_s),
    }
    out.write_text(json.dumps(found), encoding="utf-8")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _generate(folder: Path, number: int, *, side: int) -> None:
    """`number` JPEGs in ten class folders."""
    distinct = [_jpeg(seed, side) for seed in range(min(number, _DISTINCT))]
    for label in range(_CLASSES):
        (folder / f"class-{label}").mkdir(parents=True)
    for position in range(number):
        file = folder / f"class-{position % _CLASSES}" / f"{position:07d}.jpg"
        file.write_bytes(distinct[position % len(distinct)])


def _jpeg(seed: int, side: int) -> bytes:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)).astype(np.int16)
    picture = np.clip(picture + generator.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=90)
    return stream.getvalue()


if __name__ == "__main__":
    main()
