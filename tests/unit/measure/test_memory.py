"""Resident memory of this process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from compressor.measure import memory


def test_memory_that_is_used_and_given_back_stays_in_the_peak() -> None:
    before = memory.current_mb()

    np.ones(10_000_000)  # 80 MB, gone at once

    assert memory.peak_mb() > before + 70
    assert memory.current_mb() < memory.peak_mb()


def test_peak_is_not_inherited_from_the_parent() -> None:
    ballast = np.ones(40_000_000)  # 320 MB
    program = "from compressor.measure import memory; print(memory.peak_mb())"

    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert float(found.stdout) < ballast.nbytes / 1e6


def test_a_field_is_read_in_units_of_a_million_bytes() -> None:
    assert memory.parse_status("Name:\tx\nVmHWM:\t   1000 kB\nVmRSS:\t 500 kB\n", "VmHWM") == 1.024


def test_a_field_that_is_not_there_is_none() -> None:
    assert memory.parse_status("Name:\tx\n", "VmHWM") is None
