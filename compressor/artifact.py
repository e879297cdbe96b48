"""The folder a stage leaves behind: a manifest and its payload, whole or not there at all.

An artifact is written into a temporary folder beside its final place, synced to the disk and renamed. The manifest says
what made it, from what, with which settings, seed, data, library versions and machine, every automatic decision with its
reason, the metrics, and the SHA-256 of every file; it has a checksum of its own. Whoever reads a payload file asks for it
with `Artifact.file` or after `Artifact.verify`, so that nothing is believed that was changed since.

Not covered: what a network's payload looks like (`models/checkpoint.py`).
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from compressor import files as whole_files
from compressor import places, plain_json, sealed_json
from compressor.errors import ArtifactError, NotOursError

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
LOCK = ".lock"  # in the folder of a run: what is at work there holds it
_POLL_S = 0.2
Kind = Literal["torch", "onnx", "measurements", "report", "pack", "clusters"]

_RECORDED_LIBRARIES = (
    "compressor",
    "lightning-fabric",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "timm",
    "torch",
    "torchvision",
)


@dataclass(frozen=True)
class Decision:
    """One automatic choice, and why it fell that way."""

    what: str
    choice: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.choice} — {self.reason}"


@dataclass(frozen=True)
class Manifest:
    """All that is known about an artifact.

    Attributes:
        kind: What the payload is.
        stage: The stage that wrote it (`train`, `adopt`, `distill`, `export`, `bench`, ...).
        role: What it is in its run: `teacher`, `control`, `student`, or the stage's name.
        key: Hash of everything that went in; equal keys mean equal work.
        settings: The resolved settings of the stage.
        parents: Role -> `{"path", "key", "stage"}` of each source artifact; paths are relative to this artifact.
        data: Name, fingerprint, class names and split sizes of the data set.
        metrics: Numbers the stage measured, by split or name.
        details: What belongs to this stage alone (training curves, parity, input contract, ...).
        decisions: Every automatic choice with its reason.
        elapsed_s: Wall time of the stage in seconds, resumed parts included.
        command: What the user typed.
        files: SHA-256 of each payload file, by path relative to the artifact.
        code: Name -> `{"path", "files"}` of each Python file of the user's own that the settings name: its place relative to
            the artifact, and the SHA-256 of it and of what it imports from beside itself.
        sequence: Its place among what was made below the same folder of runs, from 1: more than that of anything that was
            there before. Clocks are set back, this is not. 0 for what earlier versions wrote.
    """

    kind: Kind
    stage: str
    role: str
    key: str
    seed: int
    settings: Mapping[str, Any]
    parents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
    elapsed_s: float = 0.0
    created: str = ""
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sequence: int = 0
    schema: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Artifact:
    """A finished artifact on disk."""

    path: Path
    manifest: Manifest

    def file(self, name: str) -> Path:
        """Path of a payload file; it, and what belongs to it (`model.onnx.data` to `model.onnx`), is what was written.

        Raises:
            ArtifactError: The artifact holds no such file, or it is missing or was changed since.
        """
        if name not in self.manifest.files:
            raise ArtifactError(f"holds no '{name}'; it holds {', '.join(self.manifest.files)}", where=str(self.path))
        for each in self.manifest.files:
            if each.startswith(name):
                self._require_unchanged(each)
        return self.path / name

    def parent(self, role: str) -> Artifact | None:
        """The source artifact in `role`, if it is recorded and still the one that stands where it stood."""
        found = self.standing_for(role)
        return found if found and found.manifest.key == self.manifest.parents[role]["key"] else None

    def standing_for(self, role: str) -> Artifact | None:
        """Whatever artifact stands where the source in `role` stood; it may have been made again since."""
        recorded = self.manifest.parents.get(role)
        if recorded is None:
            return None
        folder = Path(os.path.normpath(self.path / recorded["path"]))
        return read(folder) if is_artifact(folder) else None

    def verify(self) -> None:
        """Compare every payload file with its recorded hash.

        Raises:
            ArtifactError: A file is missing, differs, or was not written with the others.
        """
        for file in sorted(self.path.rglob("*")):
            name = file.relative_to(self.path).as_posix()
            known = name == MANIFEST or name in self.manifest.files or self.manifest.kind in SHARED_WITH_PEOPLE
            if not file.is_dir() and not known and "__pycache__" not in name:
                raise ArtifactError(f"'{name}' was not written with the others", where=str(self.path), hint=_REMAKE)
        for name in self.manifest.files:
            self._require_unchanged(name)

    def _require_unchanged(self, name: str) -> None:
        file = self.path / name
        if not file.is_file():
            raise ArtifactError(f"'{name}' is missing", where=str(self.path), hint=_REMAKE)
        if sha256(file) != self.manifest.files[name]:
            raise ArtifactError(f"'{name}' is not what was written (hash)", where=str(self.path), hint=_REMAKE)


SHARED_WITH_PEOPLE: tuple[Kind, ...] = ("report", "pack")
"""Kinds that people put files beside ours into: notes, or what a pack measured that was run where it lies."""
_REMAKE = "delete the folder and run the stage again"


@dataclass(frozen=True)
class Target:
    """What a stage is asked to leave behind, and where.

    Attributes:
        folder: The artifact's final place.
        stage: The stage that writes it.
        role: What it is in its run (see `Manifest`).
        key: Hash of everything that goes in.
        seed: Seed of everything random.
        settings: The resolved settings, as plain data.
        parents: Source artifacts by role.
        command: What the user types to do this again, or to go on after an interruption.
        decisions: What was chosen before the stage began.
        code: Python files that the settings name (see `Manifest`).
    """

    folder: Path
    stage: str
    role: str
    key: str
    seed: int
    settings: Mapping[str, Any]
    parents: Mapping[str, Artifact] = field(default_factory=dict)
    command: str = ""
    decisions: tuple[Decision, ...] = ()
    code: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """Where unfinished work is kept for the next run."""
        return self.folder.parent / f".{self.folder.name}.state"

    def manifest(self, kind: Kind) -> Manifest:
        """The manifest of the artifact to be, as far as it is known before the work."""
        parents = {role: parent_entry(parent, self.folder) for role, parent in self.parents.items()}
        return Manifest(
            kind,
            self.stage,
            self.role,
            self.key,
            self.seed,
            self.settings,
            parents,
            command=self.command,
            code=self.code,
        )


def is_artifact(path: Path) -> bool:
    """Whether `path` is a folder with a manifest."""
    return (path / MANIFEST).is_file()


def read(path: Path) -> Artifact:
    """Read the artifact at `path`; payload hashes are checked by `file` and `verify`, not here.

    Raises:
        ArtifactError: No manifest, not JSON, changed after it was written, or written by a newer version.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise ArtifactError("no manifest.json here, so this is no artifact", where=str(path))
    try:
        raw = plain_json.read(file)
    except (OSError, ValueError) as fault:
        raise ArtifactError(f"manifest.json is damaged: {fault}", where=str(path), hint=_REMAKE) from fault
    if not isinstance(raw, dict) or not isinstance(raw.get("schema"), int):
        raise ArtifactError("manifest.json is not one of ours", where=str(path))
    if raw["schema"] > SCHEMA_VERSION:
        raise ArtifactError(
            f"written with schema {raw['schema']}, this version reads up to {SCHEMA_VERSION}",
            where=str(path),
            hint="pip install --upgrade compressor",
        )
    try:
        raw = sealed_json.opened(raw, required=False)  # earlier versions wrote none
    except ValueError as fault:
        raise ArtifactError(f"manifest.json is damaged: {fault}", where=str(path), hint=_REMAKE) from fault
    known = {f.name for f in fields(Manifest)}
    lacking = [f.name for f in fields(Manifest) if f.default is MISSING and f.default_factory is MISSING]
    lacking = [name for name in lacking if name not in raw]
    if lacking:
        raise ArtifactError(f"manifest.json lacks {', '.join(lacking)}", where=str(path), hint=_REMAKE)
    raw = {name: value for name, value in raw.items() if name in known}
    wrong = _wrong_kinds(raw)
    if wrong:
        raise ArtifactError(f"manifest.json is damaged: {', '.join(wrong)}", where=str(path), hint=_REMAKE)
    try:
        raw["decisions"] = tuple(
            Decision(*(str(decision[part]) for part in ("what", "choice", "reason")))
            for decision in raw.get("decisions", ())
        )
    except (TypeError, KeyError) as fault:
        raise ArtifactError("manifest.json is damaged: decisions", where=str(path), hint=_REMAKE) from fault
    return Artifact(path, Manifest(**raw))


