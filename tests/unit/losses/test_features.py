"""Losses on features against slow calculations in float64, and the choice of what is compared."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from torch import Tensor, nn

from compressor.errors import ModelError
from compressor.losses._features import FeatureLoss, matching_stages, stage_ends
from compressor.losses.attention_transfer import AttentionTransfer
from compressor.losses.fitnet import FitNet
from compressor.losses.pkt import PKT
from compressor.losses.rkd import RKD
from compressor.losses.similarity_preserving import SimilarityPreserving
from compressor.models.taps import feature_shapes
from compressor.tasks.classification import Classification
from compressor.tensors import Outputs
from tests.named import named_batch

B = 5


def feature(*shape: int, seed: int) -> Tensor:
    return torch.randn(B, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value(loss: FeatureLoss, student: Tensor, teacher: Tensor) -> float:
    return float(loss.compare(0, student.double(), teacher.double()))


def vectors(seed: int, width: int) -> tuple[Tensor, list[list[float]]]:
    rows = feature(width, seed=seed)
    return rows, rows.tolist()


def length(row: list[float]) -> float:
    return math.sqrt(sum(each * each for each in row))


def test_attention_is_the_mean_square_of_the_difference_of_unit_maps() -> None:
    student, teacher = feature(3, 2, 2, seed=0), feature(7, 2, 2, seed=1)

    def unit_map(tensor: Tensor) -> list[list[float]]:
        maps = [[sum(c[i][j] ** 2 for c in sample) for i in range(2) for j in range(2)] for sample in tensor.tolist()]
        return [[each / length(row) for each in row] for row in maps]

    mine, theirs = unit_map(student), unit_map(teacher)
    expected = sum((a - b) ** 2 for m, t in zip(mine, theirs, strict=True) for a, b in zip(m, t, strict=True)) / (B * 4)

    assert value(AttentionTransfer(), student, teacher) == pytest.approx(expected, rel=1e-9)


def test_a_larger_map_is_averaged_down() -> None:
    teacher = feature(4, 2, 2, seed=1)
    student = teacher.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    assert value(AttentionTransfer(), student, teacher) == pytest.approx(0.0, abs=1e-12)


def test_similarity_is_of_rows_of_unit_length() -> None:
    (student, mine), (teacher, theirs) = vectors(0, 6), vectors(1, 9)

    def similar(rows: list[list[float]]) -> list[list[float]]:
        products = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in rows] for one in rows]
        return [[each / length(row) for each in row] for row in products]

    a, b = similar(mine), similar(theirs)
    expected = sum((a[i][j] - b[i][j]) ** 2 for i in range(B) for j in range(B)) / B**2

    assert value(SimilarityPreserving(), student, teacher) == pytest.approx(expected, rel=1e-9)


def huber(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def test_relations_are_distances_over_their_mean_and_cosines_of_angles() -> None:
    (student, mine), (teacher, theirs) = vectors(0, 4), vectors(1, 6)

    def distances(rows: list[list[float]]) -> list[list[float]]:
        found = [[math.dist(one, other) for other in rows] for one in rows]
        mean = sum(map(sum, found)) / (B * (B - 1))
        return [[each / mean for each in row] for row in found]

    def cosine(rows: list[list[float]], i: int, j: int, k: int) -> float:
        one = [a - b for a, b in zip(rows[j], rows[i], strict=True)]
        other = [a - b for a, b in zip(rows[k], rows[i], strict=True)]
        if not any(one) or not any(other):
            return 0.0
        return sum(a * b for a, b in zip(one, other, strict=True)) / (length(one) * length(other))

    a, b = distances(mine), distances(theirs)
    far = sum(huber(a[i][j] - b[i][j]) for i in range(B) for j in range(B)) / B**2
    each = range(B)
    turned = (
        sum(huber(cosine(mine, i, j, k) - cosine(theirs, i, j, k)) for i in each for j in each for k in each) / B**3
    )

    assert value(RKD(distance=1.0, angle=0.0), student, teacher) == pytest.approx(far, rel=1e-6)
    assert value(RKD(distance=0.0, angle=1.0), student, teacher) == pytest.approx(turned, rel=1e-6)
    assert value(RKD(distance=25.0, angle=50.0), student, teacher) == pytest.approx(25 * far + 50 * turned, rel=1e-6)


def test_neighbours_are_picked_by_cosine() -> None:
    (student, mine), (teacher, theirs) = vectors(0, 4), vectors(1, 6)

    def probabilities(rows: list[list[float]]) -> list[list[float]]:
        alike = [
            [
                0.0 if i == j else (1 + sum(a * b for a, b in zip(p, q, strict=True)) / (length(p) * length(q))) / 2
                for j, q in enumerate(rows)
            ]
            for i, p in enumerate(rows)
        ]
        return [[each / sum(row) for each in row] for row in alike]

    q, p = probabilities(mine), probabilities(theirs)
    expected = sum(p[i][j] * math.log(p[i][j] / q[i][j]) for i in range(B) for j in range(B) if i != j) / B

    assert value(PKT(), student, teacher) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "loss", [RKD(), PKT(), SimilarityPreserving(), AttentionTransfer()], ids=lambda each: type(each).__name__
)
def test_features_that_are_the_teachers_cost_nothing(loss: FeatureLoss) -> None:
    same = feature(4, 3, 3, seed=0)

    assert value(loss, same, same) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("loss", [RKD(), PKT(), SimilarityPreserving()], ids=lambda each: type(each).__name__)
def test_relations_do_not_change_when_features_are_turned(loss: FeatureLoss) -> None:
    student, teacher = feature(4, seed=0), feature(6, seed=1)
    turn = torch.linalg.qr(feature(4, 4, seed=2)[0]).Q

    assert value(loss, student @ turn, teacher) == pytest.approx(value(loss, student, teacher), rel=1e-6)


def test_a_projector_can_make_any_width_fit() -> None:
    torch.manual_seed(0)
    loss = FitNet()
    loss.settle({"s": (2, 3, 4, 4)}, {"t": (2, 5, 4, 4)})
    student, teacher = feature(3, 4, 4, seed=0).float(), feature(5, 4, 4, seed=1).float() * 0.1

    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    before = float(loss.compare(0, student, teacher).detach())
    for _ in range(60):
        optimizer.zero_grad()
        loss.compare(0, student, teacher).backward()
        optimizer.step()

    assert sum(parameter.numel() for parameter in loss.parameters()) == 3 * 5 + 2 * 5
    assert float(loss.compare(0, student, teacher).detach()) < 0.2 * before


def test_hints_are_half_the_mean_square_behind_the_projector() -> None:
    loss = FitNet(pairs=[["f", "f"]])
    loss.settle({"f": (2, 4)}, {"f": (2, 4)})
    projector = loss.projectors[0]
    assert isinstance(projector, nn.Linear)
    student, teacher = feature(4, seed=0).float(), feature(4, seed=1).float()

    expected = 0.5 * float(((projector(student) - teacher) ** 2).mean().detach())

    assert float(loss.compare(0, student, teacher).detach()) == pytest.approx(expected, rel=1e-6)


def test_stages_are_paired_from_the_deepest_up() -> None:
    student = {"stem": (2, 8, 32, 32), "one": (2, 8, 32, 32), "two": (2, 16, 16, 16), "pool": (2, 16, 1, 1)}
    teacher = {"a": (2, 8, 64, 64), "b": (2, 16, 32, 32), "c": (2, 32, 16, 16), "head": (2, 10)}

    assert matching_stages(student, teacher, most=4, same_size=False) == (("one", "b"), ("two", "c"))
    assert matching_stages(student, teacher, most=1, same_size=False) == (("two", "c"),)
    assert matching_stages(student, teacher, most=4, same_size=True) == (("one", "b"), ("two", "c"))


def test_what_is_numbered_inside_of_a_block_is_no_block() -> None:
    """torchvision's transformers number the layers inside of each block too."""
    shapes = {
        "layers.encoder_layer_0.mlp.0": (2, 17, 32),
        "layers.encoder_layer_0.mlp.3": (2, 17, 8),
        "layers.encoder_layer_0": (2, 17, 8),
        "layers.encoder_layer_1": (2, 17, 8),
        "layers": (2, 17, 8),
    }

    assert list(stage_ends(shapes)) == ["layers.encoder_layer_0", "layers.encoder_layer_1"]


