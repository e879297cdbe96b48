"""Recipes, command lines and files of every form, damaged by the thousand: no traceback, no hang, documented exit codes.

    python -m tests.campaigns.fuzz                                  # 20 000 recipes and command lines, 2 400 files
    python -m tests.campaigns.fuzz --part files --count 200 --seed 7
    python -m tests.campaigns.fuzz --part recipes --only 1234        # one case again, with its full story

A case is a pure function of part, seed and number. Ends with 1 where anything was violated.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import random
import shutil
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns import _fuzz_mutations as mutations
from tests.campaigns._fuzzing import Outcome, Tally, run_call, run_words, serve, supervise

COUNTS = {"recipes": 20_000, "files": 2_400}
_NO_PLACE = "none.npz"


def main() -> int:
    """Run the parts, tell each in one line, and end with 1 where anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=sorted(COUNTS), help="by default both")
    parser.add_argument("--count", type=int, help="cases of each part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this case alone, in this process")
    parser.add_argument("--kinds", help="of the files: comma between; by default all")
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compress-fuzz-") as folder:
        scratch = given.scratch or Path(folder)
        if given.first is not None:
            return _child(given, scratch)
        bad = 0
        for part in [given.part] if given.part else sorted(COUNTS, reverse=True):
            _at_home(scratch)
            if part == "files":
                Files.prepare(scratch)
            if given.only is not None:
                outcome = _case_of(part, given.seed, scratch, given.kinds)(given.only)
                _show(f"{outcome.code}\n{outcome.violation or 'no violation'}")
                bad += outcome.violation is not None
                continue
            begun, count = time.monotonic(), given.count or COUNTS[part]
            command = ["--part", part, "--seed", str(given.seed), "--scratch", str(scratch)]
            command += ["--kinds", given.kinds] if given.kinds else []
            tally = supervise(command, count=count, show=_show)
            bad += len(tally.violations)
            _show(_line(part, given.seed, count, tally, time.monotonic() - begun))
    return 1 if bad else 0


def _child(given: argparse.Namespace, scratch: Path) -> int:
    _at_home(scratch)
    import torch  # noqa: F401 -- not in the time of the first case that needs it

    serve(given.first, given.count, _case_of(given.part, given.seed, scratch, given.kinds))
    return 0


def _case_of(part: str, seed: int, scratch: Path, kinds: str | None = None) -> Callable[[int], Outcome]:
    cases: Recipes | Files = Recipes(scratch) if part == "recipes" else Files(scratch, kinds)
    return lambda number: cases.run(random.Random(f"{part} {seed} {number}"))


def _at_home(scratch: Path) -> None:
    """Keep everything that the commands write in one place."""
    os.environ["COMPRESS_HOME"] = str(scratch / "home")
    os.environ["COMPRESS_CACHE"] = str(scratch / "cache")
    warnings.simplefilter("ignore")


def _line(part: str, seed: int, count: int, tally: Tally, seconds: float) -> str:
    codes = ", ".join(f"{code}: {times}" for code, times in sorted(tally.codes.items()))
    kinds = [text.partition(":")[0] for _, text in tally.violations]
    told = ", ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds)) or "0 violations"
    return f"fuzz {part} (seed {seed}): {count} cases in {seconds:.0f} s; exit codes {codes}; {told}"


