"""Hostile pickles wherever one is read: checkpoints (zip and legacy), CIFAR batches, NumPy archives.

    python -m tests.campaigns.pickles

Promise: no code runs, no child dies by a signal, none hangs, none ends in a traceback.
"""

from __future__ import annotations

import io
import pickle
import random
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from compressor.cli import inspect as _inspect
from compressor.data.open import open_dataset
from compressor.models import load, plain_weights, spec
from compressor.recipe import DataSettings
from tests.campaigns._files import Campaign, command, intact

DAMAGES = 100
NETWORK = """
from torch import nn

def build(num_classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
"""


def gadgets(mark: Path) -> dict[str, bytes]:
    """Opcodes that leave one value on the stack, and write `mark` if anything in them is obeyed."""
    shell, python, here = f"touch {mark}", f"open({str(mark)!r},'w').close()", str(mark)
    found: dict[str, bytes] = {}
    calls = {
        "os.system": ("os", "system", (shell,)),
        "posix.system": ("posix", "system", (shell,)),
        "os.popen": ("os", "popen", (shell,)),
        "subprocess.call": ("subprocess", "call", (["touch", here],)),
        "subprocess.Popen": ("subprocess", "Popen", (["touch", here],)),
        "eval": ("builtins", "eval", (python,)),
        "eval of Python 2": ("__builtin__", "eval", (python,)),
        "exec": ("builtins", "exec", (python,)),
        "open": ("builtins", "open", (here, "w")),
        "io.open": ("io", "open", (here, "w")),
        "import": ("importlib", "import_module", ("evil",)),
        "__import__": ("builtins", "__import__", ("evil",)),
        "runpy": ("runpy", "run_path", ("evil.py",)),
        "pathlib": ("pathlib", "Path.touch", (here,)),
        "shutil": ("shutil", "copyfile", ("evil.py", here)),
        "torch.load": ("torch", "load", ("evil.pt", None, None)),
        "torch.serialization.load": ("torch.serialization", "load", ("evil.pt",)),
        "torch.jit.load": ("torch.jit", "load", ("evil.ts",)),
        "torch.hub": ("torch.hub", "load", (".", "evil")),
        "torch.save": ("torch", "save", (1, here)),
        "torch.from_file": ("torch", "from_file", (here, True, 8)),
        "torch.storage": ("torch.storage", "_load_from_bytes", (pickle.dumps(1),)),
        "UntypedStorage.from_file": ("torch", "UntypedStorage.from_file", (here, True, 8)),
        "numpy.load": ("numpy", "load", ("evil.npy", None, True)),
        "numpy.memmap": ("numpy", "memmap", (here, "u1", "w+", 0, 8)),
        "numpy.fromfile": ("numpy", "savetxt", (here, [1])),
        "numpy distutils": ("numpy.f2py.diagnose", "run_command", (shell,)),
        "logging.FileHandler": ("logging", "FileHandler", (here,)),
        "webbrowser": ("webbrowser", "open", (f"file://{mark}",)),
        "ctypes": ("ctypes", "string_at", (0x4141,)),
        "marshal": ("marshal", "loads", (b"c",)),
        "timeit": ("timeit", "timeit", (python,)),
        "pdb": ("pdb", "run", (python,)),
        "code": ("code", "interact", ()),
        "rebuild of a wrapper": ("torch._utils", "_rebuild_wrapper_subclass", (1, 2, 3, 4, 5, 6, 7)),
    }
    for name, (module, attr, arguments) in calls.items():
        given = pickle.dumps(arguments, protocol=2)[2:-1]
        name_2 = f"c{module}\n{attr}\n".encode()
        stack = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, attr)) + b"\x93"
        found[f"{name}, reduce"] = name_2 + given + b"R"
        found[f"{name}, newobj"] = name_2 + given + b"\x81"
        found[f"{name}, stack_global"] = b"\x80\4" + stack + given + b"R"
        found[f"{name}, newobj_ex"] = b"\x80\4" + stack + given + b"}\x92"
        found[f"{name}, build"] = name_2 + b")R" + given + b"b"
        each = b"".join(pickle.dumps(argument, protocol=2)[2:-1] for argument in arguments)
        found[f"{name}, inst"] = b"(" + each + f"i{module}\n{attr}\n".encode()
        found[f"{name}, obj"] = b"(" + name_2 + each + b"o"
        found[f"{name}, through getattr"] = (
            b"cbuiltins\ngetattr\n"
            + f"c{module}\n{attr.partition('.')[0]}\n".encode()
            + b"X\x08\0\0\0__call__\x86R"
            + given
            + b"R"
        )
    return found


