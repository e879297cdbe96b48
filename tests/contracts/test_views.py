"""What every member of `views` must do; a new file joins because it exists."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from torch import Tensor

from compressor import registry
from compressor.data.loader import LoadedBatch
from compressor.errors import CompressError
from compressor.recipe import ViewSettings
from compressor.tensors import IGNORED, MASK, Schema, TensorSpec
from compressor.views._compose import Views, resolve
from compressor.views._contract import MOVED, SPOILED, MixingView, View
from tests.named import loaded_batch

MEMBERS = registry.members("views")
NAME = operator.attrgetter("name")
STATED: dict[str, Any] = {"crop": 3, "flip": True, "rand_augment": 2}
USUAL = 0.7
PICTURE = TensorSpec("image", "uint8", (3, 24, 24))
NUMBERS = TensorSpec("features", "float32", (5,))
MASKS = TensorSpec(MASK, "uint8", ("height", "width"))


def of(member: registry.Member, *, inputs: Schema, targets: Schema | None = None) -> Views:
    """This view and no other."""
    off = {"crop": 0, "flip": False}
    stated = STATED.get(member.name, USUAL)
    return resolve(ViewSettings(**{**off, member.name: stated}), inputs=inputs, targets=targets)[0]


def pictures(count: int = 12) -> Tensor:
    return torch.randint(0, 256, (count, 3, 24, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def shown(views: Views, images: Tensor, ids: Tensor, *, view: int = 1, seed: int = 3) -> Tensor:
    partners = None
    if views.mixes:
        chosen = torch.from_numpy(views.partners(ids.numpy(), view=view, seed=seed, num_samples=len(images)))
        partners = loaded_batch(images[chosen], chosen % 10, chosen)
    inputs, _ = views.show(loaded_batch(images[ids], ids % 10, ids, partners), view=view, seed=seed)
    return inputs["image"]


@pytest.fixture(params=MEMBERS, ids=NAME)
def member(request: pytest.FixtureRequest) -> registry.Member:
    found: registry.Member = request.param
    return found


def test_there_are_members_and_each_has_a_field_of_its_name_and_each_field_a_member() -> None:
    options = {option.name for member in MEMBERS for option in member.options[1:]}

    assert MEMBERS
    assert {member.name for member in MEMBERS} | options | {"own", "count", "seed"} == set(ViewSettings.model_fields)


def test_a_member_says_in_its_class_what_becomes_of_masks(member: registry.Member) -> None:
    made = member.load()

    assert issubclass(made, View | MixingView)
    assert set(made.targets.values()) <= {"moved", "unsure", "spoiled"}


def test_a_view_of_a_sample_hangs_on_nothing_but_seed_view_and_sample(member: registry.Member) -> None:
    views, images, ids = of(member, inputs=Schema.of(PICTURE)), pictures(), torch.arange(12)
    whole = shown(views, images, ids)

    for rows in (torch.tensor([5]), torch.tensor([11, 0, 7]), ids.flip(0)):
        assert torch.equal(shown(views, images, rows), whole[rows])
    assert not torch.equal(whole, shown(views, images, ids, view=2))
    assert not torch.equal(whole, shown(views, images, ids, seed=4))


@pytest.mark.parametrize("member", [each for each in MEMBERS if each.load().targets.get(MASK) == MOVED], ids=NAME)
def test_a_mask_that_equals_its_picture_still_does_after_a_view_that_moves_it(member: registry.Member) -> None:
    views = of(member, inputs=Schema.of(PICTURE), targets=Schema.of(MASKS))
    coarse = torch.randint(0, 4, (8, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    mask = coarse.repeat_interleave(6, dim=1).repeat_interleave(6, dim=2)
    images = 60 * mask[:, None].repeat(1, 3, 1, 1)
    every = torch.arange(8)
    batch = LoadedBatch({"image": images}, {MASK: mask}, torch.ones(8, dtype=torch.bool), every, None)

    inputs, _ = views.show(batch, view=0, seed=0)
    moved = views.targets(batch, view=0, seed=0)[MASK]

    counts = moved != IGNORED
    off = (inputs["image"][:, 0].float() / 60 - moved.float()).abs()[counts]
    assert counts.float().mean() > 0.5
    assert not torch.equal(moved, mask)
    assert (off < 0.5).float().mean() > 0.8  # a resized crop blends pictures at borders, and takes the nearest of masks


@pytest.mark.parametrize("member", [each for each in MEMBERS if each.load().targets.get(MASK) == SPOILED], ids=NAME)
def test_a_view_that_would_make_masks_untrue_is_refused(member: registry.Member) -> None:
    with pytest.raises(CompressError, match="does not move the masks"):
        of(member, inputs=Schema.of(PICTURE), targets=Schema.of(MASKS))


def test_samples_that_a_view_cannot_read_are_refused_in_one_sentence(member: registry.Member) -> None:
    if member.load().__name__ == "Mixup":
        assert of(member, inputs=Schema.of(NUMBERS)).mixes
        return
    with pytest.raises(CompressError, match="samples are features float32") as caught:
        of(member, inputs=Schema.of(NUMBERS))

    assert caught.value.hint
