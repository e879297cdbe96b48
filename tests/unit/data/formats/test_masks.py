"""Pictures beside masks: layouts, numbers and colors, what is ignored, and every bad set in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from compressor.data.formats.masks import masks
from compressor.errors import DataError

EVERY = np.arange(2)


def picture(file, *, size=(8, 6), color=(10, 20, 30)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(file)


def mask(file, rows, *, palette=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(rows, np.uint8))
    if palette is not None:
        image.putpalette(palette)
    image.save(file)


def numbers(*, value=0, other=1, size=(8, 6)):
    rows = np.full(size[::-1], value, np.uint8)
    rows[:, size[0] // 2 :] = other
    return rows


def camvid(folder, *, classes="road\nsky\n", rows=None):
    for split in ("train", "test"):
        for name in ("a", "b"):
            picture(folder / split / f"{name}.jpg")
            mask(folder / f"{split}_mask" / f"{name}.png", numbers() if rows is None else rows)
    (folder / "classes.txt").write_text(classes, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("of_picture", "of_mask"),
    [
        ("train/{}.jpg", "train_mask/{}.png"),
        ("train/{}.jpg", "trainannot/{}.png"),
        ("train/images/{}.jpg", "train/masks/{}.png"),
        ("images/train/{}.jpg", "masks/train/{}.png"),
        ("images/{}.jpg", "labels/{}.png"),
        ("{}.jpg", "{}_mask.png"),
        ("train/{}.png", "train/{}_gt.png"),
    ],
)
def test_masks_are_found_in_every_usual_place(tmp_path, of_picture, of_mask):
    for name in ("a", "b"):
        picture(tmp_path / of_picture.format(name))
        mask(tmp_path / of_mask.format(name), numbers())

    found = masks(tmp_path)

    assert len(found.train) == 2
    assert found.classes == ("class 0", "class 1")
    assert found.train.fetch(EVERY)["image"].shape == (2, 3, 6, 8)
    np.testing.assert_array_equal(found.train.fetch_targets(EVERY)["mask"][0], numbers())


def test_the_number_behind_the_last_class_and_255_count_for_nothing(tmp_path):
    found = masks(camvid(tmp_path, rows=numbers(value=2, other=255)))

    assert (found.train.fetch_targets(EVERY)["mask"] == 255).all()
    assert "behind the last class" in str(found.decisions[0])


def test_a_last_line_void_is_no_class(tmp_path):
    found = masks(camvid(tmp_path, classes="road\nsky\nvoid\n", rows=numbers(value=2, other=1)))

    assert found.classes == ("road", "sky")
    assert set(np.unique(found.train.fetch_targets(EVERY)["mask"])) == {1, 255}


def test_a_stated_number_is_ignored(tmp_path):
    found = masks(camvid(tmp_path, rows=numbers(value=7)), ignore=7)

    assert set(np.unique(found.train.fetch_targets(EVERY)["mask"])) == {1, 255}


def test_masks_of_0_and_255_alone_are_two_classes(tmp_path):
    found = masks(camvid(tmp_path, rows=numbers(other=255)))

    assert set(np.unique(found.train.fetch_targets(EVERY)["mask"])) == {0, 1}
    assert found.decisions[0].choice == "255 is class 1"


def test_a_palette_is_read_by_its_indices(tmp_path):
    folder = camvid(tmp_path)
    for name in ("a", "b"):
        mask(folder / "train_mask" / f"{name}.png", numbers(), palette=[200, 0, 0, 0, 200, 0])

    np.testing.assert_array_equal(masks(folder).train.fetch_targets(EVERY)["mask"][1], numbers())


def test_colors_are_read_by_classes_txt(tmp_path):
    colors = np.array([(128, 64, 128), (0, 0, 0)], np.uint8)
    folder = camvid(tmp_path, classes="road 128 64 128\nvoid 0 0 0\n", rows=colors[numbers()])

    found = masks(folder)

    assert found.classes == ("road",)
    np.testing.assert_array_equal(found.test.fetch_targets(EVERY)["mask"][0], np.where(numbers() == 0, 0, 255))


def test_pictures_and_masks_are_brought_to_a_size_together(tmp_path):
    found = masks(camvid(tmp_path), width=4, height=3)

    assert found.train.fetch(EVERY)["image"].shape == (2, 3, 3, 4)
    np.testing.assert_array_equal(found.train.fetch_targets(EVERY)["mask"][0], numbers(size=(4, 3)))


def test_pictures_that_cannot_be_read_are_left_out_and_named(tmp_path):
    folder = camvid(tmp_path)
    (folder / "train" / "b.jpg").write_bytes(b"no picture")

    found = masks(folder)

    assert len(found.train) == 1
    assert found.unreadable == ("train/b.jpg",)


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path):
    one, same, other = (camvid(tmp_path / name) for name in ("one", "same", "other"))
    mask(other / "train_mask" / "b.png", numbers(value=1))

    assert masks(one).fingerprint == masks(same).fingerprint != masks(other).fingerprint


def break_it(folder, how):
    if how == "missing":
        (folder / "train_mask" / "b.png").unlink()
    elif how == "size":
        mask(folder / "train_mask" / "b.png", numbers(size=(4, 4)))
    elif how == "range":
        mask(folder / "train_mask" / "b.png", numbers(value=9))
    elif how == "colors":
        mask(folder / "train_mask" / "b.png", np.stack([numbers(), numbers(), numbers(value=5)], axis=2))
    elif how == "twice":
        (folder / "classes.txt").write_text("road\nroad\n", encoding="utf-8")
    elif how == "empty":
        for file in (folder / "test").iterdir():
            file.unlink()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("missing", r"train/b.jpg: has no mask"),
        ("size", r"b.png: is 4 x 4, and its picture b.jpg 8 x 6"),
        ("range", r"b.png: holds 9, and there are 2 classes, 0 to 1"),
        ("colors", r"b.png: is a mask of colors"),
        ("twice", r"'road' is listed twice"),
        ("empty", r"no pictures with masks for test"),
    ],
)
def test_a_bad_set_is_told_in_one_sentence_with_the_file(tmp_path, how, told):
    folder = camvid(tmp_path)
    break_it(folder, how)

    with pytest.raises(DataError, match=told):
        masks(folder)


def test_thumbnails_that_a_file_server_left_are_no_pictures_without_a_mask(tmp_path):
    camvid(tmp_path)
    picture(tmp_path / "train" / "@eaDir" / "a.jpg" / "SYNOPHOTO_THUMB_M.jpg")
    mask(tmp_path / "train_mask" / "__MACOSX" / "z.png", numbers())

    assert len(masks(tmp_path).train) == 2
