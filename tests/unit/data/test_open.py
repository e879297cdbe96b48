"""Splits set apart, and data that does not fit together."""

import numpy as np
import pytest
from PIL import Image

from compressor import label_sets
from compressor.data.formats import images
from compressor.data.open import SEEN_IN_TRAINING, open_dataset, stratified_positions
from compressor.data.samples import SubsetSamples
from compressor.errors import DataError, RecipeError, UnknownNameError
from compressor.inputs._contract import only_kind
from compressor.recipe import DataSettings
from tests.named import inputs_of, labels_of


def _archive(folder, *, counts=(40, 20, 20), **others):
    y = np.repeat(np.arange(len(counts)), counts)
    x = np.arange(len(y), dtype=np.float32)[:, None]
    np.savez(folder / "a.npz", **{"x_train": x, "y_train": y, **others})
    return f"npz:{folder / 'a.npz'}"


def _values(samples):
    """What tells samples apart: the single feature of each."""
    return inputs_of(samples, np.arange(len(samples))).ravel().astype(int).tolist()


def test_splits_are_disjoint_and_lose_nothing(tmp_path):
    dataset = open_dataset(DataSettings(source=_archive(tmp_path)))

    parts = [_values(samples) for samples in (dataset.train, dataset.val, dataset.test)]
    assert [len(part) for part in parts] == [61, 7, 12]
    assert sorted(value for part in parts for value in part) == list(range(80))


def test_splits_hold_each_class_in_proportion(tmp_path):
    dataset = open_dataset(DataSettings(source=_archive(tmp_path), test_share=0.2, val_share=0.25))

    assert np.bincount(labels_of(dataset.test)).tolist() == [8, 4, 4]
    assert np.bincount(labels_of(dataset.val)).tolist() == [8, 4, 4]


def test_the_split_follows_its_seed_and_the_fingerprint_follows_the_split(tmp_path):
    source = _archive(tmp_path)

    first, again, other = (open_dataset(DataSettings(source=source, split_seed=seed)) for seed in (1, 1, 2))

    assert _values(first.test) == _values(again.test)
    assert first.fingerprint == again.fingerprint
    assert _values(first.test) != _values(other.test)
    assert first.fingerprint != other.fingerprint


def test_the_fingerprint_ignores_settings_that_change_nothing(tmp_path):
    x, y = np.zeros((3, 1)), np.arange(3)
    source = _archive(tmp_path, x_val=x, y_val=y, x_test=x, y_test=y)

    prints = {open_dataset(DataSettings(source=source, split_seed=seed)).fingerprint for seed in (0, 1)}

    assert len(prints) == 1


def test_splits_of_the_set_itself_are_kept_without_a_decision(tmp_path):
    x, y = np.zeros((3, 1)), np.arange(3)

    dataset = open_dataset(DataSettings(source=_archive(tmp_path, x_val=x, y_val=y, x_test=x, y_test=y), val_share=0))

    assert [len(samples) for samples in (dataset.train, dataset.val, dataset.test)] == [80, 3, 3]
    assert dataset.decisions == ()


def test_each_split_that_is_set_apart_says_so(tmp_path):
    dataset = open_dataset(DataSettings(source=_archive(tmp_path)))

    assert [(d.what, d.choice) for d in dataset.decisions] == [
        ("test split", "12 of 80 training samples"),
        ("val split", "7 of 68 training samples"),
    ]
    assert "data.test_share is 0.15" in dataset.decisions[0].reason


def test_no_validation_split_is_made_when_its_share_is_zero(tmp_path):
    dataset = open_dataset(DataSettings(source=_archive(tmp_path), val_share=0))

    assert dataset.val is None
    assert dataset.decisions[-1].choice == "none"


def test_subsets_read_from_the_set_directly(tmp_path):
    dataset = open_dataset(DataSettings(source=_archive(tmp_path)))

    assert isinstance(dataset.train, SubsetSamples)
    assert not isinstance(dataset.train.samples, SubsetSamples)


