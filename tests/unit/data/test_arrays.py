"""Named arrays to splits: layouts, ranges, names."""

import numpy as np
import pytest

from compressor.data.arrays import fingerprint, splits_from_arrays
from compressor.data.samples import all_targets
from compressor.errors import DataError
from tests.named import inputs_of, labels_of, shape_of

LABELS = np.array([0, 1, 2, 1])


def _splits(x, y=LABELS, *, layout="auto", **others):
    return splits_from_arrays({"x_train": x, "y_train": y, **others}, layout=layout, where="a.npz")


@pytest.mark.parametrize(("shape", "chosen"), [((4, 3, 8, 8), "NCHW"), ((4, 8, 8, 3), "NHWC"), ((4, 8, 8, 1), "NHWC")])
def test_the_axis_of_size_one_or_three_holds_the_channels(shape, chosen):
    splits = _splits(np.zeros(shape, np.uint8))

    assert shape_of(splits.train) == (min(shape[1], shape[3]), 8, 8)
    assert splits.decisions[0].choice == chosen


@pytest.mark.parametrize("shape", [(4, 3, 8, 3), (4, 1, 5, 3), (4, 2, 8, 8)])
def test_a_layout_that_cannot_be_told_asks_which_to_state(shape):
    with pytest.raises(DataError, match=r"channels cannot be told.*layout = \"NCHW\" or \"NHWC\""):
        _splits(np.zeros(shape, np.uint8))


def test_a_stated_layout_is_followed_and_pixels_stay_in_place():
    images_NHWC = np.arange(4 * 2 * 5 * 3, dtype=np.uint8).reshape(4, 2, 5, 3)

    splits = _splits(images_NHWC, layout="nhwc")

    assert np.array_equal(inputs_of(splits.train, np.array([1]))[0, 2], images_NHWC[1, :, :, 2])


def test_an_unknown_layout_names_those_that_are_known():
    with pytest.raises(DataError, match=r"layout 'CHW' is unknown.*auto, NCHW, NHWC"):
        _splits(np.zeros((4, 3, 8, 8), np.uint8), layout="CHW")


def test_grey_images_without_an_axis_of_channels_get_one():
    assert shape_of(_splits(np.zeros((4, 8, 8), np.uint8)).train) == (1, 8, 8)


def test_vectors_of_any_number_type_become_float32_as_they_are():
    splits = _splits(np.array([[1, 300], [2, 0], [3, -7], [4, 9]]))

    assert inputs_of(splits.train, np.array([0])).tolist() == [[1.0, 300.0]]
    assert inputs_of(splits.train, np.array([0])).dtype == np.float32


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((4, 3, 8, 8), 1.5), "float images from 1.5 to 1.5"),
        (np.full((4, 3, 8, 8), -0.5), "float images from -0.5"),
        (np.full((4, 3, 8, 8), np.nan), "NaN"),
        (np.full((4, 5), np.inf), "infinity"),
        (np.zeros((4, 3, 8, 8), np.int64), "images of int64"),
        (np.zeros((4, 5), complex), "complex128"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
    ],
)
def test_samples_out_of_range_or_of_another_kind_are_refused(x, message):
    with pytest.raises(DataError, match=message):
        _splits(x)


def test_rows_of_zeros_and_ones_are_sets_of_classes():
    splits = _splits(
        np.zeros((4, 5)), np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]]), classes=np.array(list("abc"))
    )

    assert splits.train.targets.names == ("members",)
    assert labels_of(splits.train).tolist() == [5, 0, 2, 7]
    assert splits.classes == ("a", "b", "c")


def test_whole_numbers_in_rows_are_refused_with_the_way_out():
    with pytest.raises(DataError, match=r"y_train is int64 of shape \(4, 3\).*argmax"):
        _splits(np.zeros((4, 5)), np.full((4, 3), 2))


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_floats_are_numbers_to_be_told_and_a_target_is_a_row_of_them(shape):
    y_test = np.array([0.5, 2.0]).reshape(2, *shape[1:])
    splits = _splits(np.zeros((4, 5)), np.arange(4.0).reshape(shape), x_test=np.zeros((2, 5)), y_test=y_test)

    assert all_targets(splits.train)["values"].tolist() == [[0.0], [1.0], [2.0], [3.0]]
    assert all_targets(splits.test)["values"].tolist() == [[0.5], [2.0]]
    assert splits.classes == ("0",)


def test_a_sample_with_a_nan_has_no_target():
    splits = _splits(
        np.zeros((3, 5)), np.array([[np.nan, 1.0], [2.0, 3.0], [4.0, np.nan]]), classes=np.array(["row", "column"])
    )

    assert splits.train.labelled.tolist() == [False, True, False]
    assert all_targets(splits.train)["values"].tolist() == [[0.0, 0.0], [2.0, 3.0], [0.0, 0.0]]
    assert splits.classes == ("row", "column")


def test_other_targets_are_another_data_set():
    one, other = (_splits(np.zeros((3, 5)), np.array([0.0, 1.0, last])) for last in (2.0, 2.5))

    assert one.fingerprint != other.fingerprint


def test_targets_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"targets differ in width: train float64 \[4\], test float64 \[2, 2\]"):
        _splits(np.zeros((4, 5)), np.full(4, 0.3), x_test=np.zeros((2, 5)), y_test=np.full((2, 2), 0.3))
    with pytest.raises(DataError, match="y of the train split holds an infinity"):
        _splits(np.zeros((2, 5)), np.array([0.5, np.inf]))
    with pytest.raises(DataError, match="3 class names for targets of 2 numbers"):
        _splits(np.zeros((2, 5)), np.full((2, 2), 0.3), classes=np.array(list("abc")))


