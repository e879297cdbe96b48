"""Text classification on SST-2 and TREC: a teacher fine-tuned from MiniLM, students cut from it and of another kind, int8.

python -m benchmarks.text sst2 --data ../shared/data --model FOLDER-of-MiniLM --texts 1500
python -m benchmarks.text trec --data ../shared/data --model FOLDER-of-MiniLM --texts 1500

Training sees a part of the set (`--texts`, drawn by seed 0), so that all of it takes minutes on one core; it is tested on
all of SST-2's dev set (872 texts), or of TREC's test set (500).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import result
from benchmarks.result import Claim
from compressor import api, artifact
from compressor.artifact import Artifact
from compressor.models import checkpoint
from compressor.runtimes._onnx_runtime import model_file
from compressor.runtimes.ort_cpu import OrtCpu

HERE = Path(__file__).parent
LENGTHS = (16, 128)
BLOCKS, CALLS = 12, 10


def main() -> None:
    """Train, distil, quantize, compare and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=("sst2", "trec"))
    parser.add_argument("--data", type=Path, required=True, help="folder that holds sst-2 and trec")
    parser.add_argument("--model", type=Path, required=True, help="folder of MiniLM, as save_pretrained leaves it")
    parser.add_argument("--texts", type=int, default=1500, help="training texts")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    given = parser.parse_args()
    started = time.perf_counter()
    folder = given.runs / f"text-{given.set}-data"
    written(given.set, given.data, folder, texts=given.texts)
    assignments = [
        f"name=text-{given.set}",
        f"runs={given.runs}",
        f"data.source=csv:{folder}",
        f"teacher.model=transformers:{given.model}",
        'stages=["train","distill","quantize","export"]',
    ]
    finished = api.run(HERE / "recipes" / "text.toml", assignments=assignments)
    run = finished.artifacts["teacher"].path.parent
    made = {role: artifact.read(run / name) for role, name in ROLES.items()}
    made["cnn"] = api.distill(
        made["teacher"].path,
        f"{HERE / 'text_cnn.py'}:build",
        data=f"csv:{folder}",
        name=f"text-{given.set}-cnn",
        runs=given.runs,
        assignments=[
            f"data.options.tokenizer={given.model}",
            "data.options.max_length=64",
            "distill.epochs=20",
            "distill.batch_size=32",
            "distill.lr=0.002",
        ],
    )
    files = {"teacher": run / "export-teacher", "student": run / "export", "int8": run / "quantize"}
    runtimes = {role: _opened(file) for role, file in files.items()}
    parity = {role: _parity(made[role], runtimes[role]) for role in ("teacher", "student")}
    latency = {str(length): _latency(runtimes, length) for length in LENGTHS}
    accuracy = {role: 100 * each.manifest.metrics["test"]["metrics"]["accuracy"] for role, each in made.items()}
    samples = {
        "training_texts": given.texts,
        "accuracy": accuracy,
        "parity": parity,
        "latency_ms": latency,
        "params": {role: each.manifest.details.get("network", {}).get("params") for role, each in made.items()},
        "size_mb": {role: model_file(file).stat().st_size / 1e6 for role, file in files.items()},
        "elapsed_s": {role: each.manifest.elapsed_s for role, each in made.items()},
        "whole_s": time.perf_counter() - started,
    }
    print(result.write(f"text_{given.set}", claims(accuracy, parity, latency), samples=samples))


ROLES = {"teacher": "train", "control": "control", "student": "distill", "int8": "quantize"}


def claims(
    accuracy: dict[str, float], parity: dict[str, dict[str, float]], latency: dict[str, dict[str, float]]
) -> list[Claim]:
    """What is to be shown."""
    worst = max(each for by_length in parity.values() for each in by_length.values())
    found = [
        Claim(
            "the student of 3 layers is better than its control",
            0.0,
            accuracy["student"] - accuracy["control"],
            "points",
        ),
        Claim(
            "the student of 3 layers loses few points to its teacher",
            2.0,
            accuracy["teacher"] - accuracy["student"],
            "points",
            "at most",
        ),
        Claim(
            "layers cut from the teacher beat a small CNN that starts from nothing",
            0.0,
            accuracy["student"] - accuracy["cnn"],
            "points",
        ),
        Claim("int8 loses few points", 1.0, accuracy["student"] - accuracy["int8"], "points", "at most"),
        Claim("ONNX is as PyTorch at length 1, the usual and the longest", 1e-4, worst, "logits", "at most"),
    ]
    for length, each in latency.items():
        found.append(
            Claim(f"speed-up of the student at {length} tokens", 1.7, each["teacher"] / each["student"], "times")
        )
        found.append(Claim(f"speed-up of int8 at {length} tokens", 2.5, each["teacher"] / each["int8"], "times"))
    return found


def written(name: str, data: Path, folder: Path, *, texts: int) -> None:
    """The texts as tables: `texts` of the training set, and the whole test set."""
    if name == "sst2":
        parts = {part: _table(data / "sst-2" / f"{part}.tsv") for part in ("train", "dev")}
        train, test = parts["train"], parts["dev"]
    else:
        files = [data / "trec" / file for file in ("train_5500.label", "TREC_10.label")]
        train, test = ([_question(line) for line in file.read_text("latin-1").splitlines()] for file in files)
    drawn = np.random.default_rng(0).permutation(len(train))[:texts]
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in (("train", [train[each] for each in sorted(drawn.tolist())]), ("test", test)):
        lines = ["text\tlabel", *(f"{text}\t{label}" for text, label in rows)]
        (folder / f"{part}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(file: Path) -> list[tuple[str, str]]:
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    return [(text.strip(), label) for text, label in (line.rsplit("\t", 1) for line in lines)]


def _question(line: str) -> tuple[str, str]:
    label, _, text = line.partition(" ")
    return text, label.partition(":")[0]


def _opened(folder: Path) -> OrtCpu:
    runtime = OrtCpu(threads=1)
    runtime.load(model_file(folder))
    return runtime


def _tokens(length: int, *, seed: int = 0) -> dict[str, NDArray[Any]]:
    """One text of so many tokens of BERT's vocabulary, [CLS] in front and [SEP] behind."""
    ids = np.random.default_rng(seed).integers(1996, 29000, (1, length))
    ids[0, 0] = 101
    ids[0, -1] = 102
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _parity(made: Artifact, runtime: OrtCpu) -> dict[str, float]:
    """Largest difference of logits between PyTorch and ONNX Runtime at each length."""
    import torch

    network = checkpoint.load(made).network
    found = {}
    for length in (1, 24, 64, 128):
        given = _tokens(length, seed=length)
        with torch.no_grad():
            expected = network({name: torch.from_numpy(array) for name, array in given.items()}).numpy()
        found[str(length)] = float(np.abs(runtime(given)["logits"] - expected).max())
    return found


def _latency(runtimes: dict[str, OrtCpu], length: int) -> dict[str, float]:
    """Median milliseconds of one text on one thread; models alternate in blocks, so that they see the same machine."""
    given = _tokens(length)
    times: dict[str, list[float]] = {role: [] for role in runtimes}
    for _ in range(BLOCKS):
        for role, runtime in runtimes.items():
            runtime(given)
            for _ in range(CALLS):
                start = time.perf_counter()
                runtime(given)
                times[role].append(1000 * (time.perf_counter() - start))
    return {role: float(np.median(each)) for role, each in times.items()}


if __name__ == "__main__":
    main()
