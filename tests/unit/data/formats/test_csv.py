"""Texts with labels from tables, and what is said of tables that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compressor.data import guess
from compressor.data.formats.csv import csv
from compressor.data.open import open_dataset
from compressor.data.samples import SubsetSamples
from compressor.errors import DataError, MissingExtraError
from compressor.recipe import DataSettings
from tests.text import WORDS, sentences, write_set, write_table, write_tokenizer

pytest.importorskip("tokenizers")


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    return str(write_tokenizer(tmp_path / "tokenizer").parent)


def test_texts_become_tokens_that_are_padded_to_the_longest_of_a_batch(tmp_path: Path, tokenizer: str) -> None:
    rows = [("good film", "pos"), ("the plot is very , very dull", "neg")]
    splits = csv(write_table(tmp_path / "t.csv", rows), tokenizer=tokenizer)

    batch = splits.train.fetch(np.array([0, 1]))
    alone = splits.train.fetch(np.array([0]))

    assert batch["input_ids"].shape == (2, 9)
    assert batch["input_ids"].dtype == np.int64
    assert batch["attention_mask"].tolist() == [[1] * 4 + [0] * 5, [1] * 9]
    assert [WORDS[number] for number in alone["input_ids"][0]] == ["[CLS]", "good", "film", "[SEP]"]
    assert splits.train.inputs["input_ids"].varying == ("tokens",)
    assert splits.classes == ("neg", "pos")
    assert splits.train.fetch_targets(np.array([0, 1]))["label"].tolist() == [1, 0]
    assert splits.vocabulary == len(WORDS)


def test_a_folder_has_a_file_for_each_split_and_dev_is_validation(tmp_path: Path, tokenizer: str) -> None:
    for number, name in enumerate(("train", "dev", "test", "more")):
        write_table(tmp_path / "set" / f"{name}.tsv", sentences(4 + number, seed=0), header=("sentence", "class"))

    splits = csv(tmp_path / "set", tokenizer=tokenizer, text="sentence", label="class")

    assert splits.val is not None
    assert splits.test is not None
    assert [len(each) for each in (splits.train, splits.val, splits.test)] == [4, 5, 6]
    assert any(decision.choice == "more.tsv" for decision in splits.decisions)


def test_a_tsv_keeps_quotation_marks_and_a_csv_reads_them(tmp_path: Path, tokenizer: str) -> None:
    tab = write_table(tmp_path / "a.tsv", [('" good film', "0"), ("dull", "1")])
    comma = write_table(tmp_path / "a.csv", [('a "good" film, fine', "0"), ("dull", "1")])

    assert csv(tab, tokenizer=tokenizer).train.texts[0] == '" good film'  # type: ignore[attr-defined]
    assert csv(comma, tokenizer=tokenizer).train.texts[0] == 'a "good" film, fine'  # type: ignore[attr-defined]


def test_numbers_as_classes_are_in_their_order(tmp_path: Path, tokenizer: str) -> None:
    rows = [("good", str(number)) for number in (10, 9, 2, 2, 9, 10)]

    assert csv(write_table(tmp_path / "t.csv", rows), tokenizer=tokenizer).classes == ("2", "9", "10")


def test_long_texts_are_cut_and_the_decision_says_how_many(tmp_path: Path, tokenizer: str) -> None:
    rows = [("good " * 30, "a"), ("bad " * 4, "b"), ("bad " * 5, "b")]
    splits = csv(write_table(tmp_path / "t.csv", rows), tokenizer=tokenizer, max_length=6)

    assert splits.train.fetch(np.arange(3))["input_ids"].shape == (3, 6)
    assert next(each.choice for each in splits.decisions if each.what == "texts cut") == "2 of 3"


def test_a_row_of_minus_one_has_no_label(tmp_path: Path, tokenizer: str) -> None:
    splits = csv(write_table(tmp_path / "t.csv", [("good", "a"), ("bad", "-1"), ("dull", "b")]), tokenizer=tokenizer)

    assert splits.train.labelled.tolist() == [True, False, True]


def test_token_types_are_given_where_they_are_asked_for(tmp_path: Path, tokenizer: str) -> None:
    file = write_table(tmp_path / "t.csv", [("good", "a"), ("bad", "b")])

    assert "token_type_ids" not in csv(file, tokenizer=tokenizer).train.inputs
    assert csv(file, tokenizer=tokenizer, token_types=True).train.fetch(np.array([0]))["token_type_ids"].tolist() == [
        [0, 0, 0]
    ]


def test_the_fingerprint_is_of_the_tokens(tmp_path: Path, tokenizer: str) -> None:
    file = write_table(tmp_path / "t.csv", [("good film", "a"), ("bad", "b")])
    whole, same = csv(file, tokenizer=tokenizer), csv(file, tokenizer=tokenizer, max_length=64)
    cut = csv(file, tokenizer=tokenizer, max_length=3)

    assert whole.fingerprint == same.fingerprint
    assert whole.fingerprint != cut.fingerprint


def test_a_set_of_texts_is_opened_split_and_keeps_its_tokenizer(tmp_path: Path, tokenizer: str) -> None:
    file = write_table(tmp_path / "t.csv", sentences(100, seed=0))

    dataset = open_dataset(DataSettings(source=f"csv:{file}", options={"tokenizer": tokenizer}))

    assert isinstance(dataset.test, SubsetSamples)
    assert dataset.files["tokenizer.json"] == Path(tokenizer) / "tokenizer.json"
    assert dataset.vocabulary == len(WORDS)
    assert dataset.test.fetch(np.arange(len(dataset.test)))["input_ids"].shape[0] == len(dataset.test)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("good", "a"), (" ", "b")], r"row 3 of t.csv has an empty text"),
        ([("good", "a"), ("bad", "")], r"row 3 of t.csv has no label"),
        ([], r"t.csv has no rows"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, tokenizer: str, rows: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        csv(write_table(tmp_path / "t.csv", rows), tokenizer=tokenizer)


def test_a_missing_column_is_told_with_those_there_are(tmp_path: Path, tokenizer: str) -> None:
    file = write_table(tmp_path / "t.csv", [("good", "a")], header=("sentence", "label"))

    with pytest.raises(DataError, match=r"t.csv has no column 'text'; it has sentence, label") as raised:
        csv(file, tokenizer=tokenizer)
    assert "data.options.text" in str(raised.value.hint)


def test_a_label_that_no_training_row_has_is_named(tmp_path: Path, tokenizer: str) -> None:
    write_set(tmp_path / "set", train=4, val=4, test=4)
    write_table(tmp_path / "set" / "val.csv", [("good", "pos"), ("bad", "so-so")])

    with pytest.raises(DataError, match=r"row 3 of val.csv has the label 'so-so', .*\(neg, pos\)"):
        csv(tmp_path / "set", tokenizer=tokenizer)


def test_a_row_with_a_column_too_many_is_named(tmp_path: Path, tokenizer: str) -> None:
    (tmp_path / "t.csv").write_text("text,label\ngood, or bad,a\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"row 2 of t\.csv has 3 columns, the header 2"):
        csv(tmp_path / "t.csv", tokenizer=tokenizer)


def test_another_encoding_is_an_option(tmp_path: Path, tokenizer: str) -> None:
    (tmp_path / "t.csv").write_bytes("text,label\ncaf\xe9,a\nbad,b\n".encode("latin-1"))

    with pytest.raises(DataError, match="cannot be read as a table") as raised:
        csv(tmp_path / "t.csv", tokenizer=tokenizer)
    assert "data.options.encoding" in str(raised.value.hint)
    assert csv(tmp_path / "t.csv", tokenizer=tokenizer, encoding="latin-1").train.texts[0] == "café"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [("", "texts need a tokenizer"), ("no/such/folder", "no such tokenizer"), (".", "holds no tokenizer.json")],
)
def test_a_tokenizer_that_is_not_there_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_table(tmp_path / "t.csv", [("good", "a"), ("bad", "b")])

    with pytest.raises(DataError, match=message):
        csv(file, tokenizer=tokenizer)


def test_a_file_that_is_no_tokenizer_is_told(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(DataError, match="cannot be read as a tokenizer"):
        csv(write_table(tmp_path / "t.csv", [("good", "a"), ("bad", "b")]), tokenizer=str(tmp_path))


def test_without_the_extra_the_install_line_is_given(
    tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match="'tokenizers' is not installed") as raised:
        csv(write_table(tmp_path / "t.csv", [("good", "a"), ("bad", "b")]), tokenizer=tokenizer)
    assert "pip install 'compressor[text]'" in str(raised.value.hint)


def test_the_tokenizer_of_the_teacher_is_the_one_that_is_meant(tmp_path: Path, tokenizer: str) -> None:
    raw = {"data": {"source": "csv:reviews"}, "teacher": {"model": f"transformers:{tokenizer}:AutoModel"}}
    stated = {**raw, "data": {"source": "csv:reviews", "options": {"tokenizer": "mine"}}}

    assert guess.in_recipe(raw)["data"]["options"] == {"tokenizer": tokenizer}
    assert guess.in_recipe(stated)["data"]["options"] == {"tokenizer": "mine"}
    assert "options" not in guess.in_recipe({**raw, "data": {"source": "digits"}})["data"]