def test_queries_and_keys_inside_of_a_block_are_no_maps() -> None:
    shapes = {"patch_embed": (2, 8, 8, 8), "blocks.0.attn.q_norm": (2, 2, 65, 4), "blocks.0": (2, 65, 8)}

    assert list(stage_ends(shapes)) == ["patch_embed", "blocks.0"]


@pytest.mark.parametrize("kind", [FitNet, AttentionTransfer])
@pytest.mark.parametrize("others", [(2, 17, 8), (2, 8, 4, 4)], ids=["other tokens", "a map"])
def test_features_without_places_in_common_are_refused_before_training(
    kind: type[FeatureLoss], others: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError, match="have no places in common") as told:
        kind(pairs=[["a", "b"]]).settle({"a": (2, 5, 8)}, {"b": others})

    assert "--loss rkd" in str(told.value.hint)


def test_attention_of_several_stages_adds_up() -> None:
    features = {path: feature(4, 3, 3, seed=seed).float() for seed, path in enumerate(("a", "b", "c", "d"))}
    one, other = AttentionTransfer(pairs=[["a", "b"]]), AttentionTransfer(pairs=[["c", "d"]])
    both = AttentionTransfer(pairs=[["a", "b"], ["c", "d"]])
    shapes = {path: tuple(each.shape) for path, each in features.items()}
    answer = Outputs.of(torch.zeros(B, 2), features)
    batch = named_batch(torch.zeros(B, 1), torch.zeros(B, dtype=torch.int64), torch.arange(B), -1, Classification())
    for loss in (one, other, both):
        loss.settle(shapes, shapes)

    assert both(answer, answer, batch) == pytest.approx(one(answer, answer, batch) + other(answer, answer, batch))


