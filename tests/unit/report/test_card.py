"""The model card: its front matter is YAML, its snippet runs, its text is inert."""

from __future__ import annotations

import re
from dataclasses import replace

import yaml

from compressor.report import card
from compressor.report.facts import ReportData


def front_matter(text: str) -> dict[str, object]:
    found = re.match(r"---\n(.*?)---\n", text, flags=re.DOTALL)
    assert found
    read: dict[str, object] = yaml.safe_load(found.group(1))
    return read


def test_the_front_matter_holds_the_measured_metrics(data: ReportData) -> None:
    read = front_matter(card.render(data))

    (model,) = read["model-index"]  # type: ignore[misc]
    (result,) = model["results"]
    metrics = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert (read["library_name"], read["pipeline_tag"]) == ("onnx", "image-classification")
    assert abs(metrics["accuracy"] - data.headline.student) < 1e-5  # type: ignore[operator]
    assert result["dataset"]["split"] == "test"


def test_a_hostile_name_is_text_in_yaml_and_in_markdown(data: ReportData) -> None:
    hostile = 'x"\n- evil: true\n<script>alert(1)</script> #'

    text = card.render(replace(data, run=hostile))

    assert front_matter(text)["model-index"][0]["name"] == hostile  # type: ignore[index]
    assert "<script>" not in text.split("---\n", 2)[2]


def test_what_json_and_yaml_write_differently_is_yaml(data: ReportData) -> None:
    candidates = tuple(
        replace(candidate, accuracy=tuple(replace(entry, metrics={"loss": 1e-5}) for entry in candidate.accuracy))
        for candidate in data.candidates
    )
    odd = replace(data, run="\U0001f600 \u2028 é", task="own.py:Task\nevil: true", candidates=candidates)

    (model,) = front_matter(card.render(odd))["model-index"]  # type: ignore[misc]

    assert model["name"] == odd.run
    assert model["results"][0]["task"]["type"] == odd.task
    assert model["results"][0]["metrics"] == [{"type": "loss", "value": 1e-5}]


def test_a_place_on_this_machine_is_not_published(data: ReportData) -> None:
    links = tuple(replace(link, data={"source": "images:/home/someone/pets"}) for link in data.links)

    text = card.render(replace(data, links=links))

    assert "/home" not in text
    assert front_matter(text)["model-index"][0]["results"][0]["dataset"]["name"] == "pets"  # type: ignore[index]
    assert "samples like those of pets" in text


def test_the_snippet_is_python_for_the_models_input(data: ReportData) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", card.render(data), flags=re.DOTALL)

    compile(snippet, "card", "exec")
    assert "np.zeros((1, 1, 8, 8), dtype=np.float32)" in snippet


def test_a_model_that_wants_its_input_scaled_is_shown_how(data: ReportData) -> None:
    def scaled(*mean: float) -> str:
        normalisation = {"baked_in": False, "name": "data", "mean": list(mean), "std": [0.25] * len(mean)}
        told = [
            replace(link, input_contract={**link.input_contract, "normalisation": normalisation})
            if link.input_contract
            else link
            for link in data.links
        ]
        (snippet,) = re.findall(r"```python\n(.*?)```", card.render(replace(data, links=tuple(told))), flags=re.DOTALL)
        compile(snippet, "card", "exec")
        return str(snippet)

    assert "batch = (batch - np.array([0.5], np.float32)) / np.array([0.25], np.float32)" in scaled(0.5)
    assert "np.array([0.5, 0.4, 0.3], np.float32).reshape(-1, 1, 1)" in scaled(0.5, 0.4, 0.3)
    assert "compress.input" in scaled(*[0.5] * 40)


def test_it_says_what_was_lost_and_where_it_was_measured(data: ReportData) -> None:
    text = card.render(data)

    assert "Classes that lost most against the teacher" in text
    assert "Measured on Example CPU @ 2.00GHz (avx2)" in text
    assert "## Limitations" in text


def test_a_float_model_is_not_called_quantized(data: ReportData) -> None:
    told = {"target": {"name": "x86-avx2"}, "checked_on_cpu": "Example CPU", "checked_on_isa": ["avx2"]}

    def told_by(*, ships: bool) -> str:
        link = replace(data.links[-1], stage="quantize", quantization={**told, "ships": ships})
        return card.render(replace(data, links=(*data.links, link)))

    assert "quantized" in front_matter(told_by(ships=True))["tags"]  # type: ignore[operator]
    assert "Quantized for x86-avx2" in told_by(ships=True)
    assert "quantized" not in front_matter(told_by(ships=False))["tags"]  # type: ignore[operator]
    assert "Quantized for" not in told_by(ships=False)


def test_the_snippet_of_a_model_of_texts_reads_one_by_its_tokenizer(data: ReportData) -> None:
    inputs = [{"name": name, "dtype": "int64", "shape": ["tokens"]} for name in ("input_ids", "attention_mask")]
    told = tuple(
        replace(link, input_contract={**link.input_contract, "layout": "by name", "inputs": inputs})
        if link.input_contract
        else link
        for link in data.links
    )

    (snippet,) = re.findall(r"```python\n(.*?)```", card.render(replace(data, links=told)), flags=re.DOTALL)

    compile(snippet, "card", "exec")
    assert '"input_ids": [read.ids], "attention_mask": [read.attention_mask]' in snippet


def test_names_of_inputs_cannot_end_the_code_that_they_stand_in(data: ReportData) -> None:
    inputs = [
        {"name": 'a```\n"b', "dtype": "float32", "shape": [2]},
        {"name": "c", "dtype": "float32", "shape": ["t", 3]},
    ]
    told = tuple(
        replace(link, input_contract={**link.input_contract, "inputs": inputs}) if link.input_contract else link
        for link in data.links
    )

    (snippet,) = re.findall(r"```python\n(.*?)```", card.render(replace(data, links=told)), flags=re.DOTALL)

    compile(snippet, "card", "exec")
    assert "(1, 16, 3)" in snippet
