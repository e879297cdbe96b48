"""A class for each pixel through the whole chain: trained, taught, cut, quantized, exported, measured, packed, reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compressor import api, caches
from compressor.artifact import Artifact, read
from compressor.cli import main as command_line

COLORS = np.array([(90, 90, 90), (200, 60, 60), (60, 60, 220)], np.uint8)


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """Boxes and balls on gray ground, the first two lines of each mask void."""
    folder = tmp_path_factory.mktemp("streets")
    generator = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 6), ("test", 6)):
        (folder / split).mkdir()
        (folder / f"{split}_mask").mkdir()
        for number in range(count):
            mask = np.zeros((24, 32), np.uint8)
            top, left = generator.integers(2, 10, 2)
            mask[top : top + 10, left : left + 12] = 1
            mask[14:22, 18 + number % 4 : 26 + number % 4] = 2
            noisy = COLORS[mask] + generator.normal(0, 10, (24, 32, 3))
            mask[:2] = 3
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / split / f"{number}.png")
            Image.fromarray(mask).save(folder / f"{split}_mask" / f"{number}.png")
    (folder / "classes.txt").write_text("ground\nbox\nball\nvoid\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(streets, tmp_path_factory):
    recipe = {
        "name": "streets",
        "runs": str(tmp_path_factory.mktemp("runs")),
        "data": {"source": f"masks:{streets}"},
        "task": {"name": "segmentation"},
        "teacher": {"model": "zoo:espnet", "options": {"width": 0.6, "level3": 2}},
        "train": {"epochs": 3, "batch_size": 4, "lr": 0.01, "compile": False},
        "student": {"model": "zoo:espnet", "options": {"width": 0.6, "level2": 1, "level3": 1, "decoder": False}},
        "distill": {
            "epochs": 2,
            "batch_size": 4,
            "lr": 0.01,
            "compile": False,
            "losses": [
                {"name": "kd", "temperature": 1.0},
                {"name": "cwd", "pairs": "logits", "weight": 0.1},
                {"name": "pkd", "weight": 0.1},
            ],
        },
        "prune": {"macs": 0.8, "rounds": 1, "epochs": 1, "lr": 0.001},
        "quantize": {},
        "bench": {
            "profiles": ["edge"],
            "runtimes": ["ort_cpu"],
            "starts": 1,
            "blocks": 5,
            "min_seconds": 0.01,
            "min_samples": 20,
        },
    }
    return api.run(recipe)


def test_teacher_and_student_learn_the_classes_of_pixels(finished):
    for role in ("teacher", "distilled", "pruned"):
        judged = finished.artifacts[role].manifest.metrics["test"]
        low, high = judged["interval"]
        assert judged["primary"] == "miou"
        assert low <= judged["metrics"]["miou"] <= high
        assert judged["metrics"]["miou"] > 0.1
        assert all(0 <= each["iou"] <= each["accuracy"] for each in judged["per_class"])


def test_every_link_is_measured_with_a_paired_test_over_images(finished):
    rows = {each["role"]: each for each in api.measurements_of(finished.measurements)["candidates"]}

    assert {"teacher", "student"} <= set(rows)
    (told,) = rows["student"]["accuracy"]
    assert 0 <= told["agreement_with_teacher"] <= 1
    assert told["paired"][0]["resamples"] > 1000


def test_what_is_exported_gives_logits_of_the_size_of_the_picture_for_any_batch(finished):
    import onnxruntime

    session = onnxruntime.InferenceSession(finished.onnx["student"].file("model.onnx"))

    for count in (1, 3):
        pictures = np.zeros((count, 3, 24, 32), np.float32)
        (found,) = session.run(None, {session.get_inputs()[0].name: pictures})
        assert found.shape == (count, 3, 24, 32)


def test_the_report_shows_iou_and_the_masks_where_the_student_is_worst(finished):
    page = (finished.report.path / "report.html").read_text(encoding="utf-8")
    told = json.loads((finished.report.path / "report.json").read_text(encoding="utf-8"))

    assert "IoU of each class" in page
    assert "samples drawn again" in page
    assert told["metric"] == "miou"
    worst = told["worst"]["samples"]
    assert all(sample["miou"][0] > sample["miou"][1] for sample in worst)


def test_a_network_without_places_is_refused_before_it_is_trained(streets, tmp_path):
    from compressor.errors import CompressError

    with pytest.raises(CompressError, match=r"needs \[B, 3, H, W\]|segmentation"):
        api.train(
            "zoo:resnet8",
            data=f"masks:{streets}",
            runs=tmp_path,
            options={"epochs": 1},
            assignments=["task.name=segmentation"],
        )


# the teacher's maps, kept

NUM_IMAGES, EPOCHS = 16, 6


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing is kept yet; the chain has kept some of what its pruned student was recovered with."""
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "kept"))


def lesson(finished, streets: Path, runs: Path, name: str, *, count: int | str = "auto", **distill: object) -> dict:
    """A recipe that distills a small student from the teacher of the whole chain."""
    return {
        "name": name,
        "runs": str(runs),
        "stages": ["distill"],
        "data": {"source": f"masks:{streets}", "views": {"count": count}},
        "task": {"name": "segmentation"},
        "teacher": {"model": str(finished.artifacts["teacher"].path)},
        "student": {"model": "zoo:espnet", "options": {"width": 0.6, "level2": 1, "level3": 1, "decoder": False}},
        "distill": {
            "epochs": EPOCHS,
            "batch_size": 4,
            "lr": 0.01,
            "compile": False,
            "losses": [{"name": "kd"}],
            "control": False,
            **distill,
        },
    }


