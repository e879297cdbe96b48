"""What a model spec is: a Python file, a library's network, a checkpoint of some form, an ONNX file, an artifact. No torch.

    s.py, s.py:build, package.module:attr     a callable that returns an nn.Module
    zoo:resnet20                              a reference network of this package (compress list models)
    timm:resnet18, torchvision:resnet18       a network of that library
    transformers:FOLDER-or-name[:AutoClass]   a network of transformers: a folder of save_pretrained, or a name on the hub
    cut:teacher, cut:SPEC                     some layers of the teacher (or of another network) with their weights
    t.pt, t.pth, t.th, t.ckpt, t.safetensors  weights (or a whole network); what it is, is read from the file
    t.pt2                                     a torch.export program
    net.onnx                                  an ONNX model
    runs/digits/distill                       an artifact

Files are looked into without running anything they carry.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from compressor import artifact, trust
from compressor.errors import ModelError, UnknownNameError
from compressor.models import torch_archive
from compressor.plain_pickle import DamagedPickleError, Read
from compressor.registry import PACKAGE, installed, nearest

Kind = Literal[
    "python",
    "module",
    "timm",
    "torchvision",
    "transformers",
    "cut",
    "state_dict",
    "pickled",
    "torchscript",
    "exported",
    "onnx",
    "artifact",
]
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".th", ".ckpt", ".bin", ".tar", ".safetensors", ".ts", ".torchscript", ".pt2")
_FORMS_HELP = "write file.py[:callable], zoo:NAME, timm:NAME, torchvision:NAME, t.pt, net.onnx or an artifact folder"
_PLAIN_MODULES = (
    "torch",
    "torch._utils",
    "torch._tensor",
    "torch.nn.parameter",
    "torch.storage",
    "torch.serialization",
)
_PLAIN_GLOBALS = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|(builtins|__builtin__)\.(set|bytearray|complex)"
    r"|numpy\.(_core|core)\.multiarray\.(scalar|_reconstruct)|numpy\.(ndarray|dtype)|numpy\.dtypes\.\w+DType"
    r"|argparse\.Namespace"
)


TEACHER = "teacher"
"""What `cut:` means the teacher of the run by."""

PROGRAMS: Mapping[str, str] = {
    "torchscript": "a TorchScript program, which can read and write files",
    "exported": "a torch.export program, which may hold pickled objects",
}
"""Kinds of files that are programs, and what is said of one before it is trusted."""


@dataclass(frozen=True)
class ModelSpec:
    """A model spec, understood.

    Attributes:
        text: What the user wrote.
        kind: What it is.
        path: The file or folder, for specs that name one.
        name: Library or module name, for those that do not.
        attr: The callable, when one was named.
        pickled_class: For `pickled`: the first foreign class it would import, or the pickle protocol that is too new.
    """

    text: str
    kind: Kind
    path: Path | None = None
    name: str | None = None
    attr: str | None = None
    pickled_class: str | None = None

    @property
    def title(self) -> str:
        """A short name for folders and tables."""
        if self.path is not None:
            stem = self.path.name if self.kind in ("artifact", "transformers") else self.path.stem
            return stem if self.kind == "transformers" else self.attr if self.attr and self.attr != "build" else stem
        if self.kind == "transformers":
            return (self.name or self.text).rpartition("/")[2]
        if self.kind == "cut":
            return f"cut-{parse(self.name).title if self.name and self.name != TEACHER else TEACHER}"
        return self.attr or (self.name or self.text).partition(".")[0]  # timm's pretrained tags follow a dot

    @property
    def is_built(self) -> bool:
        """Whether it is an architecture, built fresh, rather than a network that comes with weights."""
        return self.kind in ("python", "module", "timm", "torchvision")


def parse(text: str) -> ModelSpec:
    """Understand a model spec.

    Raises:
        ModelError: It is none of the known forms, or the file is missing, damaged or of an unknown form.
        UnknownNameError: `zoo:` with a name that does not exist.
    """
    scheme, separator, rest = text.partition(":")
    if separator and scheme in ("timm", "torchvision"):
        return _library(text, scheme, rest)
    if separator and scheme == "transformers":
        return _of_transformers(text, rest)
    if separator and scheme == "cut":
        return _cut(text, rest)
    if separator and scheme == "zoo":
        file, attr = zoo_function(rest)
        return ModelSpec(text, "python", path=file, attr=attr)
    python = re.fullmatch(r"(.+\.py)(?::(\w+))?", text)
    if python:
        return ModelSpec(text, "python", path=_existing(Path(python[1]), text), attr=python[2])
    path = Path(text)
    if path.is_dir():
        return _folder(text, path)
    if path.suffix == ".onnx":
        return ModelSpec(text, "onnx", path=_existing(path, text))
    if path.suffix in CHECKPOINT_SUFFIXES:
        return _checkpoint(text, _existing(path, text))
    dotted = re.fullmatch(r"([\w.]+):(\w+)", text)
    if dotted:
        return ModelSpec(text, "module", name=dotted[1], attr=dotted[2])
    if path.exists():
        raise ModelError(
            f"'{path.suffix or path.name}' is no model file that compress knows", where=text, hint=_FORMS_HELP
        )
    raise ModelError("no such model", where=text, hint=nearby(path) or _FORMS_HELP)


def zoo_folder() -> Path:
    """Where the reference networks lie: in the wheel, or beside the package in a checkout."""
    inside = PACKAGE / "zoo"
    return inside if inside.is_dir() else PACKAGE.parent / "models"


def zoo_function(name: str) -> tuple[Path, str]:
    """File and function of a reference network (`resnet20`, or `resnet_cifar:resnet20`).

    Raises:
        UnknownNameError: No reference network has that name.
    """
    file_name, _, attr = name.rpartition(":")
    known: dict[str, Path] = {}
    for file in sorted(zoo_folder().glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        known |= {function: file for function in functions if not function.startswith("_")}
    if attr in known and file_name in ("", known[attr].stem):
        return known[attr], attr
    hint = nearest(attr, sorted(known), "known:") + " (compress list models)"
    raise UnknownNameError(f"no reference network is called '{name}'", hint=hint)


def local_sources(file: Path, *, lenient: bool = False) -> list[Path]:
    """A Python file and the files beside it that it imports, directly or through one another; found without running them.

    Not covered: imports whose name is made at run time.

    Args:
        file: The file.
        lenient: Take a file beside it that is not valid Python as it is: nobody can import it, nor what it would import.

    Raises:
        ModelError: One of them is not valid Python.
    """
    found = [file]
    for source in found:
        for node in _imports_of(source, lenient=lenient and source != file):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and (
                node.level == 0 or (node.level == 1 and source.parent == file.parent)
            ):
                names = [node.module] if node.module else [alias.name for alias in node.names]
            for top in sorted({name.partition(".")[0] for name in names}):
                beside = file.parent / f"{top}.py"
                package = sorted((file.parent / top).rglob("*.py")) if (file.parent / top).is_dir() else []
                found += [path for path in ([beside] if beside.is_file() else package) if path not in found]
    return found


def _imports_of(file: Path, *, lenient: bool) -> list[ast.AST]:
    try:
        return [node for node in ast.walk(_parsed(file)) if isinstance(node, ast.Import | ast.ImportFrom)]
    except ModelError:
        if not lenient:
            raise
        return []


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as fault:
        raise ModelError(f"not valid Python: {fault.msg}, line {fault.lineno}", where=str(file)) from fault
    except (OSError, ValueError) as fault:
        raise ModelError(f"cannot be read as Python: {fault}", where=str(file)) from fault


def source_hashes(file: Path, *, lenient: bool = False) -> dict[str, str]:
    """SHA-256 of a Python file and of what it imports from beside itself, by path relative to it; as `local_sources`."""
    root = file.resolve().parent
    found = local_sources(file.resolve(), lenient=lenient)
    return {each.relative_to(root).as_posix(): artifact.sha256(each) for each in found}


def identity(text: str, *, arch: str | None = None) -> dict[str, str]:
    """What decides which network a spec gives, by content: for the keys of stages.

    Raises:
        ModelError: As `parse`.
    """
    spec = parse(text)
    known = {"kind": spec.kind, "name": spec.name or "", "attr": spec.attr or ""}
    if spec.kind == "cut" and spec.name != TEACHER:
        assert spec.name is not None
        return known | {"name": ""} | {f"whole.{key}": value for key, value in identity(spec.name).items()}
    if spec.kind == "transformers" and spec.path is not None:
        held = sorted([*spec.path.glob("*.safetensors"), *spec.path.glob("config.json")])
        return known | {file.name: artifact.sha256(file) for file in held}
    if spec.kind == "artifact":
        assert spec.path is not None
        return known | {"key": artifact.content_key(artifact.read(spec.path))}
    if spec.kind == "python":
        assert spec.path is not None
        known |= source_hashes(spec.path)
    elif spec.kind == "module":
        assert spec.name is not None
        known |= _module_hashes(spec.name)
    elif spec.path is not None:
        known |= {"file": artifact.sha256(spec.path)}
    if spec.kind == "pickled" and spec.path is not None and spec.pickled_class is not None:
        beside = spec.path.parent / f"{spec.pickled_class.partition('.')[0]}.py"
        known |= source_hashes(beside) if beside.is_file() else {}
    if arch is not None:
        known |= {f"arch.{key}": value for key, value in identity(arch).items()}
    return known


def _module_hashes(module: str) -> dict[str, str]:
    """Hashes of an importable module's source; none where it has none (a built-in, a namespace) or cannot be found."""
    found = installed(module)
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return {}
    file = Path(found.origin)
    return source_hashes(file) if file.suffix == ".py" else {file.name: artifact.sha256(file)}


