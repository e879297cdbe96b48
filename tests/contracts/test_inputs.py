"""What every kind of input must keep to; a new file joins by existing."""

from __future__ import annotations

import numpy as np
import pytest

from compressor import registry
from compressor.errors import UnknownNameError
from compressor.inputs._contract import InputKind, kind_of, only_kind
from compressor.tensors import Schema, TensorSpec

SPECS = {
    "pixels": TensorSpec("image", "uint8", (3, 8, 6)),
    "series": TensorSpec("series", "float32", (2, 50)),
    "vectors": TensorSpec("features", "float32", (7,)),
    "tokens": TensorSpec("input_ids", "int64", ("tokens",)),
}
"""An input of each kind."""
OF_NO_KIND = (
    TensorSpec("clip", "float32", (3, 4, 8, 8)),
    TensorSpec("category", "int64", (2,)),
    TensorSpec("there", "bool", (2, 2)),
)
KINDS = registry.members("inputs")


def test_there_is_an_input_of_each_kind_here():
    assert {member.name for member in KINDS} == SPECS.keys()


@pytest.mark.parametrize("name", SPECS)
def test_an_input_is_claimed_by_its_kind_alone(name):
    claiming = [member.name for member in KINDS if member.load()().claims(SPECS[name])]

    assert claiming == [name]
    assert type(kind_of(SPECS[name])) is registry.find("inputs", name).load()


@pytest.mark.parametrize("spec", OF_NO_KIND, ids=str)
def test_an_input_that_nobody_claims_is_plain_numbers(spec):
    assert type(kind_of(spec)) is InputKind
    assert kind_of(spec).arguments((1, 2)) == {}


@pytest.mark.parametrize("name", SPECS)
def test_a_kind_describes_its_input_in_an_exported_file(name):
    told = kind_of(SPECS[name]).contract(SPECS[name], scaled="")

    assert told["shape"] == ["batch", *SPECS[name].shape]
    assert len(told["layout"]) == len(told["shape"])
    assert told["layout"].startswith("N")
    assert told["range"] in ("0-1", "as in the data")


@pytest.mark.parametrize("name", SPECS)
def test_what_may_be_normalized_is_a_measurement(name):
    tried = kind_of(SPECS[name]).normalizations(SPECS[name])

    assert bool(tried) == (SPECS[name].dtype in ("uint8", "float32"))
    assert not tried or {"none", "data"} <= set(tried)


def test_imagenet_is_tried_on_three_channels_alone():
    grey = TensorSpec("image", "uint8", (1, 8, 8))

    assert "imagenet" in kind_of(SPECS["pixels"]).normalizations(SPECS["pixels"])
    assert "imagenet" not in kind_of(grey).normalizations(grey)


def test_pixels_become_pictures_and_nothing_else_does():
    pictures = kind_of(SPECS["pixels"]).pictures(np.full((2, 3, 8, 6), 0.5, np.float32))

    assert pictures is not None
    assert pictures.dtype == np.uint8
    assert (pictures == 128).all()
    assert kind_of(SPECS["pixels"]).pictures(np.zeros((2, 5, 8, 6), np.uint8)) is None
    assert kind_of(SPECS["series"]).pictures(np.zeros((2, 2, 50), np.float32)) is None


def test_several_inputs_have_no_one_kind():
    assert type(only_kind(Schema.of(SPECS["pixels"], SPECS["vectors"]))) is InputKind


def test_a_kind_of_ones_own_is_reached_by_its_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from compressor.inputs._contract import InputKind\n\n\nclass Echoes(InputKind):\n"
        "    '''Echoes.'''\n\n    layout = 'EC'\n\n"
        "    def arguments(self, shape):\n        return {'num_echoes': shape[0]}\n"
    )
    spec = TensorSpec("echo", "float32", (4, 9), kind=f"{tmp_path / 'mine.py'}:Echoes")

    assert kind_of(spec).layout == "EC"
    assert kind_of(spec).arguments((4, 9)) == {"num_echoes": 4}
    with pytest.raises(UnknownNameError, match="no input is called 'nothing'"):
        kind_of(TensorSpec("echo", "float32", (4, 9), kind="nothing"))


def test_a_named_kind_and_padding_are_kept_in_a_manifest():
    schema = Schema.of(TensorSpec("input_ids", "int64", ("tokens",), padding=1, kind="tokens"), SPECS["vectors"])

    assert Schema.from_json(schema.as_json()) == schema
    assert schema.as_json()[1] == {"name": "features", "dtype": "float32", "shape": [7]}