def require_as_written(file: Path) -> None:
    """Refuse a file that lies in an artifact and is not what was written there; a file of anywhere else is as it is.

    Raises:
        ArtifactError: It was changed since.
    """
    if not is_artifact(file.parent):
        return
    try:
        made = read(file.parent)
    except ArtifactError as fault:
        if fault.hint is None:
            return  # the manifest of something else
        raise
    if file.name in made.manifest.files:
        made.file(file.name)


_TABLES = ("settings", "data", "metrics", "details", "machine")
_TEXTS = ("kind", "stage", "role", "key", "created", "command")
_LONGEST_NAME = 255


def _wrong_kinds(raw: Mapping[str, Any]) -> list[str]:
    """Entries of a manifest that are not of their kind, or name a file where none of an artifact can be."""
    found = [name for name in _TEXTS if not isinstance(raw.get(name, ""), str)]
    found += [name for name in _TABLES if not isinstance(raw.get(name, {}), dict)]
    found += [name for name in ("files", "versions") if not _is_table_of_texts(raw.get(name, {}))]
    found += [name for name in ("seed",) if not _is_number(raw[name], int)]
    found += [name for name in ("elapsed_s",) if not _is_number(raw.get(name, 0), (int, float))]
    machine = raw["machine"] if "machine" in raw and "machine" not in found else {}
    if not all(_is_told_of_machine(name, value) for name, value in machine.items()):
        found.append("machine")
    if not set(_TABLES) & set(found):
        found += _wrong_of_data(raw.get("data", {})) + _wrong_of_metrics(raw.get("metrics", {}))
        if not _is_curve(raw.get("details", {}).get("curve", [])):
            found.append("details.curve")
    parents = raw.get("parents", {})
    if not isinstance(parents, dict):
        return [*found, "parents"]
    for role, entry in parents.items():
        whole = _is_table_of_texts(entry) and {"path", "key", "stage"} <= set(entry)
        if not whole or not _can_be_path(entry["path"]):
            found.append(f"parents.{role}")
    if "files" not in found:
        found += [f"files.{name}" for name in raw.get("files", {}) if not _can_be_path(name) or not _is_inside(name)]
    return found


