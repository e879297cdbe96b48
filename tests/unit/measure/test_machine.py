"""The machine description: parsers over sample text, and one real call."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from compressor.measure import machine

XEON = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R)   Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse4_2 avx avx2 avx512f avx512_bf16 avx512_vnni avx_vnni amx_bf16 amx_tile amx_int8
processor\t: 1
flags\t\t: fpu
"""
OLD_X86 = "model name\t: Intel(R) Core(TM) i5-6500\nflags\t\t: fpu sse4_2 avx avx2\n"
RASPBERRY = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 atomics fphp asimdhp asimdrdm lrcpc asimddp
CPU implementer\t: 0x41

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""


def test_a_server_cpu_has_vnni_and_amx_and_no_answer_for_neon() -> None:
    features = machine.parse_features(XEON)

    assert features["avx512_vnni"] is True
    assert features["amx_int8"] is True
    assert features["neon"] is None


def test_an_older_x86_cpu_has_avx2_and_no_vnni() -> None:
    features = machine.parse_features(OLD_X86)

    assert features["avx2"] is True
    assert features["avx512_vnni"] is False
    assert features["avx_vnni"] is False


def test_an_arm_board_has_the_dot_product_and_no_i8mm() -> None:
    features = machine.parse_features(RASPBERRY)

    assert features["neon"] is True
    assert features["neon_dotprod"] is True
    assert features["i8mm"] is False
    assert features["avx2"] is None


def test_an_unknown_architecture_gives_no_answer_at_all() -> None:
    features = machine.parse_features("isa\t: rv64imafdc\n")

    assert features
    assert set(features.values()) == {None}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (XEON, "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"),
        (RASPBERRY, "Raspberry Pi 5 Model B Rev 1.0"),
        ("processor : 0\n", None),
    ],
)
def test_the_cpu_is_named_as_the_kernel_names_it(text: str, name: str | None) -> None:
    assert machine.cpu_model(text) == name


def test_memory_is_read_in_bytes() -> None:
    assert machine.memory_bytes("MemTotal:        8000000 kB\nMemFree: 1 kB\n") == 8_192_000_000
    assert machine.memory_bytes("") is None


def test_a_container_quota_is_a_number_of_cores() -> None:
    assert machine.cpu_quota("150000 100000\n") == 1.5
    assert machine.cpu_quota("max 100000\n") is None
    assert machine.cpu_quota("") is None


def test_this_machine_can_be_described_for_a_manifest() -> None:
    described = machine.describe()

    assert described["cores"] >= 1
    assert described["cpu"]
    assert set(described["isa"]) <= set(machine.cpu_features())
    assert json.loads(json.dumps(described)) == described


def test_describing_the_machine_imports_no_torch() -> None:
    code = "import sys; from compressor.measure import machine; machine.describe(); assert 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_arm64_tells_its_features_in_the_bits_that_the_kernel_hands_over() -> None:
    cortex_a76 = (1 << 1) | (1 << 20)

    assert machine.arm64_features(cortex_a76, 1 << 13) == {
        "neon": True,
        "neon_dotprod": True,
        "i8mm": True,
        "sve": False,
    }
    assert machine.arm64_features(0, 0) == {"neon": None, "neon_dotprod": None, "i8mm": None, "sve": None}


def test_a_processor_that_another_one_plays_is_called_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    x86 = "model name : AMD EPYC\nflags : avx2 avx512f\n"
    monkeypatch.setattr(machine, "_read", lambda file: x86 if file.name == "cpuinfo" else "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(machine, "_auxiliary", lambda entry: 1 << 1 if entry == 16 else 0)

    told = machine.describe()

    assert told["cpu"] == "emulated aarch64 on AMD EPYC"
    assert told["isa"] == ["neon"]


@pytest.mark.parametrize("file", ["cpu_capacity", "cpufreq/cpuinfo_max_freq"])
def test_the_fastest_cores_come_first_where_they_differ(tmp_path: Path, file: str) -> None:
    for core, strength in enumerate((400, 400, 1024, 1024)):
        shown = tmp_path / f"cpu{core}" / file
        shown.parent.mkdir(parents=True)
        shown.write_text(f"{strength}\n")

    assert machine.fastest_first({3, 0, 2, 1}, root=tmp_path) == [2, 3, 0, 1]


def test_cores_that_show_nothing_keep_their_order(tmp_path: Path) -> None:
    assert machine.fastest_first({1, 0}, root=tmp_path) == [0, 1]
