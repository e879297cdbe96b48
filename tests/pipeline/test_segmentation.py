"""A class for each pixel through the whole chain: trained, taught, cut, quantized, exported, measured, packed, reported."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from compressor import api

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
