"""Segmentation on CamVid: a student alone, with kd, cwd and pkd from one teacher, and what pruning and int8 make of it.

python -m benchmarks.segmentation train --data camvid --teacher espnet_p_2_q_8_camvid.pth --arch espnet.py --work work
python -m benchmarks.segmentation chain --data camvid --teacher espnet_p_2_q_8_camvid.pth --arch espnet.py --work work
python -m benchmarks.segmentation write --work work

`train` trains control, kd, cwd and pkd for every seed, one after the other, and keeps each result in the work folder, so that
it goes on where it was stopped. The network of the last epoch counts, not the best. `chain` prunes and quantizes the student of
the first seed with the loss that did best on validation, and times everything on one thread with one image. `write` writes the
result file of what is there. `--arch` is a file with the class `ESPNet` and the constants `MEAN` and `STD` (blue, green, red).
"""  # noqa: E501 - a command is one line

from __future__ import annotations

import argparse
import json
import shutil
import tomllib
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from benchmarks import result
from benchmarks.result import Claim
from compressor import api

RECIPE = Path(__file__).parent / "recipes" / "camvid.toml"
SEEDS = (0, 1, 2)
LOSSES: dict[str, list[dict[str, Any]]] = {
    "kd": [{"name": "kd", "temperature": 1.0, "alpha": 0.5}],
    "cwd": [{"name": "hard"}, {"name": "cwd", "pairs": "logits"}],
    "pkd": [{"name": "hard"}, {"name": "pkd"}],
}
STAGES = ["distill", "prune", "quantize", "export", "bench", "report"]
PRUNE: dict[str, Any] = {"macs": 0.7, "epochs": 3, "lr": 0.001}
QUANTIZE: dict[str, Any] = {}
_TEACHER = '''"""ESPNet as published for CamVid: blue, green, red, its own normalization; void is cut off."""

import torch
from torch import Tensor, nn

from espnet_camvid import MEAN, STD, ESPNet


class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = ESPNet()
        self.register_buffer("shift", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.net((255 * images.flip(1) - self.shift) / self.scale / 255)[:, :11]


def build():
    return Teacher()
'''