def _show(text: str) -> None:
    sys.stderr.flush()
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Recipes:
    """Recipes and command lines. Nothing of them trains: what would begin names data or networks that are not there."""

    def __init__(self, scratch: Path) -> None:
        self._folder = scratch / "recipes"
        self._folder.mkdir(parents=True, exist_ok=True)
        os.chdir(self._folder)
        self._whole = _whole_recipe()
        self._commands = _commands()

    def run(self, dice: random.Random) -> Outcome:
        """One case."""
        kind = dice.random()
        if kind < 0.55:
            return run_words(["check", self._recipe(dice), *self._assignments(dice, dice.choice((0, 0, 0, 1, 3)))])
        if kind < 0.7:
            return run_words(["check", self._plain_recipe(), *self._assignments(dice, dice.choice((1, 2, 5)))])
        return run_words(self._command_line(dice))

    def _plain_recipe(self) -> str:
        file = Path("plain.toml")
        file.write_text(
            'stages = ["train"]\n[data]\nsource = "digits"\n[teacher]\nmodel = "zoo:lenet5"\n', encoding="utf-8"
        )
        return str(file)

    def _recipe(self, dice: random.Random, *, runnable: bool = True) -> str:
        sections = [name for name in self._whole if dice.random() < 0.6 or name in ("data", "teacher")]
        raw = {name: self._whole[name] for name in sections}
        changed = mutations.change_plain(raw, dice, times=dice.choice((0, 1, 1, 1, 2, 4, 8)))
        if not runnable:
            changed["data"] = {"source": f"npz:{_NO_PLACE}"}
            changed["teacher"] = {"model": "none.pt"}
        if dice.random() < 0.25:
            content = json.dumps(changed).encode()
            content = mutations.change_json(content, dice) if runnable and dice.random() < 0.6 else content
            file = Path("r.json")
        else:
            text = mutations.as_toml(changed, dice)
            content = text.encode(errors="replace")
            content = mutations.change_text(text, dice) if runnable and dice.random() < 0.4 else content
            file = Path("r.toml")
        file.write_bytes(content)
        return str(file)

    def _assignments(self, dice: random.Random, count: int) -> list[str]:
        words = []
        for _ in range(count):
            path, table = [], self._whole
            while isinstance(table, dict) and table and dice.random() < 0.85:
                path.append(dice.choice(list(table)))
                table = table[path[-1]]
            if isinstance(table, list) and dice.random() < 0.7:
                path += [str(dice.choice((0, 1, 99, -1))), dice.choice(mutations.KEYS)]
            if dice.random() < 0.2:
                path.append(dice.choice(mutations.KEYS))
            if dice.random() < 0.03:
                path = ["a"] * dice.choice((31, 33, 5000))
            if dice.random() < 0.03:
                path.append("9" * 5000)
            value = mutations.value_from(dice)
            text = dice.choice((str(value), mutations._inline(value), json.dumps(value)[:5000]))
            if dice.random() < 0.05:
                text = mutations.change_text(text, dice).decode("utf-8", errors="surrogateescape")
            words += ["--set", _typeable(dice.choice(("=", "=", "=", "", " = ")).join([".".join(path), text]))]
        return words

    def _command_line(self, dice: random.Random) -> list[str]:
        name = dice.choice(list(self._commands))
        words = [name]
        for option, kind, required in self._commands[name]:
            if not required and dice.random() > 0.25:
                continue
            for _ in range(dice.choice((1, 1, 1, 2))):
                value = [] if kind == "flag" else [self._argument(dice, option, kind)]
                words += ([option] if option.startswith("-") else []) + value
        if name in ("demo", "doctor"):  # which train, and import everything
            words.insert(1, "--nonsense")
        if dice.random() < 0.05:
            words.append(dice.choice(("--nonsense", "--", "-x", "--set=")))
        if name == "run":
            words[1:1] = [self._recipe(dice, runnable=False)]
        return [_harmless(word) for word in words]

    def _argument(self, dice: random.Random, option: str, kind: str) -> str:
        if option == "--set":
            return self._assignments(dice, 1)[1]
        if dice.random() < 0.5 and kind in ("integer", "float"):
            return str(dice.choice(mutations.NUMBERS))
        if dice.random() < 0.1:
            return _typeable(mutations.change_text("a = 1", dice)[:3000].decode("utf-8", errors="surrogateescape"))
        return _typeable(
            dice.choice((dice.choice(mutations.WORDS), _NO_PLACE, "none.pt", "r.toml", "runs", "plain.toml"))
        )


def _typeable(word: str) -> str:
    """A word as a shell could give it: no null, no half of a pair other than for bytes that are no text."""
    word = word.replace("\0", "")[:100_000]
    return "".join(each for each in word if not 0xD800 <= ord(each) < 0xDC80 and not 0xDCFF < ord(each) <= 0xDFFF)


def _harmless(word: str) -> str:
    """A word that leads neither out of the folder nor to data that something could be trained on."""
    word = word.replace("..", ".").replace("digits", "digit").replace("zoo:", "zoo:none")
    return word.lstrip("/") or "x" if word.startswith("/") else word