def numpy_gadgets() -> dict[str, bytes]:
    """States and constructors that NumPy's own unpickling follows to addresses of the file's choice."""
    found: dict[str, bytes] = {}

    def of(value: object) -> bytes:
        return pickle.dumps(value, protocol=2)[2:-1]

    dtype = b"cnumpy\ndtype\n"
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        array = f"c{core}\n_reconstruct\ncnumpy\nndarray\n".encode() + of((0,)) + of(b"b") + b"\x87R"
        scalar = f"c{core}\nscalar\n".encode()
        for code in ("V8", "O", "M8", "f8", "u1", "(100000,100000)f8"):
            made = dtype + of((code, False, True)) + b"R"
            states: list[Any] = [
                (3, "|", None, None, None, 8, 1, 63),
                (3, "|", None, ("a",), {"a": (0x41414141, 0x41414141)}, 8, 1, 63),
                (3, "|", None, (), 0x4141414141414141, 1, 1, 63),
                (4, "|", (0x41, (1 << 40,)), None, None, -1, -1, 63, None),
                (3, "<", None, None, None, 1 << 30, 1 << 30, -1),
                (3, "|", ("f8", (1 << 30, 1 << 30)), None, None, -1, -1, 0),
                (1, "<"),
                ("x",) * 8,
            ]
            for number, state in enumerate(states):
                crafted = made + of(state) + b"b"
                where = f"{core.partition('.')[2].partition('.')[0]} {code} state {number}"
                found[f"dtype {where}"] = crafted
                found[f"scalar {where}"] = scalar + crafted + of(b"\x41" * 8) + b"\x86R"
                shape = of((1 << 20, 1 << 20)) if number % 2 else of((2,))
                found[f"array {where}"] = array + b"(" + of(1) + shape + crafted + of(False) + of(b"\x41" * 8) + b"tb"
    for flags in (0, 1, 5, 27, 61, 63):  # 61 was a SIGSEGV: an object by its address, whose count is raised
        inner = dtype + of(("O8", False, True)) + b"R"
        fields = b"}" + of("a") + b"(" + inner + b"K\0ts"
        crafted = dtype + of(("V8", False, True)) + b"R(" + of(3) + of("|") + b"N" + of(("a",)) + fields
        crafted += of(8) + of(1) + of(flags) + b"tb"
        scalar = b"cnumpy._core.multiarray\nscalar\n"
        found[f"an object in a field, flags {flags}"] = scalar + crafted + of(b"\x41" * 8) + b"\x86R"
    return found


