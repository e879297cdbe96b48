"""A last layer is replaced: rows copied, a dustbin that is what the others were, and a builder that builds it again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compressor.errors import ModelError
from compressor.models import checkpoint, head, load
from compressor.models.build import Fit, Loaded
from compressor.surgery.record import Surgery

K, SHAPE = 6, (1, 8, 8)
CONV = """
from torch import nn

def build(num_classes):
    return nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, num_classes, 1), nn.Flatten())
"""
FIXED = (
    CONV.replace("num_classes)", f"{K})").replace(f"def build({K})", "def build()").replace(", num_classes,", f", {K},")
)
SOFT = CONV.replace("nn.Flatten())", "nn.Flatten(), nn.Softmax(1))")
TWICE = CONV.replace("nn.Flatten())", "nn.Flatten(), nn.Linear(num_classes, num_classes))")


def loaded(file: Path, source: str | None = None) -> Loaded:
    if source is not None:
        file = file.with_name("other.py")
        file.write_text(source, encoding="utf-8")
    torch.manual_seed(0)
    return load.load(str(file), num_classes=K, sample_shape=SHAPE)


INPUTS = torch.rand(16, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_the_rows_of_its_classes_answer_as_before(student: Path) -> None:
    general = loaded(student)

    specialist = head.with_dustbin(general, (4, 1), oversampled=2.0, inputs=INPUTS)

    with torch.no_grad():
        torch.testing.assert_close(specialist.network(INPUTS)[:, :2], general.network(INPUTS)[:, [4, 1]])
    assert specialist.builder.options["num_classes"] == 3
    assert general.network(INPUTS).shape == (16, K), "the generalist is left as it was"


def test_the_dustbin_begins_as_the_log_of_the_others_sum_under_their_share_of_the_samples(student: Path) -> None:
    general = loaded(student)
    layer = general.network.module[-1]
    with torch.no_grad():  # where the others are equal, the linear dustbin is exact
        layer.weight[[0, 2, 3, 5]] = layer.weight[0].clone()
        layer.bias[[0, 2, 3, 5]] = layer.bias[0].clone()

    specialist = head.with_dustbin(general, (1, 4), oversampled=2.0, inputs=INPUTS)

    with torch.no_grad():
        expected = general.network(INPUTS)[:, [0, 2, 3, 5]].logsumexp(dim=1) - math.log(2.0)
        torch.testing.assert_close(specialist.network(INPUTS)[:, -1], expected)


def test_a_convolution_of_one_pixel_is_a_head_too(student: Path) -> None:
    specialist = head.with_dustbin(loaded(student, CONV), (0, 1, 2), oversampled=1.0, inputs=INPUTS)

    assert specialist.network(INPUTS).shape == (16, 4)


def test_a_cluster_of_all_but_one_class_changes_no_shape_and_is_found_all_the_same(student: Path) -> None:
    general = loaded(student)

    specialist = head.with_dustbin(general, (0, 1, 2, 3, 4), oversampled=1.0, inputs=INPUTS)

    with torch.no_grad():
        torch.testing.assert_close(specialist.network(INPUTS), general.network(INPUTS))


def test_it_is_written_and_read_back_the_same(student: Path, tmp_path: Path) -> None:
    specialist = head.with_dustbin(loaded(student), (4, 1), oversampled=2.0, inputs=INPUTS)
    folder = tmp_path / "kept"
    folder.mkdir()

    details = checkpoint.write(folder, specialist, fit=Fit(3, SHAPE))

    checkpoint.compare_read_back(folder, details, network=specialist.network, inputs=INPUTS)


def test_a_pruned_generalist_stays_pruned(student: Path, tmp_path: Path) -> None:
    general = loaded(student)
    narrow = load.load(str(student), num_classes=K, sample_shape=SHAPE, options={"width": 3})
    surgery = Surgery.between(general.network.module, narrow.network.module)
    pruned = replace(general, network=narrow.network, surgery=surgery)

    specialist = head.with_dustbin(pruned, (0, 5), oversampled=1.0, inputs=INPUTS)

    folder = tmp_path / "kept"
    folder.mkdir()
    details = checkpoint.write(folder, specialist, fit=Fit(3, SHAPE))
    checkpoint.compare_read_back(folder, details, network=specialist.network, inputs=INPUTS)
    assert specialist.network.module[-1].weight.shape == (3, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (FIXED, "the builder fixes the number of outputs"),
        (SOFT, "the answers are not the outputs of '3', its last linear layer"),
        (TWICE, "several layers change with the number of classes: 3, 5"),
    ],
)
def test_what_has_no_such_layer_is_refused_in_words(student: Path, source: str, message: str) -> None:
    general = loaded(student, source)

    with pytest.raises(ModelError, match=message):
        head.with_dustbin(general, (0, 1), oversampled=1.0, inputs=INPUTS)
