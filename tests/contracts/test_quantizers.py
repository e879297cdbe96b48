"""What every post-training quantizer must keep to; a new file joins by existing."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from compressor import registry
from compressor.errors import ModelError
from compressor.models.inspection import inspect_onnx
from compressor.quantizers._targets import cpu
from tests.unit.quantizers.conftest import (  # noqa: F401 - fixtures
    Pictures,
    answers,
    convolutions,
    pictures,
    products,
)

POST_TRAINING = [
    member for member in registry.members("quantizers") if hasattr(member.load(), "prepare") and member.name != "qat"
]


def model_for(member: registry.Member, request: pytest.FixtureRequest):
    """A model that the method has something to do in."""
    return request.getfixturevalue("products" if member.name in ("dynamic", "weight_only") else "convolutions")


@pytest.fixture
def made(request, member, pictures, tmp_path):  # noqa: F811
    source = model_for(member, request)
    prepared = member.load()().prepare(source, calibration=pictures, cpu=cpu("this"), scratch=tmp_path)
    file = tmp_path / "quantized.onnx"
    prepared.write(file)
    return source, prepared, file


each_member = pytest.mark.parametrize("member", POST_TRAINING, ids=lambda member: member.name)


@each_member
def test_the_quantized_model_answers_nearly_as_the_float_model(made, pictures):  # noqa: F811
    source, _, file = made
    expected, found = answers(source, pictures.pixels), answers(file, pictures.pixels)

    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 0.25 * expected.std()
    assert not np.array_equal(found, expected)


@each_member
def test_it_takes_one_sample_and_many(made, pictures):  # noqa: F811
    _, _, file = made

    for number in (1, 7):
        assert answers(file, pictures.pixels[:number]).shape == (number, 5)


@each_member
def test_with_every_node_in_float_it_is_the_float_model(made, pictures, tmp_path):  # noqa: F811
    source, prepared, _ = made
    prepared.write(tmp_path / "whole.onnx", keep_float=prepared.nodes)

    difference = answers(tmp_path / "whole.onnx", pictures.pixels) - answers(source, pictures.pixels)
    assert np.abs(difference).max() < 1e-4


@each_member
def test_node_names_are_unique_and_stay(made):
    _, prepared, _ = made
    names = [node.name for node in onnx.load(prepared.float_model).graph.node]

    assert len(set(names)) == len(names)
    assert set(prepared.nodes) <= set(names)


@each_member
def test_what_the_model_says_of_itself_is_kept(made):
    source, _, file = made
    metadata = {entry.key: entry.value for entry in onnx.load(file).metadata_props}

    assert metadata == {entry.key: entry.value for entry in onnx.load(source).metadata_props}


@each_member
def test_it_has_as_many_parameters_as_the_float_model(made):
    _, prepared, file = made
    expected, found = inspect_onnx(prepared.float_model).parameters, inspect_onnx(file).parameters

    assert expected > 900
    assert (
        abs(found - expected) <= 4
    )  # constants that are no weights may be laid out otherwise: bounds, a normalization


@each_member
def test_writing_again_gives_the_same_file(made, tmp_path):
    _, prepared, file = made
    prepared.write(tmp_path / "again.onnx")

    assert (tmp_path / "again.onnx").read_bytes() == file.read_bytes()


@each_member
def test_nothing_is_printed(request, member, pictures, tmp_path, capfd):  # noqa: F811
    prepared = member.load()().prepare(
        model_for(member, request), calibration=pictures, cpu=cpu("this"), scratch=tmp_path
    )
    prepared.write(tmp_path / "quiet.onnx")

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("first", POST_TRAINING, ids=lambda member: f"after {member.name}")
@each_member
def test_what_is_quantized_already_is_refused(request, member, first, pictures, tmp_path):  # noqa: F811
    folders = [tmp_path / "first", tmp_path / "again"]
    for folder in folders:
        folder.mkdir()
    options = {"calibration": pictures, "cpu": cpu("x86-avx2")}
    file = tmp_path / "quantized.onnx"
    first.load()().prepare(model_for(first, request), scratch=folders[0], **options).write(file)

    with pytest.raises(ModelError, match="is quantized already: it holds ") as refusal:
        member.load()().prepare(file, scratch=folders[1], **options)

    assert refusal.value.exit_code == 2
    assert "float model" in refusal.value.hint