def sizes_and_depths() -> dict[str, bytes]:
    """Pickles that ask for more than there is, or nest without end."""
    deep = 300_000
    laughs = b")" + b"2\x86" * 90
    return {
        "tuples in tuples": b")" + b"\x85" * deep,
        "lists in lists": b"]" * deep + b"a" * (deep - 1),
        "dicts in dicts": b"}" + b"K\1}" * deep + b"s" * deep,
        "a key of tuples": b"})" + b"\x85" * deep + b"K\1s",
        "a key that laughs": b"}" + laughs + b"K\1s",
        "a value that laughs": b"}K\1" + laughs + b"s",
        "calls in calls": b"cx\ny\n)R" + b"q\0cx\ny\nh\0\x85R" * deep,
        "states in states": b"(" + b"ccollections\nOrderedDict\n)R" * 1000 + b"b" * 999 + b"1}",
        "itself": b"]q\0h\0a",
        "a state dict that holds itself": b"}q\0X\x0a\0\0\0state_dicth\0s",
        "an ordered dict that holds itself": b"ccollections\nOrderedDict\n)Rq\0X\5\0\0\0modelh\0s",
        "bytes of 4 EB": b"\x8e" + (1 << 62).to_bytes(8, "little") + b"x",
        "text of 4 EB": b"\x8d" + (1 << 62).to_bytes(8, "little") + b"x",
        "text of 4 GB": b"X\xff\xff\xff\xffx",
        "bytes of 4 GB": b"B\xff\xff\xff\xffx",
        "a bytearray of 4 EB": b"\x96" + (1 << 62).to_bytes(8, "little") + b"x",
        "a frame of 4 EB": b"\x95" + (1 << 62).to_bytes(8, "little") + b"N",
        "bytes of a negative length": b"T\xff\xff\xff\xffx",
        "an integer of 2 GB": b"\x8b\xff\xff\xff\x7fx",
        "an integer of a megabyte": b"\x8b" + (1 << 20).to_bytes(4, "little") + b"\x7f" * (1 << 20),
        "a key of many bits": b"}\x8a\xff" + b"\x7f" * 255 + b"K\1s",
        "digits": b"L" + b"9" * 60_000 + b"L\n",
        "a line of a megabyte": b"S'" + b"x" * (1 << 20) + b"'\n",
        "a memo far away": b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff",
        "bytes that are made again and again": b"X\0\0\x10\0"
        + b"x" * (1 << 20)
        + b"q\0"
        + b"c_codecs\nencode\nh\0X\6\0\0\0latin1\x86R0" * 50_000
        + b"N",
        "a set of a list, again and again": b"](" + b"K\1" * 100_000 + b"eq\0" + b"cbuiltins\nset\nh\0\x85R0" * 10_000,
        "a bytearray of a size": b"cbuiltins\nbytearray\n\x8a\6\xff\xff\xff\xff\xff\x7f\x85R",
        "a tensor of a size": b"ctorch\nTensor\n\x8a\6\xff\xff\xff\xff\xff\x7f\x85\x81",
        "a storage of a size": b"ctorch\nUntypedStorage\n\x8a\6\xff\xff\xff\xff\xff\x7f\x85R",
        "a parameter of nothing": b"ctorch.nn.parameter\nParameter\n)\x81",
        "a size of names": b"ctorch\nSize\n(X\1\0\0\0at\x85R",
        "a complex of text": b"cbuiltins\ncomplex\nX\1\0\0\0x\x85R",
        "a counter of numbers": b"ccollections\nCounter\nK\5\x85R",
    }


