"""Data from a user's function."""

import numpy as np
import pytest

from compressor.data.formats.py import py
from compressor.errors import DataError
from tests.named import labels_of, shape_of

SOURCE = """
import numpy as np
from compressor.data.samples import ArraySamples, Splits

def arrays():
    return {"x": np.zeros((4, 8, 8, 3), np.uint8), "y": [0, 1, 0, 1]}

def splits():
    samples = ArraySamples({"features": np.zeros((2, 3), np.float32)}, np.array([0, 1]))
    return Splits(("a", "b"), samples, None, None, "f00d")

def number():
    return 7

def broken():
    raise KeyError("mine")
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.py").write_text(SOURCE)
    return tmp_path / "mine.py"


def test_a_dict_of_arrays_is_read_like_an_npz(file):
    assert shape_of(py(f"{file}:arrays").train) == (3, 8, 8)


def test_splits_are_taken_as_they_are(file):
    assert py(f"{file}:splits").fingerprint == "f00d"


def test_what_the_function_raises_is_told_with_its_file(file):
    with pytest.raises(DataError, match=r"mine\.py: broken\(\) fails: KeyError: 'mine'"):
        py(f"{file}:broken")


@pytest.mark.parametrize(
    ("attr", "message"),
    [("number", r"number\(\) returned a int"), ("absent", "has no function 'absent'"), ("np", "np")],
)
def test_a_function_that_gives_no_data_is_refused(file, attr, message):
    with pytest.raises(DataError, match=message):
        py(f"{file}:{attr}")


@pytest.mark.parametrize("target", ["mine.py", "mine.py:"])
def test_a_target_without_a_function_says_how_to_write_it(target):
    with pytest.raises(DataError, match=r"names no function.*py:FILE.py:callable"):
        py(target)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.py: no such file"):
        py(f"{tmp_path / 'absent.py'}:make")


def test_the_arrays_are_the_ones_of_the_function(file):
    assert np.array_equal(labels_of(py(f"{file}:arrays").train), [0, 1, 0, 1])
