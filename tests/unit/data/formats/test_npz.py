"""NumPy archives, whole and damaged."""

import numpy as np
import pytest

from compressor.data.formats.npz import npz
from compressor.errors import DataError
from tests.named import shape_of


def test_all_splits_and_class_names_are_read(tmp_path):
    x, y = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1])
    np.savez(
        tmp_path / "a.npz",
        x_train=x,
        y_train=y,
        x_val=x[:2],
        y_val=y[:2],
        x_test=x[:3],
        y_test=y[:3],
        classes=["a", "b"],
    )

    splits = npz(tmp_path / "a.npz")

    assert [len(samples) for samples in (splits.train, splits.val, splits.test)] == [4, 2, 3]
    assert splits.classes == ("a", "b")
    assert shape_of(splits.train) == (3, 8, 8)


def test_a_set_without_splits_is_all_training(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.ones((4, 5)), y=np.array([0, 1, 0, 1]))

    splits = npz(tmp_path / "a.npz")

    assert len(splits.train) == 4
    assert splits.test is None


def test_the_fingerprint_does_not_depend_on_where_or_how_it_is_stored(tmp_path):
    arrays = {"x": np.ones((4, 5)), "y": np.array([0, 1, 0, 1])}
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez_compressed(tmp_path / "b.npz", **arrays)

    assert npz(tmp_path / "a.npz").fingerprint == npz(tmp_path / "b.npz").fingerprint


def test_python_objects_are_refused_not_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}, None]), y=np.array([0, 1]))

    with pytest.raises(DataError, match=r"cannot be read as a NumPy archive.*holds Python objects"):
        npz(tmp_path / "a.npz")


def test_an_archive_cut_short_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((40, 5)), y=np.arange(40))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(DataError, match=r"a\.npz: cannot be read as a NumPy archive"):
        npz(tmp_path / "a.npz")


def test_a_single_array_is_not_an_archive(tmp_path):
    with (tmp_path / "a.npz").open("wb") as stream:
        np.save(stream, np.ones(3))

    with pytest.raises(DataError, match="a single array, not an archive"):
        npz(tmp_path / "a.npz")
