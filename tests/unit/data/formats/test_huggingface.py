"""Texts by `datasets`: saved folders, Parquet, CSV and JSON lines, without a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compressor.data.formats.huggingface import huggingface
from compressor.errors import DataError, MissingExtraError
from tests.text import sentences, write_set, write_tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    pytest.importorskip("tokenizers")
    return str(write_tokenizer(tmp_path / "tokenizer").parent)


def test_without_the_extra_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match="'datasets' is not installed") as raised:
        huggingface("glue")
    assert "pip install 'compressor[huggingface]'" in str(raised.value.hint)


@pytest.mark.huggingface
@pytest.mark.parametrize("form", ["saved", "parquet", "jsonl", "csv"])
def test_each_form_gives_the_same_texts_and_classes(
    tmp_path: Path, tokenizer: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    parts = {name: sentences(6, seed=seed) for seed, name in enumerate(("train", "validation"))}
    tables = {
        name: datasets.Dataset.from_dict({"text": [row[0] for row in rows], "label": [row[1] for row in rows]})
        for name, rows in parts.items()
    }
    if form == "saved":
        datasets.DatasetDict(tables).save_to_disk(str(folder))
    for name, table in tables.items() if form != "saved" else ():
        if form == "parquet":
            table.to_parquet(str(folder / f"{name}-00000-of-00001.parquet"))
        elif form == "csv":
            table.to_csv(str(folder / f"{name}.csv"))
        else:
            lines = [json.dumps({"text": text, "label": label}) for text, label in parts[name]]
            (folder / f"{name}.jsonl").write_text("\n".join(lines))

    splits = huggingface(str(folder), tokenizer=tokenizer)

    assert splits.classes == ("neg", "pos")
    assert splits.train.texts == [text for text, _ in parts["train"]]  # type: ignore[attr-defined]
    assert splits.val is not None
    assert len(splits.val) == 6
    assert splits.test is None


@pytest.mark.huggingface
def test_classes_have_the_names_that_the_set_gives_and_a_secret_test_is_left_out(
    tmp_path: Path, tokenizer: str
) -> None:
    import datasets

    features = datasets.Features({"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["z", "a"])})
    rows = {"sentence": ["good", "bad"], "label": [0, 1]}
    secret = {"sentence": ["good", "bad"], "label": [-1, -1]}
    parts = {"train": rows, "test": secret}
    made = {name: datasets.Dataset.from_dict(part, features=features) for name, part in parts.items()}
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "set"))

    splits = huggingface(str(tmp_path / "set"), tokenizer=tokenizer, text="sentence")

    assert splits.classes == ("z", "a")
    assert splits.train.fetch_targets(np.arange(2))["label"].tolist() == [0, 1]
    assert splits.test is None
    assert any(each.choice == "test" and "none of its samples" in each.reason for each in splits.decisions)


@pytest.mark.huggingface
def test_a_missing_column_is_told_with_those_there_are(tmp_path: Path, tokenizer: str) -> None:
    write_set(tmp_path / "set", train=4, val=4, test=4)

    with pytest.raises(DataError, match="has no column 'sentence'; it has text, label"):
        huggingface(str(tmp_path / "set"), tokenizer=tokenizer, text="sentence")


@pytest.mark.huggingface
def test_a_name_that_nobody_has_is_one_sentence(tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)

    with pytest.raises(DataError, match="datasets cannot read it") as raised:
        huggingface("nobody/has-this-set", tokenizer=tokenizer)
    assert "huggingface:NAME" in str(raised.value.hint)
