"""How much memory this process occupies (resident set size), in MB of 10^6 bytes."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def current_mb() -> float:
    """What is resident now; where the system does not tell, the most there has been."""
    return _from_status("VmRSS")


def peak_mb() -> float:
    """The most that has been resident since this program was started."""
    # ru_maxrss comes second: Linux hands it down from the parent through exec, VmHWM starts anew.
    return _from_status("VmHWM")


def parse_status(status: str, field: str) -> float | None:
    """A field of `/proc/self/status` in MB; the kernel counts in units of 1 024 bytes and calls them kB."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, flags=re.MULTILINE)
    return int(found.group(1)) * 1024 / 1e6 if found else None


def _from_status(field: str) -> float:
    status = _STATUS.read_text(encoding="ascii", errors="replace") if _STATUS.is_file() else ""
    megabytes = parse_status(status, field)
    return _peak_by_rusage() if megabytes is None else megabytes


def _peak_by_rusage() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