def _is_table_of_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _wrong_of_data(data: Mapping[str, Any]) -> list[str]:
    texts = ("source", "fingerprint", "test_fingerprint")
    found = [f"data.{name}" for name in texts if not isinstance(data.get(name, ""), str)]
    classes = data.get("classes", [])
    whole = isinstance(classes, list) and all(isinstance(each, str) for each in classes)
    return found if whole else [*found, "data.classes"]


def _wrong_of_metrics(metrics: Mapping[str, Any]) -> list[str]:
    """Splits whose scores are not as `measure.accuracy.evaluate` gives them."""
    found = []
    for split in ("train", "val", "test"):
        scored = metrics.get(split)
        if scored is None or (isinstance(scored, dict) and "primary" not in scored):
            continue
        whole = isinstance(scored, dict) and isinstance(scored["primary"], str)
        numbers: Any = scored.get("metrics") if whole else None
        whole = isinstance(numbers, dict) and all(
            each is None or _is_number(each, (int, float)) for each in numbers.values()
        )
        interval = scored.get("interval") if whole else None
        bounds = interval if isinstance(interval, list) else []
        whole = whole and (
            interval is None or (len(bounds) == 2 and all(_is_number(each, (int, float)) for each in bounds))
        )
        if not whole or scored["primary"] not in numbers or not _is_number(scored.get("samples"), int):
            found.append(f"metrics.{split}")
    return found