def _whole_recipe() -> dict[str, Any]:
    """A recipe with everything in it, which has no fault."""
    from compressor.recipe import Recipe

    raw: dict[str, Any] = {
        "name": "fuzz",
        "data": {"source": "digits", "options": {}},
        "teacher": {"model": "zoo:lenet5", "options": {}},
        "student": {"model": "zoo:lenet5"},
        "assistants": [{"model": "zoo:lenet5"}],
        "train": {},
        "distill": {"losses": [{"name": "kd", "temperature": 4.0}, {"name": "hard"}], "control": True},
        "prune": {"macs": 0.5, "losses": [{"name": "kd"}]},
        "quantize": {"method": "static"},
        "bench": {
            "profile": {"own": {"threads": 1}},
            "profiles": ["edge", "own"],
            "runtime": {"ort_cpu_quick": {"name": "ort_cpu"}},
        },
        "export": {},
    }
    dumped: dict[str, Any] = json.loads(Recipe.model_validate(raw).model_dump_json(exclude_none=True))
    dumped.pop("stages", None)
    return dumped


def _commands() -> dict[str, list[tuple[str, str, bool]]]:
    """Of each command its options and arguments: name, kind, whether it must be given."""
    from typer import Typer
    from typer.main import get_command

    from compressor.cli.main import app

    found: dict[str, list[tuple[str, str, bool]]] = {}
    group: Any = get_command(app) if isinstance(app, Typer) else app
    for name, command in group.commands.items():
        found[name] = []
        for parameter in command.params:
            flag = getattr(parameter, "is_flag", False)
            shown = dict.fromkeys((*parameter.opts, *parameter.secondary_opts)) if flag else parameter.opts[:1]
            for option in shown:
                if option not in ("--host", "--install-completion", "--show-completion"):
                    kind = "flag" if flag else str(getattr(getattr(parameter, "type", None), "name", "text"))
                    found[name].append((option, kind, parameter.required))
    return found


