"""Tiny texts and a tiny tokenizer, made here: what tests of text classification are made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

GOOD = ("good", "great", "lovely", "fine", "bright")
BAD = ("bad", "awful", "dull", "poor", "grim")
OTHERS = ("the", "film", "is", "a", "very", "and", "with", "of", "some", "plot", ",", ".")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (*SPECIAL, *GOOD, *BAD, *OTHERS)


def write_tokenizer(folder: Path) -> Path:
    """`tokenizer.json` of whole words, BERT's form: [CLS] before a text and [SEP] behind it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def sentences(count: int, *, seed: int) -> list[tuple[str, str]]:
    """Texts of 3 to 14 words with one word that decides the class, and the class."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        label = ("neg", "pos")[number % 2]
        words = list(generator.choice(OTHERS, size=int(generator.integers(2, 14))))
        words.insert(int(generator.integers(len(words) + 1)), str(generator.choice(GOOD if label == "pos" else BAD)))
        found.append((" ".join(map(str, words)), label))
    return found


def write_table(file: Path, rows: list[tuple[str, str]], *, header: tuple[str, str] = ("text", "label")) -> Path:
    """A table of texts and labels, tab-separated or by commas as its name says."""
    import csv

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        if file.suffix == ".tsv":
            stream.writelines("\t".join(row) + "\n" for row in (header, *rows))
        else:
            csv.writer(stream).writerows([header, *rows])
    return file


def write_set(folder: Path, *, train: int = 160, val: int = 40, test: int = 60) -> Path:
    """train.csv, val.csv and test.csv."""
    for number, (name, count) in enumerate((("train", train), ("val", val), ("test", test))):
        write_table(folder / f"{name}.csv", sentences(count, seed=number))
    return folder


def write_bert(folder: Path, *, layers: int = 4, seed: int = 0, labels: int = 2) -> Path:
    """A tiny BERT with random weights and its tokenizer, as `save_pretrained` leaves it."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        num_labels=labels,
        initializer_range=0.2,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    write_tokenizer(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "bert"
    return folder
