"""MNIST's form of files, whole and damaged."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from compressor.data.formats.idx import idx
from compressor.errors import DataError
from tests.named import inputs_of, shape_of


def _encode(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def _write(folder, split, number, *, end=""):
    pixels = np.arange(number * 6, dtype=np.uint8).reshape(number, 2, 3)
    labels = (np.arange(number) % 3).astype(np.uint8)
    pack = gzip.compress if end else bytes
    (folder / f"{split}-images-idx3-ubyte{end}").write_bytes(pack(_encode(pixels)))
    (folder / f"{split}-labels-idx1-ubyte{end}").write_bytes(pack(_encode(labels)))


@pytest.mark.parametrize("end", ["", ".gz"])
def test_training_and_test_files_are_read_plain_or_compressed(tmp_path, end):
    _write(tmp_path, "train", 7, end=end)
    _write(tmp_path, "t10k", 4, end=end)

    splits = idx(tmp_path)

    assert (len(splits.train), len(splits.test)) == (7, 4)
    assert shape_of(splits.train) == (1, 2, 3)
    assert inputs_of(splits.train, np.array([1])).ravel().tolist() == [6, 7, 8, 9, 10, 11]
    assert splits.classes == ("0", "1", "2")


def test_the_fingerprint_does_not_depend_on_compression(tmp_path):
    for folder, end in (("a", ""), ("b", ".gz")):
        (tmp_path / folder).mkdir()
        _write(tmp_path / folder, "train", 7, end=end)

    assert idx(tmp_path / "a").fingerprint == idx(tmp_path / "b").fingerprint


def test_classes_may_be_named(tmp_path):
    _write(tmp_path, "train", 7)

    assert idx(tmp_path, classes="shirt, shoe,bag").classes == ("shirt", "shoe", "bag")
    with pytest.raises(DataError, match="2 class names for labels from 0 to 2"):
        idx(tmp_path, classes="shirt,shoe")


def test_a_set_without_test_files_has_no_test_split(tmp_path):
    _write(tmp_path, "train", 7)

    assert idx(tmp_path).test is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-2], r"train-images-idx3-ubyte: its header promises 42 bytes \(7, 2, 3\), it holds 40"),
        (lambda raw: raw + b"!", "promises 42 bytes .* it holds 43"),
        (lambda raw: b"\1" + raw[1:], "not an idx file"),
        (lambda raw: raw[:9], "not an idx file"),
        (lambda raw: raw[:2] + b"\x0d" + raw[3:], "numbers of type 0x0d"),
        (lambda raw: raw[:3] + b"\1" + raw[4:], "has 1 axes where 3 are due"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, damage, message):
    _write(tmp_path, "train", 7)
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(DataError, match=message):
        idx(tmp_path)


def test_a_compressed_file_cut_short_is_named(tmp_path):
    _write(tmp_path, "train", 7, end=".gz")
    file = tmp_path / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-10])

    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz: cannot be read"):
        idx(tmp_path)


def _compressed_images(folder, header, content):
    _write(folder, "train", 7, end=".gz")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + content))


def test_no_more_is_unpacked_than_the_header_promises(tmp_path):
    _compressed_images(tmp_path, struct.pack(">BBBB3I", 0, 0, 8, 3, 7, 2, 3), bytes(50_000_000))

    tracemalloc.start()
    with pytest.raises(DataError, match=r"promises 42 bytes \(7, 2, 3\), it holds more than 42"):
        idx(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 5_000_000


def test_a_header_that_promises_gigabytes_is_refused_before_anything_is_unpacked(tmp_path):
    _compressed_images(tmp_path, struct.pack(">BBBB3I", 0, 0, 8, 3, 8_800_000, 28, 28), bytes(1000))

    with pytest.raises(DataError, match=r"would unpack from .* to 6.9 GB"):
        idx(tmp_path)


def test_a_compressed_file_whose_content_was_damaged_is_named(tmp_path):
    _write(tmp_path, "train", 7, end=".gz")
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = bytearray(file.read_bytes())
    whole[-6] ^= 1  # of the checksum at its end
    file.write_bytes(whole)

    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
        idx(tmp_path)


def test_counts_that_disagree_are_told(tmp_path):
    _write(tmp_path, "train", 7)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(_encode(np.zeros(5, np.uint8)))

    with pytest.raises(DataError, match="train images hold 7 samples, train labels 5"):
        idx(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="holds no train-images-idx3-ubyte"):
        idx(tmp_path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_header_that_promises_more_than_memory_is_refused_before_any_is_taken(tmp_path, end):
    _write(tmp_path, "train", 7, end=end)
    file = tmp_path / f"train-images-idx3-ubyte{end}"
    header = struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**16, 2**16)
    file.write_bytes((gzip.compress if end else bytes)(header + b"1234"))

    with pytest.raises(DataError, match="would unpack from" if end else "its header promises"):
        idx(tmp_path)
