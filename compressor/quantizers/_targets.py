"""The CPU that will run a quantized model decides how it is quantized, and how far its accuracy carries."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Literal

from compressor.measure import machine
from compressor.quantizers._contract import Cpu

Target = Literal["this", "x86-avx2", "x86-vnni", "arm64"]

# Sources: ONNX Runtime's "Quantize ONNX models" (data type selection, when and why to use U8S8 and reduce_range), and
# microsoft/onnxruntime#6004, where the same file gave other answers on CPUs with and without VNNI.
_KINDS: Mapping[str, Cpu] = {
    "x86-avx2": Cpu(
        "x86-avx2",
        activations="uint8",
        weights="int8",
        reduce_range=True,
        reason="without VNNI two products of 8 bits are added up in 16, which saturates: weights keep to 7 bits",
    ),
    "x86-vnni": Cpu(
        "x86-vnni",
        activations="uint8",
        weights="int8",
        reduce_range=False,
        reason="VNNI adds up products of uint8 and int8 in 32 bits",
    ),
    "arm64": Cpu(
        "arm64",
        activations="int8",
        weights="int8",
        reduce_range=False,
        reason="ARM multiplies int8 by int8 and adds up in 32 bits",
    ),
}
_VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")


def cpu(target: Target, features: Mapping[str, bool | None] | None = None) -> Cpu:
    """The kind of CPU that a target is.

    Args:
        target: By name, or `this` for the machine that asks.
        features: Of this machine, as `machine.cpu_features` gives them; by default they are read.
    """
    if target != "this":
        return _KINDS[target]
    here = machine.cpu_features() if features is None else features
    if any(here.get(name) is not None for name in ("neon", "neon_dotprod")) or platform.machine() in (
        "aarch64",
        "arm64",
    ):
        return _KINDS["arm64"]
    return _KINDS["x86-vnni" if any(here.get(name) for name in _VNNI) else "x86-avx2"]
