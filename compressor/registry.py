"""A folder is a registry: names, first docstring lines and options of each family, read from source without importing.

To add a member, write one file in the family's folder: its name is the public name (`-` and `_` are the same), it holds
one public class or function, the first line of that one's docstring is what `compress list` prints, and its signature is
its option schema. Files that begin with `_` are the family's own business. A member outside the package is reached as
`file.py:attr` or `package.module:attr`.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.machinery import FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from compressor.errors import Fault, InputError, UnknownNameError

PACKAGE = Path(__file__).parent

FAMILIES: Mapping[str, str] = {
    "losses": "losses",
    "teachers": "teachers",
    "tasks": "tasks",
    "inputs": "inputs",
    "views": "views",
    "formats": "data/formats",
    "runtimes": "runtimes",
    "criteria": "surgery/criteria",
    "quantizers": "quantizers",
}


@dataclass(frozen=True)
class Option:
    """One option of a member, as its signature states it."""

    name: str
    annotation: str
    default: str | None
    help: str

    @property
    def required(self) -> bool:
        """Whether the option has no default."""
        return self.default is None


@dataclass(frozen=True)
class Member:
    """One member of a family: a class or function in a file of its own.

    Attributes:
        needs: What its class says that it needs, in the words of `recipe.capabilities`.
        gives: What it gives, likewise; None where its source does not say (another class may, which it derives from).
        attributes: Names of all that is set in the body of its class.
    """

    family: str
    name: str
    summary: str
    positional: tuple[Option, ...]
    options: tuple[Option, ...]
    file: Path
    attr: str
    needs: tuple[str, ...] = ()
    gives: tuple[str, ...] | None = None
    attributes: frozenset[str] = frozenset()

    def load(self) -> Any:
        """Import the file and return the class or function."""
        if self.file.is_relative_to(PACKAGE):
            module: ModuleType = importlib.import_module(
                "compressor." + ".".join(self.file.relative_to(PACKAGE).with_suffix("").parts)
            )
        else:
            module = import_file(self.file)
        return getattr(module, self.attr)


def members(family: str) -> tuple[Member, ...]:
    """All members of `family` (a key of `FAMILIES`), sorted by name."""
    folder = PACKAGE / FAMILIES[family]
    return tuple(_read(family, file) for file in sorted(folder.glob("*.py")) if not file.name.startswith("_"))


def find(family: str, name: str) -> Member:
    """The member called `name`, or the one at `file.py:attr` or `package.module:attr`.

    Raises:
        UnknownNameError: Nothing has that name; the hint carries the nearest ones.
        InputError: The outside file or attribute does not exist.
    """
    if ":" in name:
        return _outside(family, name)
    known = members(family)
    wanted = name.replace("-", "_")
    for member in known:
        if member.name == wanted:
            return member
    raise UnknownNameError(f"no {singular(family)} is called '{name}'", hint=_nearest_hint(family, wanted, known))


def option_faults(member: Member, given: Mapping[str, object], *, where: str) -> list[Fault]:
    """What is wrong with the names and plain types of the options `given` to `member`."""
    known = {option.name: option for option in member.options}
    faults = []
    for key, value in given.items():
        if key not in known:
            faults.append(
                Fault(f"{where}.{key}", f"{member.name} has no option '{key}'", nearest(key, list(known), "it takes"))
            )
        elif not _fits(value, known[key].annotation):
            faults.append(Fault(f"{where}.{key}", f"{value!r} is not {known[key].annotation}", known[key].help or None))
    missing = [option.name for option in member.options if option.required and option.name not in given]
    faults += [Fault(f"{where}.{name}", f"{member.name} needs the option '{name}'") for name in missing]
    return faults


def nearest(word: str, known: list[str], otherwise: str) -> str:
    """A hint for a misspelt word: the nearest known one, or the list of all."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"{otherwise} {', '.join(known)}" if known else f"{otherwise} nothing"


def singular(family: str) -> str:
    """The English singular of a family's name."""
    return {"losses": "loss", "formats": "data format", "criteria": "criterion"}.get(family, family.removesuffix("s"))


