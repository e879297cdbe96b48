"""Texts through the whole chain: a tiny BERT, a student cut from it, pruned, quantized, exported and packed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compressor import api, artifact
from compressor.runtimes.ort_cpu import OrtCpu
from tests.text import write_bert, write_set

pytest.importorskip("transformers")

LSTM = """
import torch
from torch import nn


class Reader(nn.Module):
    def __init__(self, num_classes, vocab_size):
        super().__init__()
        self.words = nn.Embedding(vocab_size, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, num_classes)

    def forward(self, input_ids, attention_mask):
        read, _ = self.lstm(self.words(input_ids))
        there = attention_mask[..., None].to(read.dtype)
        return self.head((read * there).sum(1) / there.sum(1))


def build(num_classes, vocab_size):
    return Reader(num_classes, vocab_size)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    write_set(folder / "set", train=96, val=24, test=24)
    write_bert(folder / "bert", layers=3)
    training = {"epochs": 1, "batch_size": 32, "lr": 0.002}
    api.run(
        {
            "name": "chain",
            "runs": str(folder / "runs"),
            "data": {"source": f"csv:{folder / 'set'}"},
            "teacher": {"model": f"transformers:{folder / 'bert'}"},
            "train": training,
            "student": {"model": "cut:teacher", "options": {"layers": 2}},
            "distill": {**training, "losses": [{"name": "kd"}, {"name": "minilm"}]},
            "prune": {"params": 0.9, "epochs": 1, "rounds": 1},
            "quantize": {"method": "dynamic", "mixed": False},
            "stages": ["train", "distill", "prune", "quantize", "export"],
        }
    )
    return folder / "runs" / "chain"


def test_each_stage_leaves_a_network_that_reads_texts_of_any_length(run: Path) -> None:
    for stage in ("export-teacher", "export", "quantize"):
        runtime = OrtCpu(threads=1)
        runtime.load(run / stage / "model.onnx")
        for batch, length in ((1, 1), (2, 7), (3, 33)):
            ids = np.full((batch, length), 6)
            assert runtime({"input_ids": ids, "attention_mask": np.ones_like(ids)})["logits"].shape == (batch, 2)


def test_the_student_has_layers_of_the_teacher_and_reads_back_by_itself(run: Path) -> None:
    from compressor.models import checkpoint

    student, pruned = (checkpoint.load(artifact.read(run / stage)).network.module for stage in ("distill", "prune"))

    assert len(student.bert.encoder.layer) == 2  # type: ignore[union-attr, arg-type]
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in student.parameters())


def test_the_tokenizer_travels_with_everything_that_is_made(run: Path) -> None:
    for stage in ("train", "distill", "prune", "export", "quantize"):
        assert "tokenizer.json" in artifact.read(run / stage).manifest.files


def test_a_pack_brings_tokens_and_the_tokenizer_and_judges_by_itself(run: Path) -> None:
    packed = api.pack(run, samples=10).folder.path
    command = [sys.executable, "run.py", "--help"]

    told = subprocess.run(command, cwd=packed, capture_output=True, text=True, check=True).stdout
    samples = np.load(packed / "samples.npz")

    assert "usage" in told
    assert {"inputs.input_ids", "inputs.attention_mask"} <= set(samples.files)
    assert (packed / "tokenizer.json").is_file()
    assert json.loads((packed / "pack.json").read_text())["task"] == "classification"


def test_a_network_of_ones_own_over_tokens_learns_from_the_teacher(run: Path, tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(LSTM)

    made = api.distill(
        run / "train",
        tmp_path / "reader.py",
        data=f"csv:{run.parent.parent / 'set'}",
        runs=tmp_path / "runs",
        assignments=["distill.epochs=1", "distill.batch_size=32"],
    )

    assert made.manifest.metrics["test"]["metrics"]["accuracy"] > 0
    assert "tokenizer.json" in made.manifest.files


@pytest.mark.parametrize("place", ["export", "export/model.onnx"])
def test_an_exported_network_is_judged_as_it_was_before_it_was_exported(run: Path, place: str) -> None:
    found = api.evaluate(run / place, data=f"csv:{run.parent.parent / 'set'}")

    assert found["metrics"] == pytest.approx(
        artifact.read(run / "distill").manifest.metrics["test"]["metrics"], abs=1e-3
    )


def test_an_onnx_file_that_reads_texts_teaches_a_network_of_ones_own(run: Path, tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(LSTM)

    made = api.distill(
        run / "export-teacher" / "model.onnx",
        tmp_path / "reader.py",
        data=f"csv:{run.parent.parent / 'set'}",
        runs=tmp_path / "runs",
        assignments=["distill.epochs=1", "distill.batch_size=32"],
    )

    assert made.manifest.metrics["test"]["metrics"]["accuracy"] > 0
