"""What every data format must keep to; a new file in `data/formats` joins by existing."""

import inspect

import pytest

from compressor import registry

FORMATS = registry.members("formats")


def test_there_are_formats():
    assert {member.name for member in FORMATS} >= {
        "cifar",
        "csv",
        "digits",
        "huggingface",
        "idx",
        "images",
        "npz",
        "py",
    }


@pytest.mark.parametrize("member", FORMATS, ids=lambda member: member.name)
def test_a_format_says_in_one_line_what_it_reads(member):
    assert 10 < len(member.summary) <= 120
    assert member.summary.endswith(".")


@pytest.mark.parametrize("member", FORMATS, ids=lambda member: member.name)
def test_a_format_is_one_function_named_after_its_file_that_returns_splits(member):
    function = member.load()

    assert inspect.isfunction(function)
    assert function.__name__ == member.name
    assert function.__annotations__["return"] == "Splits"


@pytest.mark.parametrize("member", FORMATS, ids=lambda member: member.name)
def test_a_format_takes_at_most_one_place_and_explains_its_options(member):
    assert len(member.positional) <= 1
    assert all(option.annotation in {"Path", "str"} for option in member.positional)
    assert all(option.help and not option.required for option in member.options)