class Files:
    """Files of every form that is read, each case with one of them damaged."""

    def __init__(self, scratch: Path, kinds: str | None) -> None:
        self._wanted = kinds.split(",") if kinds else None
        self._whole = scratch / "whole"
        self._folder = scratch / "files"
        self._folder.mkdir(exist_ok=True)
        os.chdir(self._folder)
        self._kinds: Mapping[str, tuple[int, Callable[[random.Random], Outcome]]] = {
            "onnx": (4, self._onnx),
            "npz": (4, self._npz),
            "idx": (3, self._idx),
            "images": (4, self._images),
            "cifar": (1, self._cifar),
            "manifests": (5, self._manifests),
            "devices": (3, self._devices),
        }

    @staticmethod
    def prepare(scratch: Path) -> None:
        """Make one whole file of each form: a small run of everything, measured here and as on a device."""
        from compressor import api
        from tests import small

        whole = scratch / "whole"
        if (whole / "device.json").is_file():
            return
        small.write_project(whole)
        os.chdir(whole)
        quick = {"epochs": 1, "batch_size": 64, "lr": 0.01}
        raw = small.recipe(Path(), train=quick, distill=quick, bench=small.QUICK_BENCH, runs="runs")
        raw["data"]["source"] = "npz:data.npz"
        Path("recipe.json").write_text(json.dumps(raw), encoding="utf-8")
        for words in (["-q", "run", "recipe.json"], ["-q", "pack", "runs/small", "--samples", "20"]):
            outcome = run_words(words)
            assert outcome.code == 0, outcome
        device = small.measured_elsewhere(api.artifact.read(Path("runs/small/pack")), scratch)
        Path("device.json").write_text(json.dumps(device), encoding="utf-8")

    def run(self, dice: random.Random) -> Outcome:
        """One case."""
        kinds = self._wanted or list(self._kinds)
        kind = dice.choices(kinds, [self._kinds[each][0] for each in kinds])[0]
        outcome = self._kinds[kind][1](dice)
        return outcome if outcome.violation is None else Outcome(outcome.code, f"{kind}: {outcome.violation}")

    def _onnx(self, dice: random.Random) -> Outcome:
        from compressor.models import onnx_copy
        from compressor.models.onnx_file import onnx
        from compressor.runtimes.ort_cpu import OrtCpu

        whole = (self._whole / "runs/small/export/model.onnx").read_bytes()
        file = Path("damaged.onnx")
        file.write_bytes(
            _changed_onnx(onnx, whole, dice) if dice.random() < 0.6 else mutations.change_bytes(whole, dice)
        )
        what = dice.randrange(4)
        if what == 0:
            return run_words(["inspect", str(file), *dice.choice(([], ["--json"]))])
        if what == 1:
            return run_words(["evaluate", str(file), "--data", f"npz:{self._whole / 'data.npz'}"])
        if what == 2:
            return run_call(lambda: onnx_copy.says_its_input(file))

        def answer() -> None:
            runtime = OrtCpu(threads=1)
            runtime.load(file)
            try:
                runtime(runtime.prepare({"input": np.zeros((2, 1, 8, 8), np.float32)}))
            finally:
                runtime.close()

        return run_call(answer)

    def _npz(self, dice: random.Random) -> Outcome:
        file = Path("damaged.npz")
        if dice.random() < 0.4:
            file.write_bytes(mutations.change_bytes((self._whole / "data.npz").read_bytes(), dice))
        else:
            _write_npz(file, dice)
        if dice.random() < 0.3:
            teacher = [
                "--teacher",
                str(file),
                "--student",
                str(self._whole / "student.py"),
                "--set",
                "distill.epochs=1",
            ]
            return run_words(["distill", *teacher, "--data", f"npz:{file}"])
        return self._read(f"npz:{file}", dice.choice(({}, {"labels": False}, {"layout": "NHWC"})))

    def _idx(self, dice: random.Random) -> Outcome:
        folder = _emptied(Path("idx"))
        images = np.arange(12 * 16, dtype=np.uint8).reshape(12, 4, 4)
        contents = {
            "train-images-idx3-ubyte": struct.pack(">IIII", 0x803, 12, 4, 4) + images.tobytes(),
            "train-labels-idx1-ubyte": struct.pack(">II", 0x801, 12) + bytes(range(12)),
        }
        for name, content in contents.items():
            if dice.random() < 0.3:
                counts = [dice.choice((0, 1, 4, 2**16, 2**31, 2**32 - 1)) for _ in range(content[3])]
                content = content[:4] + struct.pack(f">{len(counts)}I", *counts) + content[4 + 4 * len(counts) :]
            packed = dice.random() < 0.5
            if dice.random() < 0.5:
                content = mutations.change_bytes(content, dice)
            if dice.random() < 0.05:
                content += bytes(300_000_000)
            if packed:
                content = gzip.compress(content, 1)
                content = mutations.change_bytes(content, dice) if dice.random() < 0.3 else content
            (folder / (name + ".gz" * packed)).write_bytes(content)
        return self._read(f"idx:{folder}", {})

    def _images(self, dice: random.Random) -> Outcome:
        folder = _emptied(Path("images"))
        for index in range(6):
            place = folder / dice.choice("ab") / f"{index}.{dice.choice(('png', 'jpg', 'gif', 'bmp', 'tif', 'webp'))}"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(_picture(dice, damaged=dice.random() < 0.6))
        decode = dice.choice(("once", "stream"))
        return self._read(f"images:{folder}", {"decode": decode, "image_size": dice.choice((0, 8))})

    def _cifar(self, dice: random.Random) -> Outcome:
        import pickle

        folder = _emptied(Path("cifar"))
        for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
            batch = {b"data": np.zeros((4, 3072), np.uint8), b"labels": [0, 1, 2, 3]}
            content = pickle.dumps(batch, protocol=2)
            (folder / name).write_bytes(mutations.change_bytes(content, dice) if dice.random() < 0.5 else content)
        names = pickle.dumps({b"label_names": [str(number).encode() for number in range(10)]}, protocol=2)
        (folder / "batches.meta").write_bytes(mutations.change_bytes(names, dice) if dice.random() < 0.3 else names)
        return self._read(f"cifar:{folder}", {})

    def _read(self, source: str, options: Mapping[str, Any]) -> Outcome:
        from compressor.data import source as sources

        def fetch_all() -> None:
            splits = sources.read(source, options)
            for samples in (splits.train, splits.val, splits.test):
                if samples is not None and len(samples):
                    samples.fetch(np.arange(min(len(samples), 64), dtype=np.int64))

        try:
            return run_call(fetch_all)
        finally:
            shutil.rmtree(os.environ["COMPRESS_CACHE"], ignore_errors=True)

    def _manifests(self, dice: random.Random) -> Outcome:
        run = Path("runs/small")
        _emptied(Path("runs"))
        shutil.copytree(self._whole / "runs/small", run, dirs_exist_ok=True)
        links = [each for each in sorted(run.iterdir()) if (each / "manifest.json").is_file()]
        link = dice.choice(links)
        choices = [link / "manifest.json"] * 4
        choices += [run / "bench/measurements.json", run / "bench/samples.npz", run / "recipe.json"]
        file = dice.choice(choices)
        _damage(file, dice)
        commands = (
            ["inspect", str(link)],
            ["inspect", str(link), "--json"],
            ["inspect", str(run / "export")],
            ["report", str(run)],
            ["report", str(run), "--fail-if", "accuracy < 0"],
            ["report", str(run), str(self._whole / "runs/small")],
            ["evaluate", str(run / dice.choice(("export", "distill", "train")))],
            ["evaluate", str(link), "--data", f"npz:{self._whole / 'data.npz'}"],
            ["export", str(run / "distill")],
            ["pack", str(run), "--samples", "5"],
            ["bench", str(run / "export"), str(link), "--set", "bench.min_seconds=0.01"],
            ["list"],
            ["clean"],
        )
        return run_words(["-q", *dice.choice(commands)])

    def _devices(self, dice: random.Random) -> Outcome:
        run = Path("runs/small")
        if not run.is_dir() or dice.random() < 0.02:
            _emptied(Path("runs"))
            shutil.copytree(self._whole / "runs/small", run, dirs_exist_ok=True)
        shutil.rmtree(run / "devices", ignore_errors=True)
        whole = json.loads((self._whole / "device.json").read_text(encoding="utf-8"))
        Path("device.json").write_bytes(mutations.change_json(json.dumps(whole).encode(), dice))
        outcome = run_words(["-q", "report", str(self._whole / "runs/small"), "--out", "out", "--add", "device.json"])
        kept = list((self._whole / "runs/small/devices").glob("*.json"))
        for file in kept:
            file.unlink()
        if outcome.code != 0 and kept:
            return Outcome(outcome.code, outcome.violation or "kept a result that it could not read")
        return outcome


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _damage(file: Path, dice: random.Random) -> None:
    content = file.read_bytes()
    file.unlink()  # its content may be shared with the whole one
    is_json = file.suffix == ".json"
    file.write_bytes(mutations.change_json(content, dice) if is_json else mutations.change_bytes(content, dice))


