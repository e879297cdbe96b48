"""Links and files of others at every place that is written: nothing may change outside, and nothing of others may be lost.

    python -m tests.campaigns.links

Every case copies a small finished run, puts something hostile or precious where a command writes, runs the command, and
compares all that is not ours with what it was. Ends with 1 when a byte has changed or a file is gone.

The rule: whatever stands outside the run stays byte for byte, links included; whatever of others stands inside still
exists somewhere below the project with its content.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compressor import api, artifact
from compressor.cli.main import main as command_line
from compressor.measure import on_device
from tests.small import recipe, write_project

PRECIOUS = "years of work\n"
Snapshot = dict[str, tuple[str, bytes]]


@dataclass(frozen=True)
class Scene:
    """One case as it lies on the disk.

    Attributes:
        project: The copy of the project, with its run.
        outside: What must stay as it is.
        whole: Artifacts as they were made.
    """

    project: Path
    outside: Path
    whole: Path

    @property
    def run(self) -> Path:
        """The finished run."""
        return self.project / "runs" / "small"


@dataclass(frozen=True)
class Case:
    """What is put where, and what is typed then.

    Attributes:
        name: Of the case.
        arrange: Puts it there; gives the files of others inside the project that must not be lost.
        command: What is typed.
        refused: Whether exit code 2 is the only right end.
    """

    name: str
    arrange: Callable[[Scene], list[Path]]
    command: Callable[[Scene], tuple[object, ...]]
    refused: bool = False


COMMANDS: dict[str, Callable[[Scene], tuple[object, ...]]] = {
    "pack": lambda s: ("pack", s.run, "--samples", 12),
    "zip": lambda s: ("pack", s.run, "--samples", 12, "--zip"),
    "export": lambda s: ("export", s.run / "distill", "--set", "export.opset=19"),
    "add": lambda s: ("report", s.run, "--add", s.project / "device.json"),
    "report": lambda s: ("report", s.run),
    "train": lambda s: (*_training(s), "--name", "small", "--runs", s.project / "runs"),
}


def link_cases() -> Iterator[Case]:
    """A link at every place that is written in a run, to everything that it could lead to."""
    pid = os.getpid()
    written = [
        ".lock",
        ".job",
        "recipe.json",
        "devices",
        "devices/pi.json",
        f"devices/.pi.json.writing-{pid}",
        "tensorboard",
        "pack",
        "pack.zip",
        f".pack.zip.writing-{pid}",
        f".pack.writing-{pid}",
        f".pack.replaced-{pid}",
        ".pack.changed-1",
        f".recipe.json.writing-{pid}",
        "export",
        f".export.writing-{pid}",
        f".export.replaced-{pid}",
        "report",
        f".report.writing-{pid}",
        f".report.replaced-{pid}",
        "train",
        ".train.state",
        f".train.state.writing-{pid}",
        ".train.state.replaced",
        f".train.writing-{pid}",
        f".train.replaced-{pid}",
    ]
    for number, (place, leads) in enumerate(itertools.product(written, LEADS)):
        for turn in (0, 3):  # two commands each, so that every command meets every place
            name = list(COMMANDS)[(number + turn) % len(COMMANDS)]
            yield Case(f"link {place} to {leads}, {name}", _linked(place, leads), COMMANDS[name])


LEADS: dict[str, Callable[[Scene], Path]] = {
    "file": lambda s: s.outside / "precious.json",
    "folder": lambda s: s.outside / "folder",
    "artifact": lambda s: s.outside / "artifact",
    "nowhere": lambda s: s.outside / "nowhere",
    "inside": lambda s: s.run / "bench" / "measurements.json",
}


def _linked(place: str, leads: str) -> Callable[[Scene], list[Path]]:
    def arrange(scene: Scene) -> list[Path]:
        link = scene.run / place
        link.parent.mkdir(exist_ok=True)
        if link.is_dir():
            shutil.rmtree(link)
        link.unlink(missing_ok=True)
        link.symlink_to(LEADS[leads](scene))
        return [scene.run / "bench" / "measurements.json"]

    return arrange


def folder_cases() -> Iterator[Case]:
    """A folder of others at every option that names one."""
    options: dict[str, tuple[Path, Callable[[Scene], tuple[object, ...]]]] = {
        "report --out": (Path("site"), lambda s: ("report", s.run, "--out", s.project / "site")),
        "report": (Path("runs/small/report"), COMMANDS["report"]),
        "pack": (Path("runs/small/pack"), COMMANDS["pack"]),
        "export": (Path("runs/small/export"), COMMANDS["export"]),
        "train --name": (
            Path("proj/train"),
            lambda s: (*_training(s), "--runs", s.project, "--name", "proj"),
        ),
        "distill --name": (Path("proj/distill"), lambda s: (*_distilling(s), "--runs", s.project, "--name", "proj")),
        "bench --name": (
            Path("proj/bench"),
            lambda s: (*_comparing(s), "--runs", s.project, "--name", "proj"),
        ),
    }
    for (option, (place, command)), (what, stand) in itertools.product(options.items(), FOLDERS.items()):
        shared = what.startswith("ours")
        yield Case(f"{what} at {option}", _standing(place, stand), command, refused=not shared)


def _manifest(text: str) -> Callable[[Path, Scene], None]:
    def stand(place: Path, scene: Scene) -> None:
        (place / "pages").mkdir(parents=True)
        (place / "manifest.json").write_text(text)
        (place / "pages" / "index.html").write_text(PRECIOUS)

    return stand


def _no_manifest(place: Path, scene: Scene) -> None:
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text(PRECIOUS)


def _one_file(place: Path, scene: Scene) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(PRECIOUS)


def _link_to(target: str) -> Callable[[Path, Scene], None]:
    def stand(place: Path, scene: Scene) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(scene.outside / target)

    return stand


def _ours_and(harm: Callable[[Path], None]) -> Callable[[Path, Scene], None]:
    """An artifact of the kind that is written there, which somebody has put something into."""

    def stand(place: Path, scene: Scene) -> None:
        name = {"site": "report"}.get(place.name, place.name)
        shutil.copytree(scene.whole / name, place, symlinks=True)
        harm(place)

    return stand


def _with_notes(place: Path) -> None:
    (place / "notes.md").write_text(PRECIOUS)


def _with_a_deep_file(place: Path) -> None:
    (place / "mine" / "deep").mkdir(parents=True)
    (place / "mine" / "deep" / "data.bin").write_bytes(PRECIOUS.encode())


def _edited(place: Path) -> None:
    made = artifact.read(place)
    file = made.file(sorted(made.manifest.files)[0])
    file.write_bytes(file.read_bytes() + PRECIOUS.encode())


def _with_a_link(place: Path) -> None:
    (place / "link").symlink_to("manifest.json")


def _another_version(place: Path) -> None:
    raw = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(raw | {"schema": 99}))


FOLDERS: dict[str, Callable[[Path, Scene], None]] = {
    "a web app": _manifest('{"name": "app", "start_url": "."}'),
    "a browser extension": _manifest('{"manifest_version": 3, "name": "x", "version": "1"}'),
    "a manifest with a schema": _manifest('{"schema": 1, "files": {}}'),
    "a broken manifest": _manifest("{"),
    "an empty manifest": _manifest(""),
    "a manifest that is a list": _manifest("[]"),
    "a folder without a manifest": _no_manifest,
    "a file": _one_file,
    "a link to an artifact": _link_to("artifact"),
    "a link to a folder": _link_to("folder"),
    "a link to a file": _link_to("precious.json"),
    "a dangling link": _link_to("nowhere"),
    "ours with notes": _ours_and(_with_notes),
    "ours with a deep file": _ours_and(_with_a_deep_file),
    "ours, edited": _ours_and(_edited),
    "ours with a link": _ours_and(_with_a_link),
    "ours of a later version": _ours_and(_another_version),
}


def _standing(place: Path, stand: Callable[[Path, Scene], None]) -> Callable[[Scene], list[Path]]:
    def arrange(scene: Scene) -> list[Path]:
        there = scene.project / place
        if there.is_dir():
            shutil.rmtree(there)
        before = set(_files(scene.project))
        stand(there, scene)
        made = set(_files(scene.project)) - before
        return [path for path in made if _of_others(path, there)]

    return arrange


def _of_others(path: Path, folder: Path) -> bool:
    """Whether a file is none that our manifest lists as it is."""
    try:
        made = artifact.read(folder)
    except artifact.ArtifactError:
        return True
    name = path.relative_to(folder).as_posix()
    return name != artifact.MANIFEST and (path.is_symlink() or made.manifest.files.get(name) != artifact.sha256(path))


def file_cases() -> Iterator[Case]:
    """A file of others, an input, a link or a folder at every option that names a file."""
    options: dict[str, tuple[str, Callable[[Scene], tuple[object, ...]]]] = {
        "--save-outputs": ("out.npz", lambda s: (*_evaluating(s), "--save-outputs", s.project / "out.npz")),
        "comparison.md": ("out.md", lambda s: (*_side_by_side(s), "--out", s.project / "out.md")),
        "comparison.json": ("out.json", lambda s: (*_side_by_side(s), "--out", s.project / "out.json")),
        "--zip": ("runs/small/pack.zip", COMMANDS["zip"]),
        "--add": ("runs/small/devices/pi.json", COMMANDS["add"]),
        "run.py --out": ("out.json", lambda s: ("run.py", s.run / "pack", "--out", s.project / "out.json")),
        "run.py": ("runs/small/pack/device.json", lambda s: ("run.py", s.run / "pack")),
        "init": ("new/teacher.py", lambda s: ("init", s.project / "new")),
        "demo": ("new/teacher.py", lambda s: ("demo", s.project / "new")),
    }
    for (option, (place, command)), (what, stand) in itertools.product(options.items(), FILES.items()):
        yield Case(f"{what} at {option}", _standing_file(place, stand), command, refused=True)
    inputs = {
        "the data": "data.npz",
        "the data by another way": "runs/../data.npz",
        "a hard link to the data": "hard.npz",
        "a link to the data": "soft.npz",
    }
    for (what, name), words in itertools.product(inputs.items(), ((), ("--overwrite",))):
        yield Case(f"{what} {words}", _with_more_names, _saving_to(name, words), refused=True)


def _saving_to(name: str, words: tuple[str, ...]) -> Callable[[Scene], tuple[object, ...]]:
    return lambda s: (*_evaluating(s), "--save-outputs", str(s.project / "runs").removesuffix("runs") + name, *words)


def _with_more_names(scene: Scene) -> list[Path]:
    (scene.project / "hard.npz").hardlink_to(scene.project / "data.npz")
    (scene.project / "soft.npz").symlink_to(scene.project / "data.npz")
    return [scene.project / name for name in ("data.npz", "soft.npz", "hard.npz")]


def _an_npz(place: Path, scene: Scene) -> None:
    with place.open("wb") as stream:
        np.savez(stream, inputs=np.ones(3), labels=np.zeros(3))


def _a_zip(place: Path, scene: Scene) -> None:
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("thesis/manifest.json", '{"kind": "pack", "files": {}}')
        archive.writestr("thesis/chapter.txt", PRECIOUS)


def _a_folder(place: Path, scene: Scene) -> None:
    place.mkdir()
    (place / "thesis.txt").write_text(PRECIOUS)


FILES: dict[str, Callable[[Path, Scene], None]] = {
    "text": lambda place, _: place.write_text(PRECIOUS) and None,
    "nothing": lambda place, _: place.touch(),
    "JSON": lambda place, _: place.write_text('{"schema": 1, "mine": true}') and None,
    "a deep JSON": lambda place, _: place.write_text("[" * 20_000) and None,
    "no UTF-8": lambda place, _: place.write_bytes(b"\xff\xfe\x00mine") and None,
    "an archive": _a_zip,
    "arrays": _an_npz,
    "a folder": _a_folder,
    "a link to a file": lambda place, s: place.symlink_to(s.outside / "precious.json"),
    "a link to a folder": lambda place, s: place.symlink_to(s.outside / "folder"),
    "a dangling link": lambda place, s: place.symlink_to(s.outside / "nowhere"),
}


def _standing_file(place: str, stand: Callable[[Path, Scene], None]) -> Callable[[Scene], list[Path]]:
    def arrange(scene: Scene) -> list[Path]:
        there = scene.project / place
        there.parent.mkdir(parents=True, exist_ok=True)
        there.unlink(missing_ok=True)
        before = set(_files(scene.project))
        stand(there, scene)
        return sorted(set(_files(scene.project)) - before)

    return arrange


def cache_cases() -> Iterator[Case]:
    """Caches that are links, lie behind one, or hold files of others."""
    harms: dict[str, Callable[[Scene, Path], None]] = {
        "a linked kind": lambda s, caches: (caches / "teacher").symlink_to(s.outside / "cache"),
        "a linked cache": lambda s, caches: _below(caches / "teacher" / "k1").symlink_to(s.outside / "cache" / "k1"),
        "a cache with notes": lambda s, caches: _cache(caches / "teacher" / "k1", notes=True),
        "a folder about something": lambda s, caches: _web_folder(caches / "pixels" / "site"),
        "a folder that was to be deleted": lambda s, caches: _web_folder(caches / "pixels" / ".deleted-1-2"),
    }
    commands = (("--all",), ("--older-than", "0"), ("--all", "--kind", "teacher"), ("--all", "--json"))
    for (what, harm), words in itertools.product(harms.items(), commands):
        yield Case(f"{what}, clean {' '.join(words)}", _with_cache(harm), _cleaning(words))


def _cleaning(words: tuple[str, ...]) -> Callable[[Scene], tuple[object, ...]]:
    return lambda _: ("clean", *words)


def _with_cache(harm: Callable[[Scene, Path], None]) -> Callable[[Scene], list[Path]]:
    def arrange(scene: Scene) -> list[Path]:
        caches = scene.project / "caches"
        caches.mkdir()
        harm(scene, caches)
        kept = [path for path in _files(caches) if path.name in ("notes.md", "index.html")]
        return kept + [path for path in caches.rglob("*") if path.is_symlink()]

    return arrange


def _below(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _cache(folder: Path, *, notes: bool = False) -> None:
    folder.mkdir(parents=True)
    about = {"schema": 1, "kind": folder.parent.name, "key": folder.name, "about": {"data": "digits"}}
    (folder / "about.json").write_text(json.dumps(about))
    (folder / "view-00000.bin").write_bytes(bytes(100))
    if notes:
        (folder / "notes.md").write_text(PRECIOUS)


def _web_folder(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "about.json").write_text('{"title": "about us"}')
    (folder / "index.html").write_text(PRECIOUS)


def _training(scene: Scene) -> tuple[object, ...]:
    data = f"npz:{scene.project / 'data.npz'}"
    return ("train", "--model", scene.project / "teacher.py", "--data", data, "--epochs", 1, "--batch-size", 64)


def _distilling(scene: Scene) -> tuple[object, ...]:
    words = ("--teacher", scene.run / "train", "--student", scene.project / "student.py", "--epochs", 1)
    return ("distill", *words, "--data", f"npz:{scene.project / 'data.npz'}")


def _comparing(scene: Scene) -> tuple[object, ...]:
    return ("bench", scene.run / "export-teacher", scene.run / "export", "--data", f"npz:{scene.project / 'data.npz'}")


def _evaluating(scene: Scene) -> tuple[object, ...]:
    return ("evaluate", scene.run / "distill", "--data", f"npz:{scene.project / 'data.npz'}")


def _side_by_side(scene: Scene) -> tuple[object, ...]:
    return ("report", scene.run, scene.project / "runs" / "other")


def run_command(words: tuple[object, ...], *, scene: Scene) -> tuple[int, str]:
    """The exit code of a command line and what it said."""
    os.environ["COMPRESS_HOME"], os.environ["COMPRESS_CACHE"] = (
        str(scene.project / each) for each in ("home", "caches")
    )
    said = io.StringIO()
    before, sys.argv = sys.argv, ["compress", *map(str, words)]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            if words[0] == "run.py":
                code = on_device.main(
                    Path(str(words[1])), ["--seconds", "0.02", "--profiles", "edge", *map(str, words[2:])]
                )
            else:
                command_line()
                code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    return code, said.getvalue()


def snapshot(folder: Path) -> Snapshot:
    """Everything below a folder: files with their content, links with where they lead."""
    found: Snapshot = {}
    for path in [folder, *folder.rglob("*")]:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()).encode())
        elif path.is_file():
            found[name] = ("file", path.read_bytes())
        else:
            found[name] = ("folder", b"")
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]


def _as_seen(path: Path) -> tuple[str, bytes]:
    return ("link", str(path.readlink()).encode()) if path.is_symlink() else ("file", path.read_bytes())


def make_original(folder: Path) -> Path:
    """The finished run that every case begins with, with all that a command can leave in it."""
    os.environ["COMPRESS_HOME"] = str(folder / "home")
    project = write_project(folder)
    api.run(recipe(project))
    api.pack(project / "runs" / "small", samples=10)
    shutil.copytree(project / "runs" / "small", project / "runs" / "other")
    shutil.copytree(project / "runs" / "small", project / "whole")
    made = artifact.read(project / "runs" / "small" / "bench")
    models = {
        role: onnx.manifest.files["model.onnx"]
        for role in ("teacher", "student")
        if (onnx := made.standing_for(f"{role}-onnx")) is not None
    }
    told = {"schema": 1, "name": "pi", "pack": "k", "created": "2026", "models": models, "machine": {}, "versions": {}}
    told |= {"timings": [], "accuracy": {}, "parity": {}}
    (project / "device.json").write_text(json.dumps(told))
    return project


def set_scene(original: Path, place: Path) -> Scene:
    """A copy of the original, and beside it what must stay as it is."""
    outside = place / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "precious.json").write_text(json.dumps({"precious": PRECIOUS}))
    (outside / "folder" / "thesis.txt").write_text(PRECIOUS)
    _cache(outside / "cache" / "k1")
    shutil.copytree(original / "whole" / "distill", outside / "artifact")
    shutil.copytree(original, place / "project", ignore=shutil.ignore_patterns("whole", "report"))  # 5 MB each
    return Scene(place / "project", outside, original / "whole")


def try_case(case: Case, original: Path, place: Path) -> str | None:
    """Run a case; returns what went wrong."""
    scene = set_scene(original, place)
    precious = {path: _as_seen(path) for path in case.arrange(scene)}
    before = snapshot(scene.outside)
    code, told = run_command(case.command(scene), scene=scene)
    after = snapshot(scene.outside)
    if after != before:
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        return f"changed outside: {', '.join(changed[:5])}"
    left = Counter(map(_as_seen, _files(scene.project)))
    lost = Counter(precious.values()) - left
    if lost:
        gone = [path.relative_to(scene.project).as_posix() for path, seen in precious.items() if seen in lost]
        return f"lost: {', '.join(gone[:5])} (exit {code})"
    if "Traceback" in told or code not in (0, 1, 2):
        return f"ended with {code}: {told.strip()[-300:]}"
    if case.refused and code != 2:
        return f"ended with {code} where 2 was due: {told.strip()[-300:]}"
    return None


def main() -> int:
    """Run every case; 1 when something was changed or lost."""
    began = time.monotonic()
    cases = [*link_cases(), *folder_cases(), *file_cases(), *cache_cases()]
    violations = []
    with tempfile.TemporaryDirectory(prefix="compress-links-") as folder:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            original = make_original(Path(folder) / "original")
        for number, case in enumerate(cases):
            if number % 50 == 0:
                sys.stderr.write(f"{number} of {len(cases)} cases, {time.monotonic() - began:.0f} s\n")
            place = Path(folder) / str(number)
            fault = try_case(case, original, place)
            shutil.rmtree(place)
            if fault is not None:
                violations.append(f"{case.name}: {fault}")
                sys.stderr.write(f"{violations[-1]}\n")
    sys.stdout.write(
        f"links: {len(cases)} cases, {len(violations)} violations "
        f"(bytes changed outside, files of others lost, tracebacks), {time.monotonic() - began:.0f} s\n"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