def main() -> None:
    """Train, chain or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("train", "chain", "write"))
    parser.add_argument("--data", help="folder with train/, train_mask/, ... and classes.txt")
    parser.add_argument("--teacher", help="the published weights")
    parser.add_argument("--arch", help="the file that defines ESPNet, MEAN and STD")
    parser.add_argument("--work", required=True, help="where runs and results are kept")
    given = parser.parse_args()
    work = Path(given.work).resolve()
    if given.part == "write":
        print(write(work))
        return
    if not (given.data and given.teacher and given.arch):
        parser.error(f"{given.part} needs --data, --teacher and --arch")
    work.mkdir(parents=True, exist_ok=True)
    base = recipe(work, Path(given.data), Path(given.teacher), Path(given.arch))
    (train if given.part == "train" else chain)(work, base)


def recipe(work: Path, data: Path, weights: Path, arch: Path) -> dict[str, Any]:
    """The recipe with the data and the teacher that are here; once it has been judged, the teacher is that artifact."""
    base: dict[str, Any] = tomllib.loads(RECIPE.read_text())
    base["runs"], base["data"]["source"] = str(work / "runs"), f"masks:{data.resolve()}"
    judged = work / "runs" / "kd_0" / "teacher"
    if (judged / "manifest.json").is_file():
        return base | {"teacher": {"model": str(judged)}}
    shutil.copy(arch, work / "espnet_camvid.py")
    (work / "teacher.py").write_text(_TEACHER)
    state = torch.load(weights, map_location="cpu", weights_only=True)
    torch.save({f"net.{name}": tensor for name, tensor in state.items()}, work / "teacher.pt")
    own = {"model": str(work / "teacher.pt"), "arch": f"{work / 'teacher.py'}:build", "normalise": "none"}
    return base | {"teacher": own}


def train(work: Path, base: dict[str, Any]) -> None:
    """Control and every loss for every seed, seed by seed; what is there already is left as it is."""
    for seed in SEEDS:
        for name, losses in LOSSES.items():
            if (work / f"{name}_{seed}.json").is_file():
                continue
            settings = base["distill"] | {"losses": losses, "control": name == "kd"}
            made = api.run(base | {"name": f"{name}_{seed}", "seed": seed, "distill": settings})
            for role, artifact in made.artifacts.items():
                called = {"student": name}.get(role, role)
                _keep(work / f"{called}_{seed}.json", artifact)
            base["teacher"] = {"model": str(work / "runs" / "kd_0" / "teacher")}


def _keep(file: Path, artifact: Any) -> None:
    manifest = artifact.manifest
    kept = {
        "metrics": manifest.metrics,
        "elapsed_s": manifest.elapsed_s,
        "decisions": [str(each) for each in manifest.decisions],
    }
    file.write_text(json.dumps(kept))


def chain(work: Path, base: dict[str, Any]) -> None:
    """Prune and quantize the student of the first seed whose loss did best on validation, and time all of it."""
    best = max(LOSSES, key=lambda name: _miou(work, name, 0, split="val"))
    settings = base["distill"] | {"losses": LOSSES[best], "control": True}
    links = {"prune": PRUNE, "quantize": QUANTIZE, "bench": {"profiles": ["edge"]}, "export": {}}
    made = api.run({**base, "name": "chain", "seed": 0, "distill": settings, "stages": STAGES, **links})
    assert made.measurements is not None
    (work / "chain.json").write_text(json.dumps({"loss": best, **api.measurements_of(made.measurements)}))


def _miou(work: Path, name: str, seed: int, *, split: str = "test") -> float:
    kept = json.loads((work / f"{name}_{seed}.json").read_text())
    return 100 * float(kept["metrics"][split]["metrics"]["miou"])


def write(work: Path) -> Path:
    """The result file of what has been trained and measured."""
    seeds = [seed for seed in SEEDS if all((work / f"{name}_{seed}.json").is_file() for name in ("control", *LOSSES))]
    told = {name: [_miou(work, name, seed) for seed in seeds] for name in ("control", *LOSSES)}
    claims = [Claim("the teacher knows the test images", 48.0, _miou(work, "teacher", 0), "% mIoU")]
    for name in LOSSES:
        gains = [mine - alone for mine, alone in zip(told[name], told["control"], strict=True)]
        claims.append(Claim(f"{name} is above the control, mean of {len(seeds)} seeds", 0.5, mean(gains), "points"))
        claims.append(Claim(f"{name} is above the control with every seed", 0.0, min(gains), "points"))
    samples: dict[str, Any] = {
        "recipe": RECIPE.read_text(),
        "losses": LOSSES,
        "seeds": seeds,
        "test_miou": told,
        "mean_and_deviation": {
            name: [mean(each), stdev(each) if len(each) > 1 else None] for name, each in told.items()
        },
        "runs": {file.stem: _kept(file, work) for file in sorted(work.glob("*_[0-9].json"))},
    }
    if (work / "chain.json").is_file():
        measured = _kept(work / "chain.json", work)
        samples["chain"] = measured
        claims += chain_claims(measured)
    return result.write("segmentation_camvid", claims, samples=samples)


def _kept(file: Path, work: Path) -> Any:
    """What was kept of a run, without the place of the work folder on this machine."""
    return json.loads(file.read_text().replace(str(work), "work"))


def chain_claims(measured: dict[str, Any]) -> list[Claim]:
    """What the chain sets out to show: no points lost by each link, the exported file like the network, the speed-up."""
    rows = {each["role"]: _deployed(each) for each in measured["candidates"]}
    found = []
    for before, after, most in (("distilled", "pruned", 2.0), ("pruned", "student", 1.0)):
        if before in rows and after in rows:
            drop = 100 * (rows[before]["metrics"]["miou"] - rows[after]["metrics"]["miou"])
            found.append(Claim(f"{after} loses little mIoU against {before}", most, drop, "points", "at most"))
    for each in measured["candidates"]:
        both = [100 * entry["metrics"]["miou"] for entry in each["accuracy"]]
        if len(both) > 1:
            apart = max(both) - min(both)
            found.append(
                Claim(f"{each['role']}: the same mIoU in PyTorch and ONNX Runtime", 0.05, apart, "points", "at most")
            )
    own = [each for each in measured["timings"] if each["role"] == "student" and each["runtime"] == "ort_cpu"]
    speed = own[0]["speedup"]["low"] if own and own[0].get("speedup") else None
    found.append(Claim("the shipped student is faster than its teacher (lower bound)", 3.0, speed, "×"))
    return found


def _deployed(candidate: dict[str, Any]) -> dict[str, Any]:
    """What a candidate is worth on ONNX Runtime, or where it was judged."""
    entries: list[dict[str, Any]] = candidate["accuracy"]
    return next((each for each in entries if each["runtime"] == "ort_cpu"), entries[0])


if __name__ == "__main__":
    main()