def _changed_onnx(onnx: Any, whole: bytes, dice: random.Random) -> bytes:
    """A model with fields of its graph changed, as the format allows."""
    model = onnx.ModelProto.FromString(whole)
    graph = model.graph
    for _ in range(dice.choice((1, 1, 2, 4))):
        node = dice.choice(graph.node)
        tensor = dice.choice(graph.initializer)
        what = dice.randrange(13)
        if what == 0:
            node.op_type = dice.choice(("", "Nonsense", "Loop", "Relu", "MatMul", "Conv", "x" * 5000))
        elif what == 1 and node.input:
            node.input[dice.randrange(len(node.input))] = dice.choice(("", "nowhere", node.output[0], tensor.name))
        elif what == 2:
            del tensor.dims[:]
            tensor.dims.extend(dice.choice(([], [0], [-1], [2**62], [2**31, 2**31, 2**31], [3, 3])))
        elif what == 3:
            tensor.raw_data = tensor.raw_data[: dice.randrange(len(tensor.raw_data) + 1)]
        elif what == 4:
            tensor.data_type = dice.choice((0, 1, 2, 7, 8, 10, 16, 23, 99, -1))
        elif what == 5:
            model.opset_import[0].version = dice.choice((0, -1, 1, 7, 99, 2**40))
        elif what == 6:
            model.ir_version = dice.choice((0, 1, 3, 99, 2**40))
        elif what == 7:
            shape = graph.input[0].type.tensor_type.shape
            shape.dim[dice.randrange(len(shape.dim))].dim_value = dice.choice((0, -1, 1, 7, 2**40))
        elif what == 8:
            graph.input[0].type.tensor_type.elem_type = dice.choice((0, 2, 6, 8, 9, 10, 11, 99))
        elif what == 9:
            entry = model.metadata_props.add()
            entry.key = dice.choice(("compress.input", "compress.classes", "compress.input"))
            told = {"normalisation": {"baked_in": False, "mean": [0.5], "std": [0.5]}}
            entry.value = mutations.change_json(json.dumps(told).encode(), dice).decode(errors="replace")
        elif what == 10:
            tensor.data_location = 1
            entry = tensor.external_data.add()
            entry.key, entry.value = (
                "location",
                dice.choice(("none.bin", "../../etc/passwd", "/etc/passwd", "", "x" * 300)),
            )
        elif what == 11 and node.attribute:
            attribute = dice.choice(node.attribute)
            attribute.i = dice.choice((0, -1, 2**40))
            del attribute.ints[:]
            attribute.ints.extend(dice.choice(([], [0], [-1, -1], [2**40, 2**40])))
        else:
            if dice.random() < 0.2:
                del graph.output[:]
            else:
                del graph.node[: dice.randrange(2)]
    content: bytes = model.SerializeToString()
    return content


