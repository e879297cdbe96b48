"""The report as an artifact: `report.html`, `report.md` and `report.json` beside the manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from compressor import __version__, artifact, registry
from compressor.artifact import Artifact, Manifest
from compressor.errors import UnknownNameError
from compressor.report import data as json_format
from compressor.report import html, markdown
from compressor.report.collect import collect
from compressor.report.facts import ReportData
from compressor.report.tables import summary_rows

__all__ = ["FORMATS", "key_for", "summary_rows", "write"]

_RENDERERS: Mapping[str, Callable[[ReportData], str]] = {
    "html": html.render,
    "md": markdown.render,
    "json": json_format.render,
}
FORMATS = tuple(_RENDERERS)


def write(bench: Artifact, destination: Path, *, formats: tuple[str, ...] = FORMATS) -> Artifact:
    """Write the report of `bench` as an artifact at `destination`, replacing what stood there.

    Raises:
        UnknownNameError: A format that is not one of `FORMATS`.
        InputError: `bench` does not hold measurements.
        ArtifactError: The measurements are damaged, or `destination` cannot be written.
    """
    key = key_for(bench, formats=formats)
    started = time.monotonic()
    collected = collect(bench)
    with artifact.folder_for(destination) as folder:
        for name in formats:
            (folder / f"report.{name}").write_text(_RENDERERS[name](collected), encoding="utf-8", errors="replace")
        manifest = Manifest(
            kind="report",
            stage="report",
            role="report",
            key=key,
            seed=bench.manifest.seed,
            settings={"formats": list(formats)},
            parents={"bench": artifact.parent_entry(bench, destination)},
            data=bench.manifest.data,
            metrics=asdict(collected.headline),
            machine=bench.manifest.machine,
            elapsed_s=time.monotonic() - started,
        )
        return artifact.seal(folder, destination, manifest)


def key_for(bench: Artifact, *, formats: tuple[str, ...] = FORMATS) -> str:
    """The key of the report that `write` would make: it changes with the measurements and with this version.

    Raises:
        UnknownNameError: A format that is not one of `FORMATS`.
    """
    for name in formats:
        if name not in _RENDERERS:
            hint = registry.nearest(name, list(FORMATS), "known:")
            raise UnknownNameError(f"no report format is called '{name}'", where="--format", hint=hint)
    return artifact.key_of(stage="report", bench=bench.manifest.key, formats=sorted(formats), version=__version__)
