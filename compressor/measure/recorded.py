"""Measurements as they lie in files: `measurements.json` and its archives in a bench artifact, `device.json` of a pack.

Everything is looked at before anything of it is shown or kept; whatever is wrong with it is one sentence with the place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor import array_files, plain_json, plain_records, sealed_json
from compressor.errors import ArtifactError, InputError
from compressor.files import read_bytes
from compressor.measure.record import DEVICE, MEASUREMENTS, Device, Measurements, Timing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.artifact import Artifact

_AGAIN = "run compress bench again"
_RUN_IT_AGAIN = "run the pack's run.py there again"
_MOST_BYTES_OF_A_DEVICE = 64 * 2**20


def measurements(bench: Artifact) -> Measurements:
    """All that a bench artifact holds, every single latency and the pictures included.

    Raises:
        ArtifactError: Its files are damaged, incomplete, or written by a newer version.
    """
    raw = content(bench)
    try:
        found = plain_records.read(Measurements, raw)
    except ValueError as fault:
        raise _unreadable("measurements.json", fault, bench) from fault
    samples, pictures = _arrays(bench, "samples.npz"), _arrays(bench, "pictures.npz")
    worst = None if found.worst is None else replace(found.worst, pictures=pictures.get("worst"))
    return replace(found, timings=tuple(_with_samples(each, samples) for each in found.timings), worst=worst)


def content(bench: Artifact) -> Mapping[str, Any]:
    """`measurements.json` of a bench artifact as it is written.

    Raises:
        ArtifactError: It cannot be read, or is not one of ours.
    """
    file = bench.file("measurements.json")
    try:
        raw = plain_json.read(file, finite=True)
    except (OSError, ValueError) as fault:
        raise _unreadable("measurements.json", fault, bench) from fault
    if not isinstance(raw, dict) or not isinstance(raw.get("schema"), int):
        raise ArtifactError("measurements.json is not one of ours", where=str(bench.path), hint=_AGAIN)
    if raw["schema"] > MEASUREMENTS:
        raise ArtifactError(
            f"measurements.json has schema {raw['schema']}, this version reads up to {MEASUREMENTS}",
            where=str(bench.path),
            hint="pip install --upgrade compressor",
        )
    return raw


def _with_samples(timing: Timing, samples: Mapping[str, NDArray[Any]]) -> Timing:
    key = f"{timing.runtime}.{timing.profile}.{timing.role}"
    latencies, blocks = (tuple(samples[name].tolist()) if name in samples else () for name in (key, f"{key}.block"))
    return replace(timing, samples_ms=latencies, blocks=blocks)


def _arrays(bench: Artifact, name: str) -> Mapping[str, NDArray[Any]]:
    if name not in bench.manifest.files:
        return {}
    try:
        return array_files.read(bench.file(name))
    except (OSError, ValueError) as fault:
        raise _unreadable(name, fault, bench) from fault


def _unreadable(name: str, fault: Exception, bench: Artifact) -> ArtifactError:
    return ArtifactError(f"{name} cannot be read: {fault}", where=str(bench.path), hint=_AGAIN)


def device(file: Path) -> Device:
    """What a pack wrote on another machine.

    Raises:
        InputError: It cannot be read, or is not one of ours.
    """
    return device_in(_bytes_of(file), where=str(file))


def device_in(written: bytes, *, where: str) -> Device:
    """What a pack wrote on another machine, from the content of its file.

    Raises:
        InputError: It is not one of ours.
    """
    raw = _table_in(written, where=where)
    try:
        return plain_records.read(Device, raw)
    except ValueError as fault:
        raise _not_of_a_pack(fault, where) from fault


def device_content(file: Path) -> Mapping[str, Any]:
    """What a device has written, as plain data.

    Raises:
        InputError: It cannot be read, is not one of ours, or was changed since.
    """
    return _table_in(_bytes_of(file), where=str(file))


def _bytes_of(file: Path) -> bytes:
    try:
        return read_bytes(file, most_bytes=_MOST_BYTES_OF_A_DEVICE)
    except OSError as fault:
        raise InputError(f"cannot be read: {fault.strerror}", where=str(file), hint=_RUN_IT_AGAIN) from fault
    except ValueError as fault:
        raise _not_of_a_pack(fault, str(file)) from fault


def _table_in(written: bytes, *, where: str) -> Mapping[str, Any]:
    try:
        raw = sealed_json.read(written, required=False, finite=True)  # packs of earlier versions write no checksum
    except ValueError as fault:
        raise _not_of_a_pack(fault, where) from fault
    if "schema" not in raw:
        raise _not_of_a_pack(ValueError("it lacks 'schema'"), where)
    if raw["schema"] != DEVICE:
        sentence = f"written in form {raw['schema']} by another version; this one reads form {DEVICE}"
        raise InputError(sentence, where=where, hint="make the pack again with compress pack, and run it there")
    return raw


def _not_of_a_pack(fault: Exception, where: str) -> InputError:
    return InputError(f"not what a pack writes: {fault}", where=where, hint=_RUN_IT_AGAIN)
