"""Folders of image files: layouts, decoding, damage."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from compressor import caches
from compressor.data.formats import _pixel_store
from compressor.data.formats import images as module
from compressor.data.formats._image_files import FileSamples, decode
from compressor.data.formats.images import images
from compressor.errors import DataError
from tests.named import inputs_of, labels_of, shape_of


def _paint(file, colour=(200, 0, 0), size=(12, 10), **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(file, **options)


@pytest.fixture
def flowers(tmp_path):
    for label, colour in (("daisy", (250, 250, 250)), ("rose", (200, 0, 0))):
        for number in range(3):
            _paint(tmp_path / "flowers" / label / f"{number}.png", colour)
    return tmp_path / "flowers"


def test_class_folders_alone_are_all_training(flowers):
    splits = images(flowers)

    assert splits.classes == ("daisy", "rose")
    assert labels_of(splits.train).tolist() == [0, 0, 0, 1, 1, 1]
    assert shape_of(splits.train) == (3, 10, 10)
    assert inputs_of(splits.train, np.array([5]))[0, :, 5, 5].tolist() == [200, 0, 0]
    assert splits.test is None


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("train", "valid", "test"),
        ("train", "validation", "test"),
        ("Training", "Val", "Testing"),
        ("TRAIN", "Validation", "Test"),
    ],
)
def test_train_val_and_test_folders_are_splits(tmp_path, names):
    for split in names:
        for label in ("a", "b"):
            _paint(tmp_path / split / label / "x.png")

    splits = images(tmp_path)

    assert splits.classes == ("a", "b")
    assert [len(samples) for samples in (splits.train, splits.val, splits.test)] == [2, 2, 2]


def test_a_class_may_be_called_train(tmp_path):
    for label in ("bus", "train"):
        _paint(tmp_path / label / "x.png")

    assert images(tmp_path).classes == ("bus", "train")


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".bmp", ".webp", ".gif", ".tiff"])
def test_every_usual_file_type_is_read(flowers, suffix):
    _paint(flowers / "rose" / f"new{suffix}")

    splits = images(flowers)

    assert len(splits.train) == 7
    assert abs(int(inputs_of(splits.train, np.array([6]))[0, 0, 5, 5]) - 200) < 5


def test_hidden_files_and_other_files_are_ignored(flowers):
    (flowers / "rose" / "notes.txt").write_text("red")
    (flowers / "rose" / ".hidden.png").write_bytes(b"")
    (flowers / ".cache").mkdir()

    splits = images(flowers)

    assert len(splits.train) == 6
    assert splits.unreadable == ()


def test_unreadable_images_are_left_out_by_name(flowers):
    (flowers / "daisy" / "1.png").write_bytes(b"no image")
    whole = (flowers / "rose" / "0.png").read_bytes()
    (flowers / "rose" / "0.png").write_bytes(whole[: len(whole) - 20])

    splits = images(flowers)

    assert splits.unreadable == ("daisy/1.png", "rose/0.png")
    assert labels_of(splits.train).tolist() == [0, 0, 1, 1]
    assert inputs_of(splits.train, np.array([2]))[0, 0, 0, 0] == 200


def test_a_set_that_is_streamed_gives_the_same_pixels(flowers, monkeypatch):
    (flowers / "daisy" / "1.png").write_bytes(b"no image")
    stored = images(flowers)
    monkeypatch.setattr(module, "STORED_BYTES", 1000)

    streamed = images(flowers)

    everything = np.arange(5)
    assert np.array_equal(inputs_of(streamed.train, everything), inputs_of(stored.train, everything))
    assert labels_of(streamed.train).tolist() == labels_of(stored.train).tolist()
    assert streamed.unreadable == stored.unreadable == ("daisy/1.png",)
    assert [d.choice for d in stored.decisions] == ["10", "once"]
    assert [d.choice for d in streamed.decisions][:2] == ["10", "stream"]


def test_the_second_opening_reads_no_picture(flowers, monkeypatch):
    first = images(flowers)
    monkeypatch.setattr(_pixel_store, "decode", None)  # any use of it would fail

    second = images(flowers)

    assert "were found decoded" in second.decisions[1].reason
    assert second.fingerprint == first.fingerprint
    assert np.array_equal(inputs_of(second.train, np.arange(6)), inputs_of(first.train, np.arange(6)))


def test_a_changed_file_is_decoded_again(flowers):
    before = images(flowers)
    _paint(flowers / "rose" / "0.png", (77, 0, 0))

    after = images(flowers)

    assert after.fingerprint != before.fingerprint
    assert inputs_of(after.train, np.array([3]))[0, 0, 0, 0] == 77


def test_a_damaged_picture_in_the_store_is_decoded_again(flowers):
    expected = inputs_of(images(flowers).train, np.arange(6))
    (pixels,) = caches.root().glob("pixels/*/pixels.bin")
    damaged = bytearray(pixels.read_bytes())
    damaged[310] ^= 0xFF
    pixels.write_bytes(damaged)

    assert np.array_equal(inputs_of(images(flowers).train, np.arange(6)), expected)
    assert pixels.read_bytes() != bytes(damaged)


@pytest.mark.parametrize("name", ["pixels.bin", "meta.npz"])
@pytest.mark.parametrize("keep", [0, 40])
def test_a_store_cut_short_is_made_again(flowers, name, keep):
    expected = inputs_of(images(flowers).train, np.arange(6))
    (part,) = caches.root().glob(f"pixels/*/{name}")
    part.write_bytes(part.read_bytes()[:keep])

    again = images(flowers)

    assert "have been decoded for this run" in again.decisions[1].reason
    assert np.array_equal(inputs_of(again.train, np.arange(6)), expected)


def test_a_picture_damaged_in_the_store_whose_file_is_gone_is_named(flowers):
    opened = images(flowers)
    (pixels,) = caches.root().glob("pixels/*/pixels.bin")
    pixels.write_bytes(bytes(pixels.stat().st_size))
    (flowers / "rose" / "0.png").unlink()

    with pytest.raises(DataError, match=r"rose/0\.png: could be read when it was decoded"):
        inputs_of(opened.train, np.array([3]))


def test_without_room_for_a_store_the_set_is_streamed(flowers, monkeypatch):
    monkeypatch.setattr(module, "room_for", lambda *_: False)
    opened = images(flowers)
    assert opened.decisions[1].choice == "stream"
    assert "more than is left on the disk" in opened.decisions[1].reason


def test_a_store_that_cannot_be_written_is_done_without(flowers, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "file"))
    opened = images(flowers)
    assert opened.decisions[1].choice == "stream"
    assert inputs_of(opened.train, np.array([0])).shape == (1, 3, 10, 10)


def test_a_way_to_decode_that_does_not_exist_is_told(flowers):
    with pytest.raises(DataError, match="'twice' is no way to decode images"):
        images(flowers, decode="twice")


def test_a_file_that_vanishes_after_opening_is_named(tmp_path):
    samples = FileSamples(lambda _: tmp_path / "gone.png", np.array([0]), side=4)

    with pytest.raises(DataError, match=r"gone\.png: cannot be read"):
        inputs_of(samples, np.array([0]))


def test_the_size_is_the_median_short_side_unless_stated(flowers):
    _paint(flowers / "rose" / "large.png", size=(500, 400))

    automatic, stated = images(flowers), images(flowers, image_size=6)

    assert shape_of(automatic.train) == (3, 10, 10)
    assert "median short side of 7 images is 10" in automatic.decisions[0].reason
    assert shape_of(stated.train) == (3, 6, 6)
    assert [d.what for d in stated.decisions] == ["data.options.decode"]


def test_the_automatic_size_is_at_most_224(tmp_path):
    for label in ("a", "b"):
        _paint(tmp_path / label / "x.png", size=(300, 260))

    assert shape_of(images(tmp_path).train) == (3, 224, 224)


def test_the_centre_is_kept_when_an_image_is_not_square(tmp_path):
    wide = Image.new("RGB", (30, 10), (255, 255, 255))
    wide.paste((0, 0, 0), (10, 0, 20, 10))
    wide.save(tmp_path / "wide.png")

    assert decode((tmp_path / "wide.png").read_bytes(), side=10).max() == 0


def test_the_orientation_in_the_exif_data_is_applied(tmp_path):
    image = Image.new("RGB", (16, 16), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "turned.png", exif=exif)

    pixels = decode((tmp_path / "turned.png").read_bytes(), side=16)

    assert (pixels[0, 0, 0], pixels[0, 15, 0]) == (0, 255)


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "deep.png")

    assert np.unique(decode((tmp_path / "deep.png").read_bytes(), side=8)).tolist() == [128]


def test_pixels_without_a_known_range_count_as_unreadable(flowers):
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(flowers / "rose" / "float.tiff")

    assert images(flowers).unreadable == ("rose/float.tiff",)


def test_the_fingerprint_follows_content_and_not_the_place(flowers, tmp_path):
    first = images(flowers).fingerprint

    moved = flowers.rename(tmp_path / "elsewhere")
    assert images(moved).fingerprint == first
    assert images(moved, image_size=6).fingerprint != first
    _paint(moved / "rose" / "0.png", (201, 0, 0))
    assert images(moved).fingerprint != first


def test_an_empty_class_folder_is_named(flowers):
    (flowers / "tulip").mkdir()

    with pytest.raises(DataError, match="no images in tulip"):
        images(flowers)


@pytest.mark.parametrize(
    ("places", "message", "hint"),
    [
        (("photos/cat", "photos/dog"), r"photos: no class.*\(cat, dog\)", "write images:{}/photos"),
        (("train/x/cat", "train/x/dog", "test/cat"), r"train: x: no class", "move cat, dog one folder up"),
        (("learn/cat", "judge/cat"), r"judge, learn: no class.*\(cat\)", "splits are called train/, val/ and test/"),
    ],
)
def test_a_folder_of_folders_is_no_class(tmp_path, places, message, hint):
    for place in places:
        _paint(tmp_path / place / "x.png")

    with pytest.raises(DataError, match=message) as told:
        images(tmp_path)

    assert hint.format(tmp_path) in (told.value.hint or "")


def test_deeper_folders_of_a_class_count_too(flowers):
    _paint(flowers / "rose" / "2024" / "x.png")
    _paint(flowers / "tulip" / "2023" / "x.png")

    assert labels_of(images(flowers).train).tolist() == [0, 0, 0, 1, 1, 1, 1, 2]


def test_class_sets_that_differ_between_splits_are_told(tmp_path):
    for place in ("train/a", "train/b", "test/a", "test/c"):
        _paint(tmp_path / place / "x.png")

    with pytest.raises(DataError, match="test: lacks b and has c, unlike train/"):
        images(tmp_path)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (("val/a", "test/a"), "holds test, val but no train/"),
        (("train/a", "val/a", "valid/a"), "holds both 'val' and 'valid'"),
        (("train/a", "extra/a"), "holds 'extra' beside train/"),
        (("train/a", "test"), "test: holds no class folders"),
        ((".",), "holds no class folders"),
    ],
)
def test_folders_that_make_no_splits_are_told(tmp_path, places, message):
    for place in places:
        _paint(tmp_path / place / "x.png")

    with pytest.raises(DataError, match=message):
        images(tmp_path)


def test_a_set_without_one_readable_image_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"")

    with pytest.raises(DataError, match="none of 1 images looked at can be read"):
        images(tmp_path)


def test_a_file_and_a_negative_size_are_refused(flowers):
    with pytest.raises(DataError, match="is not a folder"):
        images(flowers / "rose" / "0.png")
    with pytest.raises(DataError, match="-3 is no size"):
        images(flowers, image_size=-3)


@pytest.mark.parametrize("left", ["@eaDir", "__MACOSX", ".ipynb_checkpoints", "#recycle"])
@pytest.mark.parametrize("place", ["", "test", "test/rose", "test/rose/deep"])
@pytest.mark.parametrize("labels", [True, False])
def test_thumbnails_and_copies_that_others_left_are_no_samples_and_are_counted(tmp_path, left, place, labels):
    for name in ("train/daisy/1.png", "train/rose/1.png", "test/daisy/1.png", "test/rose/1.png"):
        _paint(tmp_path / name)
    _paint(tmp_path / place / left / "1.png" / "SYNOPHOTO_THUMB_M.jpg")
    _paint(tmp_path / place / left / "2.jpg")

    splits = images(tmp_path, labels=labels)

    assert splits.classes == (("daisy", "rose") if labels else ())
    assert (len(splits.train), len(splits.test)) == (2, 2)
    (told,) = [decision.choice for decision in splits.decisions if decision.what == "files left out"]
    assert told == f"2 pictures in {left}"


def test_files_that_are_not_read_are_counted_by_their_kind(flowers):
    for number in range(3):
        (flowers / "rose" / f"{number}.HEIC").write_bytes(b"x")
    (flowers / "daisy" / "notes.txt").write_text("x", encoding="utf-8")
    (flowers / "daisy" / "Thumbs.db").write_bytes(b"x")
    _paint(flowers / "loose.png")

    splits = images(flowers)

    assert len(splits.train) == 6
    (told,) = [decision for decision in splits.decisions if decision.what == "files left out"]
    assert told.choice == "3 .heic files, 1 .txt files, 1 pictures in no class folder"
    assert ".jpg" in told.reason


def test_a_class_of_files_that_are_not_read_says_what_it_holds(flowers):
    (flowers / "tulip").mkdir()
    (flowers / "tulip" / "1.heic").write_bytes(b"x")
    with pytest.raises(DataError, match="no images in tulip") as told:
        images(flowers)
    assert told.value.hint == "1 .heic files are not read: convert them to JPEG or PNG, or remove the folder"


def test_a_folder_of_pictures_alone_has_nothing_to_say(flowers):
    assert "files left out" not in [decision.what for decision in images(flowers).decisions]


def _png_that_says(width, height):
    """The head of a picture of that size, with next to nothing behind it."""
    whole = io.BytesIO()
    Image.new("L", (1, 1)).save(whole, "PNG")
    content = whole.getvalue()
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


@pytest.mark.parametrize("decode", ["once", "stream"])
@pytest.mark.parametrize("side", [12_000, 60_000, 2**31 - 1])
def test_a_picture_that_would_fill_the_memory_counts_as_unreadable(tmp_path, side, decode):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "cat" / "bomb.png").write_bytes(_png_that_says(side, side))

    splits = images(tmp_path, decode=decode, image_size=8)

    assert splits.unreadable
    assert inputs_of(splits.train, np.arange(len(splits.train))).shape[1:] == (3, 8, 8)