def learned(raw: dict) -> Artifact:
    return api.run(raw).artifacts["student"]


def asked(made: Artifact) -> int:
    """Samples that the teacher answered by computing."""
    return made.manifest.details["teacher"]["asked"]


def weights(made: Artifact) -> str:
    return made.manifest.files["weights.safetensors"]


def chosen(made: Artifact, what: str) -> tuple[str, str]:
    """What was decided, and why."""
    (found,) = [each for each in made.manifest.decisions if each.what == what]
    return found.choice, found.reason


@pytest.mark.parametrize(
    ("cache_gb", "kept", "views"), [(4.0, "float16", 2), (0.00014, "uint8", 2), (5e-5, "uint8", 1)]
)
def test_a_second_distillation_asks_the_teacher_nothing_and_ends_with_the_same_weights(
    finished, streets, tmp_path, cache_gb, kept, views
):
    first, second = (
        learned(lesson(finished, streets, tmp_path, name, cache_gb=cache_gb)) for name in ("first", "second")
    )

    assert (asked(first), asked(second)) == (views * NUM_IMAGES, 0)
    assert weights(first) == weights(second)
    assert chosen(first, "data.views.count")[0] == str(views)
    assert chosen(first, "teacher cache") == chosen(second, "teacher cache")
    choice, reason = chosen(second, "teacher cache")
    assert choice == kept
    assert "on 16 samples predictions come back within " in reason
    assert f"of {16 * 22 * 32} rows name another class, mean KL " in reason  # two of 24 lines are void


def test_maps_that_do_not_fit_are_shown_in_fresh_views_and_asked_for_in_every_step(finished, streets, tmp_path):
    made = learned(lesson(finished, streets, tmp_path, "fresh", cache_gb=3e-5, epochs=2))

    assert chosen(made, "data.views.count")[0] == "0 (fresh views)"
    assert asked(made) == 2 * NUM_IMAGES


@pytest.mark.slow
def test_stated_views_are_kept_at_a_stride_where_the_budget_is_small_and_serve_another_loss(
    finished, streets, tmp_path
):
    stated = {"count": 2, "cache_gb": 2e-5, "epochs": 2}
    first = learned(lesson(finished, streets, tmp_path, "first", **stated))
    losses = [{"name": "hard"}, {"name": "cwd", "pairs": "logits"}]
    second = learned(lesson(finished, streets, tmp_path, "second", **stated, losses=losses))

    assert (asked(first), asked(second)) == (2 * NUM_IMAGES, 0)
    choice, reason = chosen(first, "teacher cache")
    assert choice == "uint8 at a stride of 2"
    assert "; float16 would take 0.1 MB; " in reason


def test_a_map_that_was_tampered_with_is_asked_for_again(finished, streets, tmp_path):
    learned(lesson(finished, streets, tmp_path, "first"))
    (cache,) = [each for each in caches.all_caches() if each.kind == "teacher"]
    file = cache.path / "view-00001.bin"
    tampered = bytearray(file.read_bytes())
    tampered[5 * 4616 + 1000] ^= 1
    file.write_bytes(tampered)

    assert asked(learned(lesson(finished, streets, tmp_path, "second"))) == 1
    assert asked(learned(lesson(finished, streets, tmp_path, "third"))) == 0


def test_a_distillation_killed_while_it_fills_the_cache_ends_with_the_same_weights(finished, streets, tmp_path):
    def command(name: str) -> tuple[list[str], dict[str, str]]:
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(lesson(finished, streets, tmp_path, name)), encoding="utf-8")
        environment = {**os.environ, "COMPRESS_CACHE": str(tmp_path / f"cache of {name}")}
        return [sys.executable, "-m", "compressor", "run", str(file)], environment

    line, environment = command("whole")
    subprocess.run(line, check=True, capture_output=True, env=environment, cwd=tmp_path)
    line, environment = command("killed")
    killed = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=tmp_path)
    kept = Path(environment["COMPRESS_CACHE"], "teacher")
    while not list(kept.glob("*/view-00001.bin")) and killed.poll() is None:  # the second of two views is being filled
        time.sleep(0.001)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -9

    subprocess.run(line, check=True, capture_output=True, env=environment, cwd=tmp_path)

    whole, again = (read(tmp_path / name / "distill") for name in ("whole", "killed"))
    assert again.manifest.details["interruptions"] == 1
    assert weights(whole) == weights(again)
    assert chosen(whole, "teacher cache") == chosen(again, "teacher cache")


def test_evaluate_tells_the_iou_of_each_class_and_counts_pixels(finished, streets, capsys, monkeypatch):
    found = api.evaluate(finished.artifacts["teacher"].path)

    assert found["per_class"][0]["iou"] is not None
    monkeypatch.setattr("sys.argv", ["compress", "evaluate", str(finished.artifacts["teacher"].path)])
    with pytest.raises(SystemExit):
        command_line.main()
    head = capsys.readouterr().out.splitlines()[0]
    assert all(word in head for word in ("class", "pixels", "IoU"))
