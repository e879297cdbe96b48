"""Networks of transformers: their weights, their head, their artifact, and what is said where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from compressor.errors import CompressError, MissingExtraError, ModelError
from compressor.models import checkpoint
from compressor.models import spec as specs
from compressor.models.build import Fit
from compressor.models.load import load
from tests.text import WORDS, write_bert

pytest.importorskip("transformers")
TEXT = {"input_ids": torch.tensor([[2, 5, 6, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert") / "tiny")


def test_a_folder_gives_its_network_with_its_weights(bert: Path) -> None:
    from transformers import BertForSequenceClassification

    loaded = load(f"transformers:{bert}", num_classes=2, vocabulary=len(WORDS))

    whole = BertForSequenceClassification.from_pretrained(bert).eval()
    with torch.no_grad():
        assert torch.allclose(loaded.network(TEXT), whole(**TEXT).logits, atol=1e-6)
    assert loaded.trained
    assert loaded.title == "tiny"


def test_another_number_of_classes_gives_a_head_that_is_untrained(bert: Path) -> None:
    loaded = load(f"transformers:{bert}", num_classes=5)

    assert loaded.network(TEXT).shape == (1, 5)
    assert not loaded.trained
    assert "classifier" in loaded.steps[0]


def test_options_change_the_configuration(bert: Path) -> None:
    loaded = load(f"transformers:{bert}", num_classes=2, options={"num_hidden_layers": 1, "weights": False})

    assert len(loaded.network.module.bert.encoder.layer) == 1  # type: ignore[union-attr, arg-type]
    with pytest.raises(ModelError, match="the configuration has no 'num_hiden_layers'") as raised:
        load(f"transformers:{bert}", options={"num_hiden_layers": 1})
    assert "num_hidden_layers" in str(raised.value.hint)


def test_an_artifact_needs_the_folder_no_more(bert: Path, tmp_path: Path) -> None:
    from shutil import copytree, rmtree

    loaded = load(f"transformers:{copytree(bert, tmp_path / 'there')}", num_classes=2)
    (tmp_path / "kept").mkdir()
    details = json.loads(json.dumps(checkpoint.write(tmp_path / "kept", loaded, fit=Fit(2))))
    rmtree(tmp_path / "there")

    again = checkpoint.read(tmp_path / "kept", details)

    with torch.no_grad():
        assert torch.equal(again.network(TEXT), loaded.network(TEXT))
    assert checkpoint._runs_no_code(details)


def test_another_class_of_network_can_be_named(bert: Path) -> None:
    loaded = load(f"transformers:{bert}:AutoModelForTokenClassification", num_classes=3)

    assert loaded.network(TEXT).shape == (1, 4, 3)
    with pytest.raises(ModelError, match="'pipeline' is not a class that a network is made as"):
        load(f"transformers:{bert}:pipeline")


def test_pickled_weights_are_refused(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((bert / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")

    with pytest.raises(ModelError, match=r"pytorch_model\.bin, and safetensors alone are read"):
        load(f"transformers:{tmp_path}")


def test_code_that_comes_with_a_network_is_not_run(tmp_path: Path) -> None:
    config = {"model_type": "strange", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")

    with pytest.raises(ModelError, match="transformers cannot make it"):
        load(f"transformers:{tmp_path}")
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_with_more_tokens_than_the_network_is_refused(bert: Path) -> None:
    with pytest.raises(ModelError, match=rf"the tokenizer knows 500 tokens and the network {len(WORDS)}"):
        load(f"transformers:{bert}", num_classes=2, vocabulary=500)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("transformers:", "needs a folder or a name"),
        ("transformers:no/such/folder/anywhere", "no such folder"),
        ("transformers:.", "holds no config.json"),
    ],
)
def test_a_spec_that_names_nothing_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompressError, match=message):
        specs.parse(spec)


def test_without_the_extra_the_install_line_is_given(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match="transformers is not installed") as raised:
        specs.parse(f"transformers:{bert}")
    assert "pip install 'compressor[text]'" in str(raised.value.hint)


def test_what_decides_which_network_it_is_are_configuration_and_weights(bert: Path, tmp_path: Path) -> None:
    other = write_bert(tmp_path / "other", seed=1)

    assert specs.identity(f"transformers:{bert}") != specs.identity(f"transformers:{other}")
