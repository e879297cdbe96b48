"""What this computer is: written into every manifest, and what `compress doctor` explains.

Read from `/proc` and the standard library, without importing torch; a GPU is named by torch when torch is already
loaded, else by `nvidia-smi` when there is one. What cannot be found out is None, never guessed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Our name of a feature -> the word in the `flags` line of /proc/cpuinfo (Linux, arch/x86/include/asm/cpufeatures.h).
_X86_FLAGS: Mapping[str, str] = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "avx_vnni": "avx_vnni",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
}
# Our name -> the words in the `Features` line (Linux, Documentation/arch/arm64/elf_hwcaps.rst); 32-bit ARM says "neon".
_ARM_FLAGS: Mapping[str, tuple[str, ...]] = {
    "neon": ("asimd", "neon"),
    "neon_dotprod": ("asimddp",),
    "i8mm": ("i8mm",),
    "sve": ("sve",),
}


_HWCAP, _HWCAP2 = 16, 26  # entries of the auxiliary vector (getauxval(3))


def describe() -> dict[str, Any]:
    """This machine for a manifest.

    Keys: `cpu`, `architecture`, `cores` (that this process may use), `cpu_quota_cores` (a container's limit, or None),
    `memory_gb` (10^9 bytes, or None), `os`, `python`, `isa` (CPU features that are present), `gpus` (names).
    """
    cpuinfo = _read(Path("/proc/cpuinfo"))
    memory = memory_bytes(_read(Path("/proc/meminfo")))
    architecture = platform.machine()
    cpu = cpu_model(cpuinfo) or _board_model() or platform.processor() or architecture
    return {
        "cpu": f"emulated {architecture} on {cpu}" if _is_emulated(cpuinfo, architecture) else cpu,
        "architecture": architecture,
        "cores": usable_cores(),
        "cpu_quota_cores": cpu_quota(_read(Path("/sys/fs/cgroup/cpu.max"))),
        "memory_gb": None if memory is None else round(memory / 1e9, 1),
        "os": platform.platform(),
        "python": platform.python_version(),
        "isa": [name for name, present in cpu_features().items() if present],
        "gpus": gpu_names(),
    }


def cpu_features() -> dict[str, bool | None]:
    """Which instructions that decide the speed of inference this CPU has; None where it cannot be known."""
    cpuinfo, architecture = _read(Path("/proc/cpuinfo")), platform.machine()
    if not _is_emulated(cpuinfo, architecture):
        return parse_features(cpuinfo)
    none = parse_features("")
    return none | arm64_features(_auxiliary(_HWCAP), _auxiliary(_HWCAP2)) if architecture == "aarch64" else none


def arm64_features(hwcap: int, hwcap2: int) -> dict[str, bool | None]:
    """The CPU features in what Linux hands every program on 64-bit ARM (its Documentation/arch/arm64/elf_hwcaps.rst).

    Args:
        hwcap: AT_HWCAP of the auxiliary vector; 0 where it is not known.
        hwcap2: AT_HWCAP2.
    """
    if not hwcap:
        return dict.fromkeys(_ARM_FLAGS)
    return {
        "neon": bool(hwcap & 1 << 1),
        "neon_dotprod": bool(hwcap & 1 << 20),
        "i8mm": bool(hwcap2 & 1 << 13),
        "sve": bool(hwcap & 1 << 22),
    }


def parse_features(cpuinfo: str) -> dict[str, bool | None]:
    """The CPU features in the text of `/proc/cpuinfo`; those of another architecture, or of no known one, are None."""
    x86 = _words(cpuinfo, "flags")
    arm = _words(cpuinfo, "Features")
    features: dict[str, bool | None] = {name: flag in x86 if x86 else None for name, flag in _X86_FLAGS.items()}
    features |= {name: any(flag in arm for flag in flags) if arm else None for name, flags in _ARM_FLAGS.items()}
    return features


def cpu_model(cpuinfo: str) -> str | None:
    """The name of the CPU in the text of `/proc/cpuinfo`; ARM kernels often give none."""
    for field in ("model name", "Model", "Hardware"):
        found = re.search(rf"^{field}\s*:\s*(\S.*)$", cpuinfo, flags=re.MULTILINE)
        if found:
            return " ".join(found.group(1).split())
    return None


def memory_bytes(meminfo: str) -> int | None:
    """The whole memory in the text of `/proc/meminfo`, in bytes."""
    found = re.search(r"^MemTotal:\s*(\d+) kB$", meminfo, flags=re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def cpu_quota(cpu_max: str) -> float | None:
    """The cores that a cgroup's `cpu.max` ("150000 100000") allows, here 1.5; None when it sets no limit."""
    found = re.fullmatch(r"(\d+) (\d+)", cpu_max.strip())
    return int(found.group(1)) / int(found.group(2)) if found else None


def usable_cores() -> int:
    """Number of logical cores this process may run on (its affinity, not what the machine has)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fastest_first(cores: Iterable[int], *, root: Path = Path("/sys/devices/system/cpu")) -> list[int]:
    """Cores by number, those that compute most first where they differ, as on phones (big.LITTLE) and hybrid laptops.

    By the kernel's own measure (`cpu_capacity`) or else by the highest frequency; a machine that shows neither keeps the
    order of its numbers.

    Args:
        cores: Their numbers.
        root: Where Linux shows them.
    """

    def strength(core: int) -> int:
        told = _read(root / f"cpu{core}" / "cpu_capacity") or _read(
            root / f"cpu{core}" / "cpufreq" / "cpuinfo_max_freq"
        )
        return int(told) if told.strip().isdigit() else 0

    return sorted(cores, key=lambda core: (-strength(core), core))


def gpu_names() -> list[str]:
    """Names of the GPUs that can be seen; asks torch only when it is already loaded."""
    torch = sys.modules.get("torch")
    if torch is not None:
        if not torch.cuda.is_available():
            return []
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return _names_from_nvidia_smi()


def _is_emulated(cpuinfo: str, architecture: str) -> bool:
    """Whether `/proc/cpuinfo` tells of another kind of processor than this program was made for."""
    is_x86 = architecture in ("x86_64", "AMD64", "i386", "i686")
    return bool(_words(cpuinfo, "Features") if is_x86 else _words(cpuinfo, "flags"))


def _auxiliary(entry: int) -> int:
    """An entry of the auxiliary vector; 0 where there is none."""
    import ctypes

    try:
        getauxval = ctypes.CDLL(None).getauxval
    except (OSError, AttributeError):
        return 0
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    return int(getauxval(entry))


def _names_from_nvidia_smi() -> list[str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        answer = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []  # the tool stands there without a driver that answers: no GPU can be used
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def _board_model() -> str | None:
    """The name of a board that has a device tree (Raspberry Pi, Jetson); the file ends in a zero byte."""
    return _read(Path("/proc/device-tree/model")).strip("\0\n ") or None


def _words(cpuinfo: str, field: str) -> frozenset[str]:
    """The words after `field`, of the first core; empty when the field is not there."""
    found = re.search(rf"^{field}\s*:(.*)$", cpuinfo, flags=re.MULTILINE)
    return frozenset(found.group(1).split()) if found else frozenset()


def _read(file: Path) -> str:
    """The text of a system file, or nothing where there is no such file."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