def import_file(file: Path) -> ModuleType:
    """Run a Python file the user named and return it as a module.

    Modules beside it can be imported while it runs; they are its local sources. A file whose content has changed since is
    run again.

    Raises:
        InputError: The file cannot be read, or raises.
    """
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    except OSError as fault:
        raise InputError(f"cannot be read: {fault.strerror}", where=str(file)) from fault
    name = f"compress_user_{file.stem}_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file, loader=_SourceOnly(name, str(file)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with importable(file.resolve().parent):
            spec.loader.exec_module(module)
    except BaseException as fault:
        del sys.modules[name]
        if isinstance(fault, SystemExit):
            told = "the file ends the program while it is imported (sys.exit, or arguments that it parses)"
            hint = 'put what it does as a script below if __name__ == "__main__":'
            raise InputError(told, where=str(file), hint=hint) from fault
        if isinstance(fault, Exception):
            raise InputError(f"the file does not run: {type(fault).__name__}: {fault}", where=str(file)) from fault
        raise
    return module


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """While open, modules in `folder` can be imported by name; those of another user's folder are forgotten first."""
    for name, owner in list(_local_modules.items()):
        if owner != folder:
            sys.modules.pop(name, None)
            del _local_modules[name]
    before = set(sys.modules)
    finder = _SourcesOf(folder)
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin and _belongs(Path(origin).resolve(), folder, name):
                _local_modules[name] = folder


_local_modules: dict[str, Path] = {}


def _belongs(place: Path, folder: Path, name: str) -> bool:
    """Whether `place` is where a module called `name` lies in `folder`; a virtual environment below it is not."""
    top = name.partition(".")[0]
    return place == folder / f"{top}.py" or place.is_relative_to(folder / top)


class _SourceOnly(SourceFileLoader):
    """Compiles the source at each import: cached bytecode is neither what was trusted nor part of an artifact."""

    def get_code(self, fullname: str) -> CodeType:
        file = self.get_filename(fullname)
        return self.source_to_code(self.get_data(file), file)