def _write_npz(file: Path, dice: random.Random) -> None:
    """An archive whose arrays are not what they say, by their headers, their types or their shapes."""
    kinds = ("|u1", "<f4", ">i8", "<U3", "|S2", "|O", "<U0", "|V4", "<c8", "<M8[s]", "|b1", "<f2", "nonsense", "(((((")
    shapes = ("(12, 1, 8, 8)", "(12,)", "()", "(0,)", "(12, 5)", "(2147483648, 2147483648)", "(-1,)", "(1.5,)", "x")
    method = dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("x_train", "y_train", "classes", dice.choice(("x_test", "README", "x_train", "a/../b", "b"))):
            if dice.random() < 0.1:
                continue
            good = np.zeros((12, 1, 8, 8), np.uint8) if name[0:1] == "x" else np.arange(12) % 3
            stream = io.BytesIO()
            np.save(stream, np.array(["a", "b", "c"]) if name == "classes" else good)
            content = stream.getvalue()
            if dice.random() < 0.6:
                order = dice.choice(("True", "False", "None"))
                header = (
                    f"{{'descr': '{dice.choice(kinds)}', 'fortran_order': {order}, 'shape': {dice.choice(shapes)}, }}\n"
                )
                data = (
                    content[-good.nbytes :] if dice.random() < 0.7 else bytes(dice.choice((0, 12, 96, 768, 40_000_000)))
                )
                version = dice.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\xff\0"))
                length = struct.pack(
                    "<H" if version[0] < 2 else "<I", dice.choice((len(header), len(header), 3, 60_000))
                )
                content = b"\x93NUMPY" + version + length + header.encode() + data
            archive.writestr(f"{name}{dice.choice(('.npy', '.npy', '.npy', ''))}", content)
    if dice.random() < 0.2:
        file.write_bytes(mutations.change_bytes(file.read_bytes(), dice))


def _picture(dice: random.Random, *, damaged: bool) -> bytes:
    from PIL import Image

    mode = dice.choice(("RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I", "I;16", "F", "YCbCr"))
    form = dice.choice(("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"))
    stream = io.BytesIO()
    size = dice.choice(((8, 8), (1, 1), (16, 3), (1, 300)))
    try:
        Image.new(mode, size).save(stream, form)
    except (OSError, ValueError):  # not every form has every mode
        stream = io.BytesIO()
        Image.new("RGB", size).save(stream, "PNG")
    content = stream.getvalue()
    if damaged and content.startswith(b"\x89PNG") and dice.random() < 0.5:
        side = struct.pack(
            ">II", dice.choice((0, 1, 9000, 20_000, 2**31 - 1)), dice.choice((0, 1, 9000, 20_000, 2**31 - 1))
        )
        header = b"IHDR" + side + content[24:29]
        return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    return mutations.change_bytes(content, dice) if damaged else content


if __name__ == "__main__":
    sys.exit(main())