def tensors() -> Iterator[tuple[str, bytes]]:
    """Tensors that reach beyond what the file holds, in the ways torch rebuilds them."""
    shapes = [
        ((1 << 40,), (1,)),
        ((1 << 31, 1 << 31), (0, 0)),
        ((-1,), (1,)),
        ((3, 2), (1,)),
        ((2,), (1 << 62,)),
        ((2,) * 70, (0,) * 70),
    ]
    rebuilds: list[tuple[str, Callable[..., object], Callable[[Any, Any], tuple[object, ...]]]] = [
        ("v2", torch._utils._rebuild_tensor_v2, lambda shape, step: (0, shape, step, False, {})),
        ("v1", torch._utils._rebuild_tensor, lambda shape, step: (0, shape, step)),
        ("v3", torch._utils._rebuild_tensor_v3, lambda shape, step: (0, shape, step, False, {}, torch.float64)),
        ("far", torch._utils._rebuild_tensor_v2, lambda shape, step: (1 << 61, (2,), (1,), False, {})),
        ("before", torch._utils._rebuild_tensor_v2, lambda shape, step: (-5, (2,), (1,), False, {})),
        ("sparse", torch._utils._rebuild_sparse_tensor, lambda shape, step: (torch.sparse_coo, (shape, step))),
        ("nested", torch._utils._rebuild_nested_tensor, lambda shape, step: (shape, step, 0x41)),
        (
            "quantized",
            torch._utils._rebuild_qtensor,
            lambda shape, step: (0, shape, step, (torch.per_tensor_affine, 1.0, 0), False, {}),
        ),
        ("meta", torch._utils._rebuild_meta_tensor_no_storage, lambda shape, step: (torch.float32, shape, step, False)),
        (
            "numpy",
            torch._utils._rebuild_device_tensor_from_numpy,
            lambda shape, step: (shape, torch.float32, "cpu", False),
        ),
    ]
    storages = [torch.FloatStorage, torch.BoolStorage, torch.QInt8Storage, torch.UntypedStorage]
    for name, rebuild, arguments in rebuilds:
        for shape, step in shapes:
            for num_items in (4, 1 << 40, -4):
                kind = storages[(len(name) + num_items + len(shape)) % len(storages)]

                class Storage:
                    stands_for = ("storage", kind, "0", "cpu", num_items)

                class Rebuilt:
                    function, given = rebuild, (Storage(), *arguments(shape, step))

                    def __reduce__(self) -> Any:
                        return type(self).function, type(self).given

                class Pickler(pickle.Pickler):
                    def persistent_id(self, each: object) -> object:
                        return getattr(type(each), "stands_for", None)

                Rebuilt.function = staticmethod(rebuild)  # type: ignore[assignment]
                stream = io.BytesIO()
                Pickler(stream, protocol=2).dump({"1.weight": Rebuilt()})
                yield f"{name} tensor of {shape} by {step}, {num_items} stored", stream.getvalue()


def zipped(file: Path, content: bytes, *, storage: bytes = bytes(16)) -> Path:
    """A checkpoint as torch writes it now, around a pickle."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/data/0", storage)
        archive.writestr("x/version", "3")
    return file


def legacy(file: Path, content: bytes) -> Path:
    """A checkpoint as torch wrote it before 1.6, around a pickle."""
    heads = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001, "type_sizes": {}})
    head = b"".join(pickle.dumps(each, protocol=2) for each in heads)
    file.write_bytes(head + content + pickle.dumps(["0"], protocol=2) + struct.pack("<q", 4) + bytes(16))
    return file


def pickled(value: bytes, *, key: bytes = b"X\4\0\0\0best") -> bytes:
    """A whole pickle: a dictionary with weights' name beside a value."""
    return b"\x80\2}(" + key + value + b"u."


def batch_folder(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    one = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps(one, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"a", b"b"]}, protocol=2))
    return folder


def read_checkpoint(file: Path) -> Callable[[], object]:
    def read() -> None:
        found = spec.parse(str(file))
        if found.kind == "state_dict":
            plain_weights.read(file)
            load.weights_of(found)
            _inspect._network(found, every=True)
        load.load(str(file), arch="net.py", sample_shape=(1, 4, 4))

    return read


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pickles-") as folder:
        campaign = Campaign("pickles", Path(folder))
        mark = campaign.scratch / "code-has-run"
        untouched = intact(mark, campaign.scratch / "net.py")
        write_traps(campaign.scratch, mark)
        untouched = intact(mark, campaign.scratch / "net.py")
        cifar = batch_folder(campaign.scratch / "cifar-10-batches-py")
        sound = campaign.attempt(
            "a sound set", lambda: open_dataset(DataSettings(source=f"cifar:{cifar}")), untouched=untouched
        )
        campaign.must(sound == "read", "a sound CIFAR set is not read")

        values = {**gadgets(mark), **numpy_gadgets(), **sizes_and_depths()}
        for number, (name, value) in enumerate(values.items()):
            whole = pickled(value)
            forms = (zipped, legacy) if name in sizes_and_depths() else ((zipped, legacy)[number % 2],)
            for write in forms:
                file = write(campaign.scratch / "t.pt", whole)
                campaign.attempt(f"{write.__name__} checkpoint, {name}", read_checkpoint(file), untouched=untouched)
            place = ("test_batch", "batches.meta", "data_batch_1")[number % 3]
            key = {"batches.meta": b"X\x0b\0\0\0label_names"}.get(place, b"X\4\0\0\0data")
            sane = (cifar / place).read_bytes()
            (cifar / place).write_bytes(pickled(value, key=key))
            source = DataSettings(source=f"cifar:{cifar}")
            campaign.attempt(f"cifar {place}, {name}", lambda source=source: open_dataset(source), untouched=untouched)
            (cifar / place).write_bytes(sane)
        for name, content in tensors():
            for write in (zipped, legacy):
                file = write(campaign.scratch / "t.pt", content)
                campaign.attempt(f"{write.__name__} checkpoint, {name}", read_checkpoint(file), untouched=untouched)
        archives(campaign, untouched)
        damages(campaign, untouched, cifar)
        for name in ("evil.pt", "deep.pt"):
            for words in (("inspect", name), ("inspect", name, "--arch", "net.py")):
                campaign.attempt(f"compress {' '.join(words)}", command(*words), untouched=untouched)
        campaign.must(not mark.exists(), "the mark is there")
        campaign.end(promise="0 code run, 0 crashes, 0 hangs, 0 tracebacks")