def _is_curve(curve: Any) -> bool:
    return isinstance(curve, list) and all(
        isinstance(entry, dict)
        and _is_number(entry.get("epoch"), int)
        and all(entry.get(name) is None or _is_number(entry[name], (int, float)) for name in ("lr", "train_loss"))
        and isinstance(entry.get("val") or {}, dict)
        for entry in curve
    )


def _is_told_of_machine(name: str, value: Any) -> bool:
    """Whether a value is as `measure.machine.describe` gives it."""
    if name in ("isa", "gpus"):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if name in ("cpu", "architecture"):
        return isinstance(value, str)
    return value is None or isinstance(value, (str, int, float))


def _is_number(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _can_be_path(name: str) -> bool:
    """Whether a file system would take a name at all."""
    return "\0" not in name and all(len(part.encode()) <= _LONGEST_NAME for part in name.split("/"))


def _is_inside(name: str) -> bool:
    """Whether a relative name stays below the folder it starts in."""
    return name not in ("", ".") and not name.startswith("/") and ".." not in name.split("/")


def await_other(folder: Path, *, key: str) -> Artifact:
    """The whole artifact under `key` that another process is about to put at `folder`; a launcher ends both if it fails."""
    while True:
        try:
            there = read(folder)
            if there.manifest.key == key:
                there.verify()  # a damaged one is about to be replaced
                return there
        except (ArtifactError, OSError):
            pass  # not there yet, or just being moved
        time.sleep(_POLL_S)


def walk(first: Artifact | None, onward: Callable[[Artifact], Artifact | None]) -> Iterator[Artifact]:
    """The artifacts from `first` on, each a source of the one before, as `onward` finds it.

    Raises:
        ArtifactError: One comes a second time: nothing is made from itself.
    """
    seen: set[Path] = set()
    current = first
    while current is not None:
        place = current.path.resolve()
        if place in seen:
            raise ArtifactError("is named among its own sources", where=str(current.path), hint=_REMAKE)
        seen.add(place)
        yield current
        current = onward(current)


def newest(runs: Path, *, kind: Kind, roles: tuple[str, ...] = ()) -> Artifact | None:
    """The artifact of `kind` below `runs` that was made last (in one of `roles`, if any are named).

    Raises:
        ArtifactError: One of those below `runs` is damaged, so that nobody can say whether it is the one.
    """
    found, faults = _below(runs)
    if faults:
        raise ArtifactError(
            f"{faults[0].message}, so nobody can say what was made last here",
            where=faults[0].where,
            hint="name what is meant, or move that folder out of the way: it may not be one of ours",
        )
    fitting = [a for a in found if a.manifest.kind == kind and (not roles or a.manifest.role in roles)]
    return next(reversed(in_order(fitting)), None)


def in_order(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Artifacts in the order in which they were made: by their sequence, and never before what they were made from.

    The clock decides between those of earlier versions alone, which have no sequence.
    """
    made = sorted(artifacts, key=lambda each: (each.manifest.sequence, each.manifest.created))
    places = {os.path.realpath(each.path): each for each in made}
    ordered: dict[str, Artifact] = {}
    begun: set[str] = set()

    def add(place: str) -> None:
        if place in begun:
            return
        begun.add(place)
        for recorded in places[place].manifest.parents.values():
            source = os.path.realpath(places[place].path / recorded["path"])
            if source in places and places[source].manifest.key == recorded["key"]:
                add(source)
        ordered[place] = places[place]

    for place in places:
        add(place)
    return list(ordered.values())


def below(runs: Path) -> list[Artifact]:
    """Every artifact that can be read in the run folders below `runs`; a damaged one is told to the log and left out."""
    found, faults = _below(runs)
    for fault in faults:
        logger.warning("%s", fault)
    return found


def _below(runs: Path) -> tuple[list[Artifact], list[ArtifactError]]:
    """What can be read below `runs`, and what is wrong with the rest; a manifest of something else is passed over."""
    found, faults = [], []
    for file in sorted(runs.glob(f"*/*/{MANIFEST}")):
        if not file.parent.name.startswith("."):
            try:
                found.append(read(file.parent))
            except ArtifactError as fault:
                if fault.hint is not None:  # of ours: something can be done about it
                    faults.append(fault)
    return found, faults


def tidy(run_folder: Path) -> None:
    """Clear up what processes left that were killed while they wrote; call it only while holding the run.

    An artifact that had just been moved aside for its successor is put back when the successor did not arrive.
    """
    for left in sorted(run_folder.glob(".*-*")):
        found = places.LEFTOVER.fullmatch(left.name)
        if found is None:
            continue
        if found["what"] == "replaced" and not os.path.lexists(run_folder / found["name"]):
            left.rename(run_folder / found["name"])
        elif left.is_symlink() or left.is_file():
            left.unlink()
        else:
            shutil.rmtree(left, ignore_errors=True)


def content_key(made: Artifact) -> str:
    """A short hash of what an artifact was made from and of what came of it (a GPU may give other weights each time)."""
    return key_of(key=made.manifest.key, files=dict(made.manifest.files))


ELSEWHERE = "choose another place with --runs DIR (report: --out DIR), or copy the run's folder to one"
"""What helps where a place cannot be written."""


def require_replaceable(final: Path, *, kinds: tuple[Kind, ...] = ()) -> places.Standing:
    """Refuse a place for an artifact where something stands that is not ours; see `places` for the rule.

    Args:
        final: The artifact's final place.
        kinds: What may be replaced there; by default any kind of artifact.

    Returns:
        What stands there beside what is ours and as it was written.

    Raises:
        NotOursError: Something that compress did not write stands there. Nothing was touched.
    """
    hint = "move it, or choose another place (--runs DIR or --name NAME; report: --out DIR)"
    if final.is_symlink():
        raise NotOursError("is a link, and will not be replaced", where=str(final), hint="name where it leads")
    if not final.exists() or (final.is_dir() and not any(final.iterdir())):
        return places.Standing()
    there = _read_ours(final)
    if there is None:
        message = "something that compress did not write stands here, and will not be replaced"
        raise NotOursError(message, where=str(final), hint=hint)
    kind = there.manifest.kind
    if kinds and kind not in kinds:
        raise NotOursError(f"holds {kind}, and will not be replaced", where=str(final), hint="name another folder")
    found = places.standing_in(final, files=there.manifest.files, manifest=MANIFEST)
    shared = kind in SHARED_WITH_PEOPLE
    strange = (found.unlisted and not shared) or (found.changed and shared)
    if strange:
        what = f"'{(found.changed if shared else found.unlisted)[0]}'"
        message = f"{what} has been changed since" if shared else f"{what} was not written by compress"
        raise NotOursError(f"{message}, so this folder will not be replaced", where=str(final), hint=hint)
    return found


def _read_ours(folder: Path) -> Artifact | None:
    try:
        return read(folder)
    except ArtifactError:
        return None


@contextmanager
def folder_for(final: Path) -> Iterator[Path]:
    """A temporary folder to fill; it is thrown away unless `seal` has put it in its final place.

    Raises:
        NotOursError: Something that is not ours stands there.
        ArtifactError: The place cannot be written.
    """
    temporary = final.parent / f".{final.name}.writing-{os.getpid()}"
    try:
        require_replaceable(final)
        whole_files.clear(temporary)
        temporary.mkdir(parents=True)
    except OSError as fault:
        raise ArtifactError(f"cannot write here: {fault.strerror}", where=str(final.parent), hint=ELSEWHERE) from fault
    try:
        yield temporary
    except OSError as fault:
        hint = "make room; the same line goes on" if fault.errno == errno.ENOSPC else ELSEWHERE
        raise ArtifactError(f"cannot write: {fault.strerror or fault}", where=str(final), hint=hint) from fault
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def seal(temporary: Path, final: Path, manifest: Manifest) -> Artifact:
    """Hash the payload, write the manifest, sync, and rename `temporary` to `final`, replacing what stood there.

    What people put beside a report or a pack goes along. A folder of ours in which a file has changed is set aside under a
    hidden name rather than thrown away.

    Raises:
        NotOursError: Something that is not ours has come to stand there meanwhile.
    """
    files = {
        file.relative_to(temporary).as_posix(): sha256(file) for file in sorted(temporary.rglob("*")) if file.is_file()
    }
    created = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    sequence = 1 + max((_sequence_in(file) for file in _made_before(final, manifest)), default=0)
    complete = replace(manifest, files=files, created=created, versions=library_versions(), sequence=sequence)
    text = sealed_json.text(asdict(complete), indent=2, sort_keys=True)
    (temporary / MANIFEST).write_text(text, encoding="utf-8")
    found = require_replaceable(final)
    places.take_along(found.unlisted, final, temporary)
    for file in temporary.rglob("*"):
        if file.is_file() and not file.is_symlink():
            _sync(file)
    retired = final.parent / f".{final.name}.replaced-{os.getpid()}"
    if found.changed:
        retired = _unused(final.parent / f".{final.name}.changed")
        logger.warning("'%s' in %s has changed since: what was there is now in %s", found.changed[0], final, retired)
    if final.exists():
        final.rename(retired)
    temporary.rename(final)
    _sync(final.parent)
    if not found.changed:
        shutil.rmtree(retired, ignore_errors=True)
    return Artifact(final, complete)


def _unused(path: Path) -> Path:
    """The path with the first number at its end that nothing has."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(1))
    return next(each for each in numbered if not os.path.lexists(each))


def _made_before(final: Path, manifest: Manifest) -> Iterator[Path]:
    """The manifests of what an artifact at `final` comes after: those of its run, of the runs beside it, of its sources."""
    run = final.parent
    yield from run.glob(f"[!.]*/{MANIFEST}")
    if (run / LOCK).is_file():  # a report may go anywhere, where nobody wants to search the folders around it
        yield from run.parent.glob(f"*/[!.]*/{MANIFEST}")
    for recorded in manifest.parents.values():
        yield final / recorded["path"] / MANIFEST


def _sequence_in(file: Path) -> int:
    """The sequence that a manifest states; 0 where it states none that can be believed."""
    try:
        stated = sealed_json.read_file(file, required=False).get("sequence")
    except (OSError, ValueError):
        return 0
    return stated if isinstance(stated, int) else 0


def parent_entry(parent: Artifact, child: Path) -> dict[str, str]:
    """How a manifest at `child` records its source: relative path, key and stage."""
    return {
        "path": os.path.relpath(parent.path, child),
        "key": parent.manifest.key,
        "stage": parent.manifest.stage,
    }


def key_of(**parts: object) -> str:
    """A short stable hash of everything that goes into a stage."""
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sha256(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return whole_files.sha256(file)


def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that can change a result."""
    versions = {}
    for name in _RECORDED_LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def as_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain data."""
    return asdict(manifest)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