class _SourcesOf:
    """Finds the modules of a user's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        places = [str(self.folder)] if path is None else path
        for place in places:
            if path is None or _belongs(Path(place), self.folder, name):
                found = FileFinder(place, (_SourceOnly, [".py"])).find_spec(name)
                if found is not None and found.loader is not None:
                    return found
        return None


def _outside(family: str, name: str) -> Member:
    target, _, attr = name.rpartition(":")
    if target.endswith(".py"):
        file = Path(target)
    else:
        found = installed(target)
        if found is None or found.origin is None:
            raise UnknownNameError(f"no module is called '{target}'", hint="write file.py:attr or package.module:attr")
        file = Path(found.origin)
    if not file.is_file():
        raise InputError(f"no such file: {file}", hint="write file.py:attr or package.module:attr")
    return _read(family, file, attr)


def installed(module: str) -> ModuleSpec | None:
    """Where a module lies that can be imported by its name; None when there is none. The packages above it are imported."""
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):  # the package above it is missing; an empty or relative name
        return None


@cache
def _read(family: str, file: Path, attr: str | None = None) -> Member:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as fault:
        raise InputError(f"not valid Python: {fault.msg}, line {fault.lineno}", where=str(file)) from fault
    except (OSError, ValueError) as fault:  # no UTF-8 text, or with null characters
        raise InputError(f"cannot be read: {fault}", where=str(file)) from fault
    except (RecursionError, MemoryError) as fault:
        raise InputError("nested too deeply for Python to read", where=str(file)) from fault
    public = [
        node
        for node in tree.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
        and (node.name == attr if attr else not node.name.startswith("_"))
    ]
    if not public:
        raise InputError(f"no class or function '{attr}'" if attr else "no public class or function", where=str(file))
    node = public[0]
    doc = ast.get_docstring(node) or ast.get_docstring(tree) or ""
    positional, options = _signature(node, doc)
    summary = doc.strip().split("\n")[0]
    stated = _attributes(node)
    needs, gives = (_words(stated, name, where=f"{file}:{node.name}") for name in ("needs", "gives"))
    return Member(
        family, file.stem, summary, positional, options, file, node.name, needs or (), gives, frozenset(stated)
    )


def _attributes(node: ast.ClassDef | ast.FunctionDef) -> dict[str, ast.expr]:
    """What is set in the body of a class, by name; of a function nothing, whose body is no description of it."""
    found: dict[str, ast.expr] = {}
    for each in node.body if isinstance(node, ast.ClassDef) else ():
        targets = (
            each.targets if isinstance(each, ast.Assign) else [each.target] if isinstance(each, ast.AnnAssign) else []
        )
        value = each.value if isinstance(each, ast.Assign | ast.AnnAssign) else None
        found |= {target.id: value for target in targets if isinstance(target, ast.Name) and value is not None}
    return found


def _words(stated: Mapping[str, ast.expr], name: str, *, where: str) -> tuple[str, ...] | None:
    """The texts that are listed under this name, or the one that stands there; None where nothing does.

    Raises:
        InputError: They are not written out.
    """
    if name not in stated:
        return None
    try:
        words = ast.literal_eval(stated[name])
    except ValueError:
        words = None
    words = (words,) if isinstance(words, str) else words
    if not isinstance(words, tuple | list) or not all(isinstance(word, str) for word in words):
        hint = f'write {name} = ("features",), say: it is read without running the file'
        raise InputError(f"{name} is not a tuple of texts that are written out", where=where, hint=hint)
    return tuple(words)


def _helps(doc: str) -> dict[str, str]:
    """What a docstring says of each argument; lines that are indented further go on with it."""
    found: dict[str, str] = {}
    name, depth = "", 0
    for line in doc.split("\n"):
        indent = len(line) - len(line.lstrip())
        begins = re.match(r"\s+(\w+)(?: \(.*?\))?: (.+)$", line)
        if name and indent > depth and line.strip():
            found[name] += f" {line.strip()}"
        elif begins:
            name, depth = begins[1], indent
            found[name] = begins[2]
        else:
            name = ""
    return found


def _signature(node: ast.ClassDef | ast.FunctionDef, doc: str) -> tuple[tuple[Option, ...], tuple[Option, ...]]:
    function: ast.ClassDef | ast.FunctionDef = node
    if isinstance(node, ast.ClassDef):
        inits = [sub for sub in node.body if isinstance(sub, ast.FunctionDef) and sub.name == "__init__"]
        if not inits:
            return (), ()
        function = inits[0]
        doc += "\n" + (ast.get_docstring(function) or "")
    assert isinstance(function, ast.FunctionDef)
    helps = _helps(doc)
    spec = function.args

    def option(arg: ast.arg, default: ast.expr | None) -> Option:
        annotation = ast.unparse(arg.annotation) if arg.annotation else "object"
        return Option(arg.arg, annotation, None if default is None else ast.unparse(default), helps.get(arg.arg, ""))

    plain = [arg for arg in spec.args if arg.arg != "self"]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(spec.defaults)) + list(spec.defaults)
    return (
        tuple(option(arg, default) for arg, default in zip(plain, defaults)),
        tuple(option(arg, default) for arg, default in zip(spec.kwonlyargs, spec.kw_defaults)),
    )


_PLAIN: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "None": (type(None),),
    "Path": (str, Path),
}


def _fits(value: object, annotation: str) -> bool:
    """Whether a plain value can be what the annotation says; unknown annotations are left to the constructor."""
    alternatives = [part.strip() for part in annotation.split("|")]
    if not all(part in _PLAIN for part in alternatives):
        return True
    return any(
        isinstance(value, _PLAIN[part]) and (part == "bool" or not isinstance(value, bool)) for part in alternatives
    )


def _nearest_hint(family: str, wanted: str, known: tuple[Member, ...]) -> str:
    names = [member.name for member in known]
    return nearest(wanted, names, "known:") + f" (compress list {family})"