@pytest.mark.parametrize(("share", "number"), [(0.1, 40), (0.001, 1), (0.5, 200), (0.89, 300)])
def test_a_draw_from_many_rare_labels_has_the_wanted_size(share, number):
    labels = np.repeat(np.arange(100), 4)

    drawn = stratified_positions(labels, share=share, seed=0, stream=0)

    assert len(drawn) == number  # at 0.89, one of each label stays behind
    assert len(np.unique(drawn)) == number
    assert len(np.unique(np.delete(labels, drawn))) == 100


def test_sets_of_classes_are_drawn_at_random_and_each_class_stays_in_training(tmp_path):
    """Nearly every sample has a set that no other has, and class 39 has one sample alone."""
    members = np.random.default_rng(0).integers(0, 2, (200, 40))
    members[:, 39] = np.arange(200) == 7
    source = _archive(tmp_path, x_train=np.arange(200, dtype=np.float32)[:, None], y_train=members)

    first, other = (open_dataset(DataSettings(source=source, split_seed=seed)) for seed in (0, 1))

    assert first.describe()["sizes"] == {"train": 153, "val": 17, "test": 30}
    assert sorted(_values(first.train) + _values(first.val) + _values(first.test)) == list(range(200))
    assert _values(first.test) != _values(other.test)
    assert all(label_sets.decode(labels_of(each.train), 40).any(axis=0).all() for each in (first, other))
    assert [decision.reason.split(", ")[1] for decision in first.decisions] == ["at random", "at random"]


def test_two_streams_of_one_seed_draw_differently():
    labels = np.zeros(100, np.int64)

    first, second = (stratified_positions(labels, share=0.2, seed=0, stream=stream) for stream in (0, 1))

    assert first.tolist() != second.tolist()


def test_nothing_can_be_set_apart_from_one_sample_of_each_class(tmp_path):
    with pytest.raises(DataError, match="no sample can be set apart from 3"):
        open_dataset(DataSettings(source=_archive(tmp_path, counts=(1, 1, 1))))


def test_a_class_without_training_samples_is_named(tmp_path):
    source = _archive(tmp_path, counts=(9, 0, 9), classes=["cat", "dog", "emu"])

    with pytest.raises(DataError, match=r"no training sample of dog.*numbers to be told .* floats"):
        open_dataset(DataSettings(source=source))


def test_labels_beyond_the_classes_are_told(tmp_path):
    with pytest.raises(DataError, match="train labels run from 0 to 2, but there are 2 classes"):
        open_dataset(DataSettings(source=_archive(tmp_path, classes=["cat", "dog"])))


def test_splits_of_different_shapes_are_told(tmp_path):
    source = _archive(tmp_path, x_test=np.zeros((2, 5)), y_test=np.array([0, 1]))

    with pytest.raises(
        DataError, match=r"test samples are features float32 \[5\], train samples features float32 \[1\]"
    ):
        open_dataset(DataSettings(source=source))


def test_an_empty_split_is_told(tmp_path):
    source = _archive(tmp_path, x_test=np.zeros((0, 1)), y_test=np.zeros(0, int))

    with pytest.raises(DataError, match="the test split holds no samples"):
        open_dataset(DataSettings(source=source))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("npz:/nowhere/a.npz", "/nowhere/a.npz: no such file or folder — write npz:PATH"),
        ("npz", "'npz' needs a place"),
        ("digits:here", "'digits' takes no place"),
    ],
)
def test_a_place_that_is_wrong_is_told_with_what_to_write(source, message):
    with pytest.raises(DataError, match=message):
        open_dataset(DataSettings(source=source))


def test_unknown_formats_and_options_get_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"no data format is called 'digit'.*did you mean 'digits'"):
        open_dataset(DataSettings(source="digit"))
    with pytest.raises(RecipeError, match=r"images has no option 'image_sise'.*did you mean 'image_size'"):
        open_dataset(DataSettings(source="images:x", options={"image_sise": 8}))


def test_a_users_own_function_is_opened_by_its_source(tmp_path):
    (tmp_path / "mine.py").write_text("def make():\n    return {'x': [[0.0]] * 20, 'y': [0, 1] * 10}\n")

    dataset = open_dataset(DataSettings(source=f"py:{tmp_path / 'mine.py'}:make"))

    assert dataset.fixed_shape == (1,)
    assert only_kind(dataset.inputs).layout == "F"