def test_sets_of_more_classes_than_a_number_has_bits_are_refused():
    with pytest.raises(DataError, match="62 at most"):
        _splits(np.zeros((4, 5)), np.zeros((4, 63), np.int64))


def test_splits_whose_sets_are_of_different_classes_are_refused():
    with pytest.raises(DataError, match="label sets of 3 and 4 classes"):
        _splits(np.zeros((4, 5)), np.ones((4, 3)), x_test=np.zeros((4, 5)), y_test=np.ones((4, 4)))


def test_labels_in_a_column_are_taken():
    assert labels_of(_splits(np.zeros((4, 5)), LABELS[:, None]).train).tolist() == LABELS.tolist()


def test_missing_names_are_told_with_those_that_are_there():
    with pytest.raises(DataError, match=r"lacks y_train; it holds features, x_train"):
        splits_from_arrays({"x_train": np.zeros((4, 5)), "features": LABELS}, layout="auto", where="a.npz")


def test_a_split_with_samples_but_no_labels_is_refused():
    with pytest.raises(DataError, match="lacks y_test"):
        _splits(np.zeros((4, 5)), x_test=np.zeros((2, 5)))


def test_samples_and_labels_of_different_number_are_told_apart_by_name():
    with pytest.raises(DataError, match="x_train holds 5 samples, y_train 4 labels"):
        _splits(np.zeros((5, 5)))


def test_classes_count_over_all_splits_and_may_have_names():
    more = {"x_test": np.zeros((1, 5)), "y_test": np.array([4])}

    assert _splits(np.zeros((4, 5)), **more).classes == ("0", "1", "2", "3", "4")
    assert _splits(np.zeros((4, 5)), classes=np.array(["a", "b", "c"])).classes == ("a", "b", "c")
    assert _splits(np.zeros((4, 5)), classes=np.array([b"a", b"b", b"c"])).classes == ("a", "b", "c")


def test_arrays_of_other_names_are_left_out_and_said_so():
    given = {"x_train": np.zeros((4, 5)), "y_train": LABELS, "y": LABELS, "notes": np.zeros(1)}

    splits = splits_from_arrays(given, layout="auto", where="a.npz")

    assert splits.decisions[-1].choice == "notes, y"
    assert splits.decisions[-1].reason == "the set is made of x_train, y_train"


def test_x_and_y_beside_a_test_set_are_the_training_samples():
    given = {"x": np.ones((4, 5)), "y": LABELS, "x_test": np.zeros((2, 5)), "y_test": LABELS[:2]}

    splits = splits_from_arrays(given, layout="auto", where="a.npz")

    assert (len(splits.train), splits.val) == (4, None)
    assert splits.test is not None
    assert labels_of(splits.test).tolist() == [0, 1]
    assert splits.decisions == ()
    with pytest.raises(DataError, match="lacks y_test"):
        splits_from_arrays({name: given[name] for name in ("x", "y", "x_test")}, layout="auto", where="a.npz")


@pytest.mark.parametrize("largest", [1_000, 10**9, 2**62])
def test_whole_numbers_far_beyond_the_samples_are_no_classes(largest):
    with pytest.raises(DataError, match=f"labels reach {largest}, and there are 4 samples.*given as floats"):
        _splits(np.zeros((4, 5)), np.array([0, 3, 5, largest]))


def test_the_fingerprint_depends_on_content_shape_and_class_names():
    x = np.arange(12, dtype=np.uint8)
    prints = {
        fingerprint({"x": x}, classes=("a",)),
        fingerprint({"x": x[::-1]}, classes=("a",)),
        fingerprint({"x": x.reshape(3, 4)}, classes=("a",)),
        fingerprint({"x": x}, classes=("b",)),
    }

    assert len(prints) == 4
    assert fingerprint({"x": x.copy()}, classes=("a",)) in prints


def test_a_split_under_another_name_is_left_out_with_the_name_it_would_be_read_by():
    arrays = {"x_train": np.zeros((4, 2)), "y_train": np.array([0, 1, 0, 1])}
    others = {"x_valid": np.zeros((2, 2)), "y_valid": np.array([0, 1])}
    splits = splits_from_arrays(arrays | others, layout="auto", where="a.npz")
    assert splits.val is None
    told = splits.decisions[-1]
    assert (told.what, told.choice) == ("arrays left out", "x_valid, y_valid")
    assert told.reason.endswith("; x_valid would be read as x_val, y_valid would be read as y_val")


def test_series_are_read_as_they_are_where_the_layout_is_stated():
    sensors = np.random.default_rng(0).normal(20.0, 30.0, (4, 3, 16))

    splits = _splits(sensors, layout="NCL")

    assert splits.train.inputs.names == ("series",)
    assert shape_of(splits.train) == (3, 16)
    assert np.array_equal(inputs_of(splits.train, np.arange(4)), sensors.astype(np.float32))
    assert splits.decisions == ()


def test_series_that_are_not_stated_to_be_are_told_how():
    with pytest.raises(DataError, match=r"float grey images from .*series \[N, C, L\].*layout = \"NCL\""):
        _splits(np.linspace(-3.0, 3.0, 4 * 3 * 16).reshape(4, 3, 16))


def test_what_is_no_series_is_refused_as_one():
    with pytest.raises(DataError, match=r"x_train has the shape \(4, 5\), and series have three axes"):
        _splits(np.zeros((4, 5)), layout="NCL")
    with pytest.raises(DataError, match="x_train holds NaN or infinity"):
        _splits(np.full((4, 3, 16), np.nan), layout="ncl")