def needs_architecture(spec: ModelSpec) -> ModelError:
    """The answer to a checkpoint that came without the architecture it needs: what it is, and what to add."""
    if spec.kind == "pickled":
        return ModelError(
            f"a whole network, pickled (class {spec.pickled_class}): reading it runs code that it carries",
            where=spec.text,
            hint=f"if you know where it comes from: compress trust {spec.path} (or add --trust)",
        )
    return ModelError(
        "a state dict: weights without the network they belong to",
        where=spec.text,
        hint="add the code that builds it: --arch file.py:callable (or zoo:NAME, timm:NAME, torchvision:NAME)",
    )


def require_trust(spec: ModelSpec) -> None:
    """Refuse a program (TorchScript, torch.export) that has not been trusted, before anything else is spent on it.

    Raises:
        TrustError: It has not been.
    """
    if spec.kind in PROGRAMS and spec.path is not None:
        trust.require(spec.path, what=PROGRAMS[spec.kind])


def _library(text: str, scheme: str, name: str) -> ModelSpec:
    if not name:
        raise ModelError(f"{scheme}: needs a name", where=text, hint=f"write {scheme}:resnet18")
    if scheme == "timm" and importlib.util.find_spec("timm") is None:
        from compressor.errors import MissingExtraError

        raise MissingExtraError("timm is not installed", where=text, hint="pip install timm")
    return ModelSpec(text, "timm" if scheme == "timm" else "torchvision", name=name)