def _pictures(folder, *, good, bad):
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for number in range(good):
            Image.new("RGB", (4, 4)).save(folder / label / f"{number}.png")
    for number in range(bad):
        (folder / "a" / f"bad{number}.png").write_bytes(b"no image")
    return f"images:{folder}"


def test_too_many_unreadable_samples_stop_with_the_first_five_names(tmp_path):
    source = _pictures(tmp_path / "p", good=5, bad=7)

    with pytest.raises(
        DataError, match=r"7 of 17 samples cannot be read \(41\.2%\): a/bad0.*a/bad4\.png, \.\.\. — mend"
    ):
        open_dataset(DataSettings(source=source))


def test_the_share_of_unreadable_samples_is_that_of_those_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_SAMPLED_FILES", 12)
    source = _pictures(tmp_path / "p", good=20, bad=20)
    streamed = {"decode": "stream"}

    with pytest.raises(DataError, match=r"\d of (8|9|10|11|12) samples looked at cannot be read"):
        open_dataset(DataSettings(source=source, options=streamed, max_unreadable=0.1))


def test_a_few_unreadable_samples_are_left_out_and_named(tmp_path):
    source = _pictures(tmp_path / "p", good=10, bad=1)

    dataset = open_dataset(DataSettings(source=source, max_unreadable=0.05))

    left_out = [d for d in dataset.decisions if d.what == "samples left out"]
    assert [d.choice for d in left_out] == ["a/bad0.png"]
    assert sum(dataset.describe()["sizes"].values()) == 20


def _same_pictures(folder, *, test, val=None):
    """An archive whose later splits repeat these training pictures."""
    generator = np.random.default_rng(0)
    train = generator.integers(0, 255, (20, 4, 4), np.uint8)
    others = generator.integers(0, 255, (10, 4, 4), np.uint8)
    arrays = {"x_train": train, "y_train": np.arange(20) % 2}
    for name, repeated in (("test", test), ("val", val)):
        if repeated is not None:
            arrays |= {
                f"x_{name}": np.concatenate([train[:repeated], others]),
                f"y_{name}": np.arange(repeated + 10) % 2,
            }
    np.savez(folder / "same.npz", **arrays)
    return DataSettings(source=f"npz:{folder / 'same.npz'}")


def _seen(dataset):
    return [decision.choice for decision in dataset.decisions if decision.what == SEEN_IN_TRAINING]


def test_pictures_that_are_in_training_as_well_are_counted(tmp_path):
    assert _seen(open_dataset(_same_pictures(tmp_path, test=3, val=1))) == [
        "3 of 13 test samples, 1 of 11 validation samples"
    ]
    assert _seen(open_dataset(_same_pictures(tmp_path, test=0, val=0))) == []


def test_pictures_that_are_twice_in_a_set_are_counted_when_it_is_split_here(tmp_path):
    pictures = np.repeat(np.random.default_rng(0).integers(0, 255, (100, 4, 4), np.uint8), 2, axis=0)
    np.savez(tmp_path / "twice.npz", x=pictures, y=np.arange(200) % 2)
    (told,) = _seen(open_dataset(DataSettings(source=f"npz:{tmp_path / 'twice.npz'}")))
    assert "of 30 test samples" in told


@pytest.mark.parametrize("labels", [True, False])
def test_files_of_pictures_are_compared_by_their_content(tmp_path, labels):
    for split in ("train", "test"):
        for label, colour in (("a", 10), ("b", 200)):
            for number in range(4):
                file = tmp_path / split / label / f"{split}-{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                own = 50 * (split == "test" and number > 0)
                Image.new("RGB", (8, 8), (colour, number, own)).save(file)
    dataset = open_dataset(DataSettings(source=f"images:{tmp_path}", labels=labels, val_share=0))
    assert _seen(dataset) == ["2 of 8 test samples"]


def test_equal_rows_of_a_table_are_no_pictures(tmp_path):
    rows = np.arange(20, dtype=np.float32)[:, None] % 2
    np.savez(
        tmp_path / "rows.npz", x_train=rows, y_train=rows[:, 0].astype(int), x_test=rows, y_test=rows[:, 0].astype(int)
    )
    assert _seen(open_dataset(DataSettings(source=f"npz:{tmp_path / 'rows.npz'}"))) == []