def write_traps(scratch: Path, mark: Path) -> None:
    """Files that hostile pickles name, and a network of the user's own."""
    (scratch / "net.py").write_text(NETWORK)
    (scratch / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    zipped(scratch / "evil.pt", pickled(gadgets(mark)["os.system, reduce"]))
    zipped(scratch / "deep.pt", pickled(sizes_and_depths()["a key of tuples"]))
    np.save(scratch / "evil.npy", np.array([Trap(mark)], dtype=object), allow_pickle=True)


class Trap:
    """Its pickle writes a file when it is obeyed."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def archives(campaign: Campaign, untouched: Callable[[], str | None]) -> None:
    """NumPy archives with objects in them."""
    trap = np.array([Trap(campaign.scratch / "code-has-run")], dtype=object)
    x, y = np.zeros((8, 4), np.float32), np.arange(8) % 2
    for name in ("x_train", "y_train", "classes"):
        given: dict[str, Any] = {"x_train": x, "y_train": y, name: trap}
        np.savez(campaign.scratch / "objects.npz", allow_pickle=True, **given)
        source = DataSettings(source="npz:objects.npz")
        campaign.attempt(f"npz with objects as {name}", lambda source=source: open_dataset(source), untouched=untouched)


def damages(campaign: Campaign, untouched: Callable[[], str | None], cifar: Path) -> None:
    """Sound files with bytes changed or cut at random."""
    chance = random.Random(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    content = {}
    for is_legacy in (False, True):
        torch.save(
            {"state_dict": network.state_dict(), "best": np.float64(0.5)},
            "sound.pt",
            _use_new_zipfile_serialization=not is_legacy,
        )
        content[f"{'legacy' if is_legacy else 'zip'} checkpoint"] = Path("sound.pt").read_bytes()
    content["cifar batch"] = (cifar / "test_batch").read_bytes()
    for name, whole in content.items():
        for number in range(DAMAGES):
            damaged = bytearray(whole)
            reach = len(whole) if number % 2 else min(len(whole), 900)  # half of them where the opcodes are
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(reach)] = chance.randrange(256)
            if number % 5 == 0:
                damaged = damaged[: chance.randrange(len(damaged))]
            if name == "cifar batch":
                (cifar / "test_batch").write_bytes(damaged)
                source = DataSettings(source=f"cifar:{cifar}")
                campaign.attempt(
                    f"damaged {name} {number}", lambda source=source: open_dataset(source), untouched=untouched
                )
            else:
                file = campaign.scratch / "t.pt"
                file.write_bytes(damaged)
                campaign.attempt(f"damaged {name} {number}", read_checkpoint(file), untouched=untouched)
    (cifar / "test_batch").write_bytes(content["cifar batch"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
    sys.exit(0)
