"""Holding a process to less memory and less processor time than this machine has.

Memory is limited by `RLIMIT_DATA`, which needs no rights; the limit is on what the process allocates, not on what is
resident. Processor time is limited by a control group of our own, which needs the right to make one (root, or a
delegated cgroup); version 2 is tried first, then version 1.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from compressor.errors import MeasurementError

_CGROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000


def limit_memory(pid: int, *, megabytes: int) -> None:
    """Let a running process allocate no more than `megabytes` of 10^6 bytes; beyond that its allocations fail.

    Raises:
        MeasurementError: This system cannot.
    """
    try:
        import resource

        resource.prlimit(pid, resource.RLIMIT_DATA, (megabytes * 10**6, megabytes * 10**6))
    except (ImportError, AttributeError, OSError, ValueError) as fault:
        raise MeasurementError(
            f"memory cannot be limited here: {fault}", where="memory_mb", hint="leave memory_mb out of the profile"
        ) from fault


class CpuQuota:
    """A control group whose processes get `cores` cores' worth of time in every 100 ms."""

    def __init__(self, cores: float, *, name: str, cgroups: Path = _CGROUPS) -> None:
        """Make the group.

        Args:
            cores: 0.5 is half of one core, 2 is two of them.
            name: Of the group; no other may have it.
            cgroups: Where control groups are mounted.

        Raises:
            MeasurementError: Control groups are not there, or may not be made.
        """
        quota = max(1000, round(cores * _PERIOD_US))
        faults = []
        for parent, file, setting in (
            (cgroups, "cpu.max", f"{quota} {_PERIOD_US}"),
            (cgroups / "cpu", "cpu.cfs_quota_us", str(quota)),
        ):
            self._folder = parent / name
            if not (
                parent / "cgroup.procs"
            ).exists():  # where version 1 is mounted below it, the root is a plain folder
                faults.append(f"{parent} is no control group")
                continue
            try:
                self._folder.mkdir()
                (self._folder / file).write_text(setting, encoding="ascii")
            except OSError as fault:
                faults.append(f"{self._folder}: {fault.strerror}")
                self.close()
                continue
            return
        raise MeasurementError(
            f"processor time cannot be limited here ({'; '.join(faults)})",
            where="cpu_share",
            hint="run as root or in a delegated control group, or leave cpu_share out of the profile",
        )

    def add(self, pid: int) -> None:
        """Put a process into the group, and with it all that it starts."""
        (self._folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def close(self) -> None:
        """Take the group away, once its processes are gone."""
        with contextlib.suppress(
            OSError
        ):  # it was never made, or a process is still leaving: an empty group is no harm
            self._folder.rmdir()
