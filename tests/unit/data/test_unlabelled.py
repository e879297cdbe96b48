"""Training samples without labels: from a second source, hidden, or without from the beginning."""

import numpy as np
import pytest
from PIL import Image

from compressor.data.open import open_dataset
from compressor.data.unlabelled import for_labels_alone, labelled
from compressor.errors import DataError
from compressor.recipe import DataSettings
from tests.named import inputs_of, labels_of


def archive(folder, name="a", *, y=None, width=1, start=0, **others):
    y = np.repeat(np.arange(3), (40, 20, 20)) if y is None else np.asarray(y)
    x = np.repeat(np.arange(start, start + len(y), dtype=np.float32)[:, None], width, axis=1)
    np.savez(folder / f"{name}.npz", x_train=x, y_train=y, **others)
    return f"npz:{folder / f'{name}.npz'}"


def more(folder, name="more", *, count=30, **others):
    """Samples from 1000 up, without a word about labels."""
    np.savez(folder / f"{name}.npz", x=np.arange(1000, 1000 + count, dtype=np.float32)[:, None], **others)
    return f"npz:{folder / f'{name}.npz'}"


def values(samples):
    return inputs_of(samples, np.arange(len(samples))).ravel().astype(int).tolist()


def choices(dataset):
    return {decision.what: decision.choice for decision in dataset.decisions}


def test_samples_of_a_second_source_stand_behind_the_others_without_a_label(tmp_path):
    alone = open_dataset(DataSettings(source=archive(tmp_path)))
    dataset = open_dataset(DataSettings(source=archive(tmp_path), unlabelled=more(tmp_path)))

    assert values(dataset.train) == [*values(alone.train), *range(1000, 1030)]
    assert labels_of(dataset.train).tolist() == [*labels_of(alone.train).tolist(), *[-1] * 30]
    assert values(dataset.val) == values(alone.val)
    assert values(dataset.test) == values(alone.test)
    assert dataset.describe()["sizes"] == {"train": 91, "val": 7, "test": 12, "unlabelled": 30}
    assert choices(dataset)["unlabelled samples"] == "30 beside 61"


def test_the_fingerprint_follows_the_second_source(tmp_path):
    source = archive(tmp_path)
    settings = [
        DataSettings(source=source),
        DataSettings(source=source, unlabelled=more(tmp_path)),
        DataSettings(source=source, unlabelled=more(tmp_path, "others", count=31)),
        DataSettings(source=source, labels=False),
    ]

    assert len({open_dataset(each).fingerprint for each in settings}) == 4
    assert len({open_dataset(each).test_fingerprint for each in settings}) == 1, "they are judged on the same samples"


def test_labels_of_the_second_source_are_ignored_and_its_test_set_left_out(tmp_path):
    y = np.zeros(5, np.int64)
    second = archive(tmp_path, "b", y=y, start=500, x_test=np.zeros((4, 1)), y_test=y[:4])

    dataset = open_dataset(
        DataSettings(source=archive(tmp_path), unlabelled=second, unlabelled_options={"labels": True})
    )

    assert labels_of(dataset.train)[-5:].tolist() == [-1] * 5
    assert choices(dataset)[f"labels of {second}"] == "5 are ignored"
    assert choices(dataset)[f"val and test of {second}"] == "4 are left out"


def test_samples_of_another_shape_are_refused_with_both_shapes(tmp_path):
    with pytest.raises(DataError, match=r"samples are features float32 \[2\], training samples features float32 \[1\]"):
        open_dataset(DataSettings(source=archive(tmp_path), unlabelled=archive(tmp_path, "b", width=2)))


def pictures(folder, names, *, side=12):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return f"images:{folder}"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "home"))
    return pictures(tmp_path / "photos", [f"{name}/{number}.png" for name in ("a", "b") for number in range(8)])


@pytest.mark.parametrize(
    "names", [["1.png", "2.png"], ["2020/05/1.png", "2020/2.png"], ["train/a/1.png", "train/2.png"]]
)
def test_a_folder_of_images_needs_no_class_folders_to_be_shown_without_labels(photos, tmp_path, names):
    second = pictures(tmp_path / "more", names, side=20)

    dataset = open_dataset(DataSettings(source=photos, unlabelled=second))

    assert labels_of(dataset.train)[-2:].tolist() == [-1, -1]
    assert dataset.fixed_shape == (3, 12, 12)
    assert choices(dataset)["data.unlabelled_options.image_size"] == "12"


def test_the_test_folder_of_the_second_source_is_not_learned_from(photos, tmp_path):
    second = pictures(tmp_path / "more", ["train/1.png", "test/2.png", "test/3.png"])

    dataset = open_dataset(DataSettings(source=photos, unlabelled=second))

    assert dataset.describe()["sizes"]["unlabelled"] == 1