def _of_transformers(text: str, rest: str) -> ModelSpec:
    """A folder of `save_pretrained`, or a name on the hub, and the class that it is made as."""
    named = re.fullmatch(r"(.+?)(?::(\w+))?", rest)
    if named is None:
        raise ModelError("transformers: needs a folder or a name", where=text, hint="write transformers:FOLDER")
    require_transformers(text)
    path = Path(named[1]).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            hint = "write the folder that model.save_pretrained(folder) left"
            raise ModelError("the folder holds no config.json", where=str(path), hint=hint)
        return ModelSpec(text, "transformers", path=path, attr=named[2])
    if path.exists() or len(path.parts) > 2 or named[1].startswith((".", "/", "~")):
        message = "is a file, where a folder should be" if path.exists() else "no such folder"
        raise ModelError(message, where=named[1], hint=nearby(path))
    return ModelSpec(text, "transformers", name=named[1], attr=named[2])


def require_transformers(where: str) -> None:
    """Refuse to go on without `transformers`.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        from compressor.errors import MissingExtraError

        hint = "pip install 'compressor[text]' (or: pip install transformers)"
        raise MissingExtraError("transformers is not installed", where=where, hint=hint)


def _cut(text: str, whole: str) -> ModelSpec:
    if not whole:
        raise ModelError("cut: needs a network", where=text, hint=f"write cut:{TEACHER}")
    if whole == TEACHER:
        return ModelSpec(text, "cut", name=whole)
    spec = parse(whole)
    if spec.kind in ("onnx", "cut"):
        raise ModelError(f"'{whole}' has no layers that can be taken out", where=text, hint="cut a PyTorch network")
    return ModelSpec(text, "cut", name=whole)


def _existing(path: Path, text: str) -> Path:
    if not path.is_file():
        raise ModelError("no such file", where=text, hint=nearby(path))
    return path


def nearby(path: Path) -> str | None:
    """A hint with the file beside `path` whose name is nearest, if one is near."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} here either"
    close = difflib.get_close_matches(path.name, [file.name for file in path.parent.iterdir()], n=1)
    return f"did you mean {path.parent / close[0]}?" if close else None


