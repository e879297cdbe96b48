"""The result file of a benchmark: claims that can fail, the samples behind them, and where and how they were made."""

from __future__ import annotations

import json
import platform
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from compressor.artifact import library_versions
from compressor.measure import machine

RESULTS = Path(__file__).parent / "results"
SCHEMA = 1
THEMES = ("training", "hinton", "losses", "chain", "int8", "latency", "segmentation", "text")


@dataclass(frozen=True)
class Claim:
    """Something a benchmark set out to show.

    Attributes:
        claim: A sentence.
        goal: What the value is held against.
        value: What was measured; None when it could not be.
        unit: Of goal and value.
        better: Whether the value must be at least or at most the goal.
    """

    claim: str
    goal: float
    value: float | None
    unit: str
    better: Literal["at least", "at most"] = "at least"

    @property
    def holds(self) -> bool:
        """Whether the value reaches the goal; an unmeasured one does not."""
        if self.value is None:
            return False
        return self.value >= self.goal if self.better == "at least" else self.value <= self.goal


def write(name: str, claims: Sequence[Claim], *, samples: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write a result file and return its path.

    Args:
        name: Begins with a theme.
        claims: What was to be shown.
        samples: Everything the values were computed from.
        folder: Where to.

    Raises:
        ValueError: The name has no theme, or there is no claim.
    """
    if name.partition("_")[0] not in THEMES:
        raise ValueError(f"'{name}' does not begin with a theme: {', '.join(THEMES)}")
    if not claims:
        raise ValueError("a benchmark without a claim shows nothing")
    here = machine.describe()
    date = datetime.now(UTC)
    result = {
        "schema": SCHEMA,
        "benchmark": name,
        "command": _command(),
        "date": date.isoformat(timespec="seconds"),
        "versions": library_versions() | {"python": platform.python_version()},
        "machine": here,
        "claims": [{**asdict(claim), "holds": claim.holds} for claim in claims],
        "samples": _without_roots(samples),
    }
    cpu = re.sub(r"[^A-Za-z0-9]+", "-", str(here["cpu"])).strip("-").lower()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}_{cpu}-{here['cores']}-cores_{date:%Y-%m-%d}.json"
    file.write_text(json.dumps(result, indent=1, allow_nan=False), encoding="utf-8")
    return file


def _command() -> str:
    """What was typed, without the paths of this machine in front."""
    script = Path(sys.argv[0])
    parts = script.with_suffix("").parts
    start = f"-m {'.'.join(parts[parts.index('benchmarks') :])}" if "benchmarks" in parts else script.name
    return f"python {start} {shlex.join(_without_root(argument) for argument in sys.argv[1:])}".strip()


def _without_roots(value: Any) -> Any:
    """The same with every absolute path shortened, at any depth."""
    if isinstance(value, str):
        return _without_root(value)
    if isinstance(value, Mapping):
        return {_without_root(str(name)): _without_roots(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_roots(item) for item in value]
    return value


def _without_root(argument: str) -> str:
    """An absolute path as its last two parts: where a machine keeps its files is nobody's business."""
    return "/".join(Path(argument).parts[-2:]) if argument.startswith("/") else argument