@pytest.mark.parametrize(
    ("names", "learned", "aside"),
    [
        (["train/a/1.png", "test/a/2.png", "unlabelled/3.png"], 2, 1),
        (["train/1.png", "valid/2.png", "Testing/3.png", "__MACOSX/a/4.png"], 1, 2),
        (["2020/1.png", "2.png", "test/3.png"], 2, 1),
        (["more/train/1.png", "more/test/2.png"], 1, 1),
    ],
)
def test_val_and_test_folders_are_not_learned_from_whatever_lies_beside_them(photos, tmp_path, names, learned, aside):
    second = pictures(tmp_path / "second", names)

    dataset = open_dataset(DataSettings(source=photos, unlabelled=second))

    assert dataset.describe()["sizes"]["unlabelled"] == learned
    assert choices(dataset)[f"val and test of {second}"] == f"{aside} are left out"


def test_a_folder_with_a_test_set_alone_says_what_it_leaves_out(photos, tmp_path):
    second = pictures(tmp_path / "second", ["Test/1.png"])

    with pytest.raises(DataError, match=r"no images here — what lies in Test is left out"):
        open_dataset(DataSettings(source=photos, unlabelled=second))


def test_the_content_of_the_folder_counts_and_not_its_name(photos, tmp_path):
    first, second = (pictures(tmp_path / name, ["1.png", "2.png"]) for name in ("one", "two"))

    prints = {open_dataset(DataSettings(source=photos, unlabelled=each)).fingerprint for each in (first, second)}

    assert len(prints) == 1


def test_an_empty_folder_is_refused(photos, tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(DataError, match="no images here"):
        open_dataset(DataSettings(source=photos, unlabelled=f"images:{tmp_path / 'empty'}"))


def test_hidden_labels_are_hidden_from_training_alone(tmp_path):
    alone = open_dataset(DataSettings(source=archive(tmp_path)))

    dataset = open_dataset(DataSettings(source=archive(tmp_path), labels=False))

    assert set(labels_of(dataset.train).tolist()) == {-1}
    assert labels_of(dataset.val).tolist() == labels_of(alone.val).tolist()
    assert labels_of(dataset.test).tolist() == labels_of(alone.test).tolist()


def test_a_label_of_minus_one_is_none_and_only_labelled_samples_are_set_apart(tmp_path):
    y = np.where(np.arange(80) < 60, -1, np.arange(80) % 3)

    dataset = open_dataset(DataSettings(source=archive(tmp_path, y=y)))

    assert min(labels_of(dataset.test)) >= 0
    assert min(labels_of(dataset.val)) >= 0
    assert dataset.describe()["sizes"]["unlabelled"] == 60


def test_a_class_that_no_label_names_is_left_to_the_teacher_and_said_so(tmp_path):
    y = np.where(np.arange(80) < 60, -1, np.arange(80) % 2)

    dataset = open_dataset(DataSettings(source=archive(tmp_path, y=y, classes=np.array(["a", "b", "c"]))))

    assert choices(dataset)["classes without a label"] == "c"


def test_a_test_sample_needs_a_label(tmp_path):
    with pytest.raises(DataError, match="test labels run from -1 to 1"):
        open_dataset(DataSettings(source=archive(tmp_path, x_test=np.zeros((2, 1)), y_test=np.array([-1, 1]))))


def test_those_who_need_labels_get_the_samples_that_have_one(tmp_path):
    y = np.where(np.arange(80) < 60, -1, np.arange(80) % 3)
    dataset = open_dataset(DataSettings(source=archive(tmp_path, y=y), val_share=0))

    few = labelled(dataset.train, what_for="this", where="here")

    assert len(few) == len(dataset.train) - 60
    assert min(labels_of(few)) >= 0


def test_a_control_gets_as_many_steps_as_the_student_and_a_teacher_does_not(tmp_path):
    y = np.where(np.arange(80) < 60, -1, np.arange(80) % 3)
    dataset = open_dataset(DataSettings(source=archive(tmp_path, y=y), val_share=0))

    control, why = for_labels_alone(dataset, as_many_steps=True)
    teacher, _ = for_labels_alone(dataset, as_many_steps=False)

    assert len(control.train) == len(dataset.train)
    assert set(values(control.train)) == set(values(teacher.train))
    assert len(teacher.train) == len(dataset.train) - 60
    assert "times in an epoch" in why[0].choice


def test_a_set_that_has_every_label_is_left_as_it_is(tmp_path):
    dataset = open_dataset(DataSettings(source=archive(tmp_path)))

    assert for_labels_alone(dataset, as_many_steps=True) == (dataset, ())


def test_without_a_label_nobody_learns_from_labels_alone(tmp_path):
    dataset = open_dataset(DataSettings(source=archive(tmp_path), labels=False))

    with pytest.raises(DataError, match="no training sample has a label, which a network that nobody teaches needs"):
        for_labels_alone(dataset, as_many_steps=False)
