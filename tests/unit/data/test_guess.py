"""Which format a place without one is taken for."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor.data import guess


def place(tmp_path: Path, *names: str) -> str:
    for name in names:
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_text("x")
    return str(tmp_path / "d")


@pytest.mark.parametrize(
    "source", ["digits", "idx:somewhere", "images:photos", "py:data.py:load", "nowhere", "whatever:x"]
)
def test_what_has_a_format_or_cannot_be_told_stays_as_it_is(source: str) -> None:
    assert guess.named(source) == source


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train-images-idx3-ubyte"], "idx"),
        (["train-images-idx3-ubyte.gz"], "idx"),
        (["train-images.idx3-ubyte"], "idx"),
        (["train-images.idx3-ubyte.gz"], "idx"),
        (["data_batch_1", "batches.meta"], "cifar"),
        (["meta", "train", "test"], "cifar"),
        (["cifar-10-batches-py/data_batch_1"], "cifar"),
        (["cats/a.jpg", "dogs/b.JPG"], "images"),
        (["train/cats/a.png"], "images"),
        (["meta/a.png", "other/b.png"], "images"),
        (["train.csv", "test.csv"], "csv"),
    ],
)
def test_a_folder_is_known_by_what_it_holds(tmp_path: Path, names: list[str], expected: str) -> None:
    folder = place(tmp_path, *names)

    assert guess.named(folder) == f"{expected}:{folder}"


def test_a_folder_of_other_things_stays_as_it_is(tmp_path: Path) -> None:
    folder = place(tmp_path, "a.txt", "b/c.csv")

    assert guess.named(folder) == folder


def test_an_archive_and_a_python_file_are_known_by_their_suffix(tmp_path: Path) -> None:
    archive = place(tmp_path, "a.npz") + "/a.npz"

    assert guess.named(archive) == f"npz:{archive}"
    assert guess.named("data.py") == "py:data.py"
    assert guess.named("data.py:load") == "py:data.py:load"


def test_the_data_of_a_recipe_gets_its_formats_and_nothing_else_changes(tmp_path: Path) -> None:
    photos = place(tmp_path, "cat/1.jpg")
    raw = {"name": "x", "data": {"source": photos, "unlabelled": "digits", "val_share": 0.2}}

    assert guess.in_recipe(raw)["data"] == {"source": f"images:{photos}", "unlabelled": "digits", "val_share": 0.2}
    assert raw["data"] == {"source": photos, "unlabelled": "digits", "val_share": 0.2}
    assert guess.in_recipe({"data": "digits"}) == {"data": "digits"}
    assert guess.in_recipe({"data": {"source": None}}) == {"data": {"source": None}}
