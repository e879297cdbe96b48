"""The CPU decides types and ranges."""

from __future__ import annotations

import pytest

from compressor.quantizers._targets import cpu


@pytest.mark.parametrize(
    ("features", "name"),
    [
        ({"avx2": True, "avx512_vnni": False, "avx_vnni": False, "neon": None}, "x86-avx2"),
        ({"avx2": True, "avx512_vnni": True, "neon": None}, "x86-vnni"),
        ({"avx2": True, "avx_vnni": True, "neon": None}, "x86-vnni"),
        ({"avx2": None, "neon": True}, "arm64"),
    ],
)
def test_this_machine_is_known_by_its_instructions(features, name):
    assert cpu("this", features).name == name


def test_a_named_target_does_not_depend_on_this_machine():
    assert cpu("arm64", {"avx2": True}).name == "arm64"


def test_only_cpus_without_vnni_give_up_a_bit():
    assert [name for name in ("x86-avx2", "x86-vnni", "arm64") if cpu(name).reduce_range] == ["x86-avx2"]


def test_arm_multiplies_signed_by_signed():
    assert cpu("arm64").activations == "int8"
    assert cpu("x86-vnni").activations == "uint8"