def test_samples_with_one_embedding_do_not_pull_without_bounds() -> None:
    student = feature(8, seed=0).float()
    student[1] = student[0]
    student.requires_grad_()

    RKD().compare(0, student, feature(8, seed=1).float()).backward()

    assert float(student.grad.abs().max()) < 1e5  # type: ignore[union-attr]


def test_maps_with_the_channels_last_are_left_out() -> None:
    assert list(stage_ends({"swin": (2, 7, 7, 96), "conv": (2, 96, 7, 7), "wide": (2, 7, 7, 7)})) == ["wide"]


def test_a_map_is_paired_with_tokens_only_where_samples_are_compared() -> None:
    maps, tokens = {"layer": (2, 16, 4, 4)}, {"blocks.0": (2, 17, 8)}

    assert matching_stages(maps, tokens, most=1, same_size=False, any_kind=True) == (("layer", "blocks.0"),)
    with pytest.raises(ModelError, match="no features that could be paired"):
        matching_stages(maps, tokens, most=1, same_size=False)


def shapes_of(name: str, **options: object) -> dict[str, tuple[int, ...]]:
    return feature_shapes(timm.create_model(name, num_classes=3, **options), torch.zeros(2, 3, 64, 64))


RESNET = ["act1", "layer1", "layer2", "layer3", "layer4"]
SMALL = {"img_size": 64, "patch_size": 16, "embed_dim": 24, "num_heads": 3}


def test_networks_of_one_architecture_are_paired_module_by_module() -> None:
    for name in ("resnet18", "mobilenetv3_small_050"):
        shapes = shapes_of(name)
        pairs = matching_stages(shapes, shapes, most=4, same_size=False)
        assert len(pairs) >= 3
        assert all(mine == theirs for mine, theirs in pairs)


def test_the_stages_of_timms_convolutional_networks_are_found_and_paired_by_depth() -> None:
    student, teacher = shapes_of("mobilenetv3_small_050"), shapes_of("resnet18")
    assert list(stage_ends(teacher)) == RESNET

    pairs = matching_stages(student, teacher, most=4, same_size=False)

    assert [theirs for _, theirs in pairs] == RESNET[1:]
    assert [student[mine][2:] for mine, _ in pairs] == [teacher[theirs][2:] for _, theirs in pairs]
    assert matching_stages(student, teacher, most=4, same_size=True) == pairs


def test_blocks_of_transformers_are_paired_from_the_last() -> None:
    student = shapes_of("deit_tiny_patch16_224", depth=2, **SMALL)
    teacher = shapes_of("deit_tiny_patch16_224", depth=6, **SMALL)

    pairs = matching_stages(student, teacher, most=4, same_size=False)

    assert pairs == (("blocks.0", "blocks.4"), ("blocks.1", "blocks.5"))


@pytest.mark.parametrize("loss", [RKD(), PKT(), SimilarityPreserving()], ids=lambda each: type(each).__name__)
def test_a_convolutional_student_can_learn_relations_from_a_transformer(loss: FeatureLoss) -> None:
    student, teacher = shapes_of("resnet18"), shapes_of("deit_tiny_patch16_224", depth=2, **SMALL)

    loss.settle(student, teacher)

    assert loss.pairs == (("layer4", "blocks.1"),)


def test_networks_without_features_cannot_be_paired() -> None:
    with pytest.raises(ModelError, match="no features that could be paired"):
        matching_stages({"fc": (2, 10)}, {"fc": (2, 10)}, most=2, same_size=False)


def test_shapes_of_features_come_in_the_order_modules_finish() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), nn.Flatten(), nn.Linear(36, 3)
    )
    network.train()

    shapes = feature_shapes(network, torch.zeros(2, 1, 8, 8))

    assert list(shapes) == ["0", "1.0", "1.1", "1", "2", "3"]
    assert (shapes["1"], shapes["3"]) == ((2, 4, 3, 3), (2, 3))
    assert network.training
