"""The report as an artifact: `report.html`, `report.md` and `report.json` beside the manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from compressor import __version__, artifact, console, registry
from compressor.artifact import Artifact, Manifest
from compressor.errors import InputError, UnknownNameError
from compressor.measure import recorded
from compressor.report import card, html, markdown
from compressor.report import data as json_format
from compressor.report.collect import collect, other_models
from compressor.report.facts import ReportData
from compressor.report.tables import summary_rows

__all__ = ["FORMATS", "device_name", "key_for", "summary_rows", "write"]

_RENDERERS: Mapping[str, Callable[[ReportData], str]] = {
    "html": html.render,
    "md": markdown.render,
    "json": json_format.render,
    "card.md": card.render,
}
FORMATS = tuple(_RENDERERS)


def write(
    bench: Artifact, destination: Path, *, formats: tuple[str, ...] = FORMATS, devices: Sequence[Path] = ()
) -> Artifact:
    """Write the report of `bench` as an artifact at `destination`, replacing what stood there.

    Args:
        bench: The measurements.
        destination: The artifact's folder.
        formats: Which of `FORMATS`.
        devices: `device.json` files from other machines.

    Raises:
        UnknownNameError: A format that is not one of `FORMATS`.
        InputError: `bench` does not hold measurements.
        ArtifactError: The measurements are damaged, or `destination` cannot be written.
        NotOursError: Something else than a report of ours stands there.
    """
    key = key_for(bench, formats=formats, devices=devices)
    artifact.require_replaceable(destination, kinds=("report",))
    started = time.monotonic()
    collected = collect(bench, devices=devices)
    if collected.outdated:
        console.note(f"report  {collected.outdated} Measure again: compress bench {collected.folder}")
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


def device_name(file: Path, *, of: Artifact) -> str:
    """What a file of a device calls it, when it measured the models of these measurements.

    Raises:
        InputError: It cannot be read, is not one of ours, or measured other models.
    """
    device = recorded.device(file)
    others = other_models(of, device)
    if others:
        run = of.path.parent
        sentence = f"measured another {' and '.join(others)} than {run} has measurements of"
        raise InputError(sentence, where=str(file), hint=_what_brings_them_together(of, run))
    return device.name


def _what_brings_them_together(bench: Artifact, run: Path) -> str:
    """The next thing to do where a device measured other models: what was packed may be newer than what was measured."""
    packed = artifact.read(run / "pack") if artifact.is_artifact(run / "pack") else None
    if packed is not None and artifact.in_order([packed, bench])[-1] is packed:
        return f"compress bench {run} first: what was packed has not been measured here yet"
    return f"compress pack {run}, and measure there again"


def key_for(bench: Artifact, *, formats: tuple[str, ...] = FORMATS, devices: Sequence[Path] = ()) -> str:
    """The key of the report that `write` would make: it changes with the measurements and with this version.

    Raises:
        UnknownNameError: A format that is not one of `FORMATS`.
    """
    for name in formats:
        if name not in _RENDERERS:
            hint = registry.nearest(name, list(FORMATS), "known:")
            raise UnknownNameError(f"no report format is called '{name}'", where="--format", hint=hint)
    hashes = [artifact.sha256(file) for file in devices]
    return artifact.key_of(
        stage="report", bench=bench.manifest.key, formats=sorted(formats), devices=hashes, version=__version__
    )