def _folder(text: str, path: Path) -> ModelSpec:
    if artifact.is_artifact(path):
        return ModelSpec(text, "artifact", path=path)
    inside = sorted(file.parent for file in path.glob("*/" + artifact.MANIFEST))
    hint = f"it holds artifacts: {', '.join(str(folder) for folder in inside[:4])}" if inside else _FORMS_HELP
    raise ModelError("a folder, but no artifact (no manifest.json)", where=text, hint=hint)


def _checkpoint(text: str, path: Path) -> ModelSpec:
    if path.stat().st_size == 0:
        raise ModelError("the file is empty", where=text)
    with path.open("rb") as stream:
        head = stream.read(9)
    if path.suffix == ".safetensors" or (len(head) == 9 and head[8:9] == b"{"):
        _check_safetensors(path, head, text)
        return ModelSpec(text, "state_dict", path=path)
    if head.startswith(b"PK"):
        return _zipped(text, path)
    if head[:1] == b"\x80":
        with path.open("rb") as stream:
            if torch_archive.LEGACY_MAGIC not in stream.read(32):
                raise ModelError(
                    "damaged, or a pickle that torch.save did not write",
                    where=text,
                    hint="write it with torch.save(network.state_dict(), ...) or safetensors",
                )
            stream.seek(0)
            size = path.stat().st_size
            reader = partial(torch_archive.legacy_pickles, stream, size=size)
            return _pickled(text, path, reader, named="a legacy torch.save file")
    raise ModelError("not a file that torch or safetensors wrote", where=text, hint="is the download complete?")


def _check_safetensors(path: Path, head: bytes, text: str) -> None:
    length = struct.unpack("<Q", head[:8])[0] if len(head) >= 8 else 0
    if not 2 <= length <= path.stat().st_size - 8:
        raise ModelError("damaged or truncated safetensors file", where=text, hint="fetch or save it again")


def _zipped(text: str, path: Path) -> ModelSpec:
    try:
        with torch_archive.opened(path) as archive:
            if archive.kind == "torchscript":
                return ModelSpec(text, "torchscript", path=path)
            if archive.kind == "exported":
                return ModelSpec(text, "exported", path=path)
            if archive.has_pickle:
                return _pickled(text, path, lambda: [archive.pickle()], named="a torch.save file")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as fault:
        raise ModelError("damaged or truncated checkpoint", where=text, hint="copy or save it again") from fault
    raise ModelError("a zip file, but none that torch wrote", where=text)


def _pickled(text: str, path: Path, read: Callable[[], list[Read]], *, named: str) -> ModelSpec:
    try:
        foreign = _foreign_name(read())
    except DamagedPickleError as fault:
        message = f"damaged or truncated ({named}): {fault}"
        raise ModelError(message, where=text, hint="copy or save it again") from fault
    if foreign is None:
        return ModelSpec(text, "state_dict", path=path)
    return ModelSpec(text, "pickled", path=path, pickled_class=foreign)


def _foreign_name(pickles: list[Read]) -> str | None:
    """The first import that plain weights do not need; nothing is run.

    Protocols above 3 are none that torch reads weights from.
    """
    for read in pickles:
        if read.protocol > 3:
            return f"pickle protocol {read.protocol}"
        for name in read.names:
            if name.rpartition(".")[0] not in _PLAIN_MODULES and not _PLAIN_GLOBALS.fullmatch(name):
                return name
    return None
