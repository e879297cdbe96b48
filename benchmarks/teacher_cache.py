"""What keeping a teacher's maps saves and costs on CamVid: seconds of an epoch, bytes on disk, and what the codec loses.

python -m benchmarks.teacher_cache --data camvid --teacher espnet_p_2_q_8_camvid.pth --arch espnet.py --work work

One view, two epochs, for each budget: the first epoch asks the teacher and fills the cache, the second reads it. Without a
cache both ask. The runs are made `--rounds` times in turn, since other work on the machine comes and goes. The same run once
more, on the filled cache, shows that the weights do not depend on who answered.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import result
from benchmarks.result import Claim
from benchmarks.segmentation import recipe
from compressor import api, caches
from compressor.artifact import Artifact
from compressor.data.open import open_dataset
from compressor.models import checkpoint
from compressor.recipe import DataSettings
from compressor.tasks.segmentation import Segmentation
from compressor.teachers._codecs import candidates
from compressor.teachers._frozen import Frozen
from compressor.teachers._kept_error import kept_error
from compressor.teachers._records import Form
from compressor.training.teaching import some_batches

BYTES_PER_IMAGE: Mapping[str, float] = {"asked": 0, "float16": 1e6, "uint8": 5e5, "uint8 at a stride of 2": 1.2e5}
EPOCHS = 2


def main() -> None:
    """Train with each budget in turn, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train/, train_mask/, ... and classes.txt")
    parser.add_argument("--teacher", required=True, help="the published weights")
    parser.add_argument("--arch", required=True, help="the file that defines ESPNet, MEAN and STD")
    parser.add_argument("--work", required=True, help="where runs are kept")
    parser.add_argument("--rounds", type=int, default=1, help="how often each run is made")
    given = parser.parse_args()
    work = Path(given.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["COMPRESS_CACHE"] = str(work / "kept")
    base = recipe(work, Path(given.data), Path(given.teacher), Path(given.arch))
    adopted = api.run(base | {"name": "teacher", "stages": ["train"]}).artifacts["teacher"]  # judged once
    base["teacher"] = {"model": str(adopted.path)}
    images = sum(1 for _ in Path(given.data, "train").iterdir())
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in BYTES_PER_IMAGE}
    for number in range(given.rounds):
        for name, per_image in BYTES_PER_IMAGE.items():
            shutil.rmtree(work / "kept", ignore_errors=True)
            times = 2 if per_image else 1
            runs = [made(base, f"{name}-{number}-{time}", per_image * images / 1e9) for time in range(times)]
            found[name].append(told(runs))
    samples = {
        "rounds": found,
        "epochs": EPOCHS,
        "images": images,
        "codecs": lost(adopted, f"masks:{given.data}", base),
    }
    print(result.write("segmentation_cache", claims(found), samples=samples))


def made(base: dict[str, Any], name: str, budget_gb: float) -> Artifact:
    """The student after two epochs of one view."""
    settings = base["distill"] | {
        "epochs": EPOCHS,
        "cache_gb": budget_gb,
        "losses": [{"name": "kd", "temperature": 1.0}],
    }
    data = base["data"] | {"views": {**base["data"]["views"], "count": 1}}
    named = {"name": name.replace(" ", "-"), "data": data, "distill": settings, "stages": ["distill"]}
    return api.run(base | named).artifacts["student"]


def told(runs: list[Artifact]) -> dict[str, Any]:
    """What a run and its repetition on the filled cache came to."""
    manifests = [each.manifest for each in runs]
    size = manifests[0].data["sizes"]["train"]
    return {
        "epoch_s": [[size / entry["images_per_s"] for entry in each.details["curve"]] for each in manifests],
        "asked": [each.details["teacher"]["asked"] for each in manifests],
        "weights": [each.files["weights.safetensors"] for each in manifests],
        "val_miou": [each.metrics["val"]["metrics"]["miou"] for each in manifests],
        "disk_bytes": sum(each.size_bytes for each in caches.all_caches() if each.kind == "teacher"),
        "cache": [str(each) for each in manifests[0].decisions if each.what == "teacher cache"],
    }


def lost(teacher: Artifact, source: str, base: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each codec that suits the teacher's maps loses on eight training images, and its bytes."""
    dataset = open_dataset(DataSettings(source=source, options=base["data"]["options"]))
    task, network = Segmentation(), checkpoint.load(teacher).network
    batches = list(some_batches(dataset.train, task, count=8))
    (output,) = task.outputs(dataset.classes, dataset.inputs)
    return {
        str(codec): {
            "bytes": codec.size_bytes,
            **asdict(kept_error(Frozen(network), Form(((output.name, codec),)), batches)),
        }
        for codec in candidates(output)
    }


def claims(found: Mapping[str, list[dict[str, Any]]]) -> list[Claim]:
    """Kept maps save most of an epoch, and the numbers do not depend on them."""
    asked_s = median(seconds for each in found["asked"] for seconds in each["epoch_s"][0])
    wanted = []
    for name in BYTES_PER_IMAGE:
        if name == "asked":
            continue
        read_s = median(seconds for each in found[name] for seconds in (each["epoch_s"][0][1], *each["epoch_s"][1]))
        wanted.append(Claim(f"an epoch that reads {name} is faster than one that asks", 1.3, asked_s / read_s, "×"))
        again = sum(each["asked"][1] for each in found[name])
        wanted.append(Claim(f"{name}: samples that a later run asks for", 0, again, "samples", "at most"))
        differ = sum(len(set(each["weights"])) - 1 for each in found[name])
        wanted.append(Claim(f"{name}: later runs with other weights", 0, differ, "runs", "at most"))
    return wanted


if __name__ == "__main__":
    main()
