"""Pickles read as data: what they name is noted and never imported, what they call is noted and never called.

Python's own unpickler, and torch's for weights, build whatever a file asks for out of the types they admit; a type that
restores itself from a state that the file made up (`numpy.dtype`) is enough to read any address. Here nothing is built but
None, numbers, strings, bytes, lists, tuples and dicts. All else becomes a record of what was asked for (`Made`), for readers
that know what to do with it: a tensor's, an array's.

A file cannot ask for more than it holds: lengths end where the file ends, and steps, nesting, keys and integers are bounded.

Not covered: buffers outside the pickle (protocol 5), extension codes.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn

MOST_STEPS = 10_000_000
MOST_NESTED = 100
_LONGEST_LINE = 1 << 16
_MOST_IN_A_KEY = 64
_KEY_BITS = 64  # more would let a file choose integers of one hash, and a dict of these takes forever
_NUMBER_BITS = 1 << 13
_ORDERED_DICT = "collections.OrderedDict"
_RETURNED = "what a call returned"  # is called itself (a bound method, say)
_MARK = object()


class DamagedPickleError(Exception):
    """The bytes are no pickle, are cut short, or ask for more than a file of data needs."""


@dataclass(frozen=True, eq=False)
class Name:
    """Something that a pickle would import."""

    text: str


@dataclass(eq=False, repr=False)  # parts may be shared, and a text that repeats them grows without end
class Made:
    """Something that a pickle would make.

    Attributes:
        name: What it would call, as `module.name`.
        arguments: With what.
        state: What it would restore afterwards.
        items: What it would add, if it were a list or a set.
        entries: What it would add, if it were a mapping: keys and values.
    """

    name: str
    arguments: tuple[object, ...]
    state: object = None
    items: list[object] = field(default_factory=list)
    entries: list[tuple[object, object]] = field(default_factory=list)


@dataclass(frozen=True, eq=False, repr=False)
class Outside:
    """Something that the pickle leaves to its reader, under an identity (torch's storages)."""

    identity: object


@dataclass(frozen=True)
class Read:
    """A pickle that was read.

    Attributes:
        value: What it holds.
        names: All that it would import, each once, in order.
        protocol: The highest it says it is written in.
    """

    value: object
    names: tuple[str, ...]
    protocol: int


def read(stream: IO[bytes], *, size: int, encoding: str | None = "utf-8") -> Read:
    """Read one pickle, up to its end.

    Args:
        stream: Where it begins.
        size: The most bytes it may take.
        encoding: Of the byte strings that Python 2 wrote for text; None leaves them bytes.

    Raises:
        DamagedPickleError: It is damaged, or asks for too much.
        OSError: The stream cannot be read.
    """
    machine = _Machine(encoding)
    try:
        for opcode, argument, _ in pickletools.genops(_Within(stream, size)):  # type: ignore[arg-type]
            machine.step(opcode.name, argument)
        value = machine.pop()
    except (ValueError, LookupError, EOFError, OverflowError, MemoryError) as fault:
        raise DamagedPickleError(str(fault).split("\n")[0] or type(fault).__name__) from fault
    _require_shallow(value)
    return Read(value, tuple(machine.names), machine.protocol)


def read_bytes(content: bytes, *, encoding: str | None = "utf-8") -> Read:
    """Read the pickle at the beginning of `content`; as `read`."""
    return read(io.BytesIO(content), size=len(content), encoding=encoding)


class _Within:
    """A stream that gives no more than it has, and is never asked to set memory aside for more."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, length: int) -> bytes:
        content = self._stream.read(min(length, self._left)) if length > 0 else b""
        self._left -= len(content)
        return content

    def readline(self) -> bytes:
        content = self._stream.readline(min(_LONGEST_LINE, self._left))
        self._left -= len(content)
        return content


class _Machine:
    """The stack that a pickle is a program for."""

    def __init__(self, encoding: str | None) -> None:
        self.names: dict[str, None] = {}
        self.protocol = 0
        self._encoding = encoding
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._steps = 0

    def step(self, opcode: str, argument: Any) -> None:
        self._spend(1)
        if opcode in _VALUES:
            self._stack.append(self._value(argument))
        elif opcode in _PYTHON_2_STRINGS:
            self._stack.append(self._python_2(argument))
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        elif opcode == "PROTO":
            self.protocol = max(self.protocol, argument)
        elif opcode not in ("FRAME", "STOP"):
            _refuse(f"{opcode} is not read")

    def pop(self) -> object:
        value = self._stack.pop()
        return _refuse("a mark is taken for a value") if value is _MARK else value

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            _refuse(f"more than {MOST_STEPS} steps")

    def _value(self, argument: Any) -> object:
        if isinstance(argument, bytearray):
            return bytes(argument)
        if isinstance(argument, int) and argument.bit_length() > _NUMBER_BITS:
            _refuse(f"an integer of {argument.bit_length()} bits")
        return argument

    def _python_2(self, argument: str) -> object:
        """pickletools gives these as text of the code points 0 to 255."""
        content = argument.encode("latin-1")
        return content if self._encoding is None else content.decode(self._encoding)

    def _top(self) -> object:
        return self._stack[-1] if self._stack[-1] is not _MARK else _refuse("a mark is taken for a value")

    def _to_mark(self) -> list[object]:
        items = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        items.reverse()
        return items

    # Names and what is made of them

    def _push_name(self, text: str) -> None:
        self.names[text] = None
        self._stack.append(Name(text))

    def global_(self, argument: str) -> None:
        self._push_name(argument.replace(" ", ".", 1))

    def stack_global(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            _refuse("a name that is no text")
        self._push_name(f"{module}.{name}")

    def inst(self, argument: str) -> None:
        arguments = tuple(self._to_mark())
        self.global_(argument)
        self._make(self.pop(), arguments)

    def obj(self, _: object) -> None:
        class_, *arguments = self._to_mark()
        self._make(class_, tuple(arguments))

    def reduce(self, _: object) -> None:
        arguments, called = self.pop(), self.pop()
        self._make(called, arguments)

    def newobj_ex(self, _: object) -> None:
        keywords, arguments, class_ = self.pop(), self.pop(), self.pop()
        self._make(class_, (arguments, keywords))

    def _make(self, called: object, arguments: object) -> None:
        if not isinstance(called, Name | Made) or not isinstance(arguments, tuple):
            _refuse("a call of something that has no name")
        if isinstance(called, Made):
            self._stack.append(Made(_RETURNED, (called, arguments)))
        elif called.text == _ORDERED_DICT:
            self._stack.append(self._ordered(arguments))
        elif called.text == "_codecs.encode" and len(arguments) == 2 and isinstance(arguments[0], str):
            self._spend(len(arguments[0]))  # one string in the memo could be encoded a million times
            self._stack.append(arguments[0].encode("latin-1"))
        else:
            self._stack.append(Made(called.text, arguments))

    def _ordered(self, arguments: tuple[object, ...]) -> dict[Any, object]:
        """Python 2 gave the pairs as an argument, Python 3 adds them afterwards."""
        pairs = arguments[0] if arguments else []
        if len(arguments) > 1 or not isinstance(pairs, list):
            _refuse("an OrderedDict of something else than pairs")
        self._spend(len(pairs))
        found: dict[Any, object] = {}
        for pair in pairs:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                _refuse("an OrderedDict of something else than pairs")
            found[_key(pair[0])] = pair[1]
        return found

    def build(self, _: object) -> None:
        state, built = self.pop(), self._top()
        if isinstance(built, Made):
            built.state = state
        elif not isinstance(built, dict):  # attributes of an OrderedDict are of no use
            _refuse(f"a state for a {type(built).__name__}")

    def outside(self, argument: object) -> None:
        self._stack.append(Outside(argument))

    def outside_of_stack(self, _: object) -> None:
        self._stack.append(Outside(self.pop()))

    # Containers

    def mark(self, _: object) -> None:
        self._stack.append(_MARK)

    def fresh(self, kind: Callable[[], object]) -> None:
        self._stack.append(kind())

    def tuple_to_mark(self, _: object) -> None:
        self._stack.append(tuple(self._to_mark()))

    def tuple_of(self, length: int) -> None:
        items = [self.pop() for _ in range(length)]
        self._stack.append(tuple(reversed(items)))

    def list_to_mark(self, _: object) -> None:
        self._stack.append(self._to_mark())

    def dict_to_mark(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append({})
        self._set(items)

    def append(self, _: object) -> None:
        item = self.pop()
        self._add([item])

    def appends(self, _: object) -> None:
        self._add(self._to_mark())

    def setitem(self, _: object) -> None:
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def setitems(self, _: object) -> None:
        self._set(self._to_mark())

    def _add(self, items: list[object]) -> None:
        target = self._top()
        if isinstance(target, Made):
            target.items += items
        elif isinstance(target, list):
            target += items
        else:
            _refuse(f"items for a {type(target).__name__}")

    def _set(self, items: list[object]) -> None:
        target = self._top()
        if len(items) % 2:
            _refuse("a key without a value")
        pairs = list(zip(items[::2], items[1::2], strict=True))
        if isinstance(target, Made):
            target.entries += pairs
        elif isinstance(target, dict):
            for key, value in pairs:
                target[_key(key)] = value
        else:
            _refuse(f"entries for a {type(target).__name__}")

    # The memo and the stack

    def put(self, place: int) -> None:
        self._memo[place] = self._top()

    def memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._top()

    def get(self, place: int) -> None:
        self._stack.append(self._memo[place])

    def drop(self, _: object) -> None:
        self._stack.pop()

    def drop_to_mark(self, _: object) -> None:
        self._to_mark()

    def dup(self, _: object) -> None:
        self._stack.append(self._top())


_NUMBERS = ("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_VALUES = frozenset({*_NUMBERS, *_TEXTS, *_BYTES})
_PYTHON_2_STRINGS = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING"})
_CONSTANTS: Mapping[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "INST": _Machine.inst,
    "OBJ": _Machine.obj,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.newobj_ex,
    "BUILD": _Machine.build,
    "PERSID": _Machine.outside,
    "BINPERSID": _Machine.outside_of_stack,
    "MARK": _Machine.mark,
    "EMPTY_LIST": lambda machine, _: machine.fresh(list),
    "EMPTY_DICT": lambda machine, _: machine.fresh(dict),
    "EMPTY_SET": lambda machine, _: machine.fresh(list),  # nobody needs to know that it was a set
    "FROZENSET": _Machine.list_to_mark,
    "TUPLE": _Machine.tuple_to_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "LIST": _Machine.list_to_mark,
    "DICT": _Machine.dict_to_mark,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "ADDITEMS": _Machine.appends,
    "SETITEM": _Machine.setitem,
    "SETITEMS": _Machine.setitems,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "DUP": _Machine.dup,
}


def _refuse(what: str) -> NoReturn:
    raise DamagedPickleError(what)


def _key(key: object) -> Any:
    """A key that can be hashed at once: the hash of nested tuples is computed by recursion, at each use."""
    waiting, looked_at = [key], 0
    while waiting:
        each = waiting.pop()
        looked_at += 1
        if looked_at > _MOST_IN_A_KEY:
            _refuse(f"a key of more than {_MOST_IN_A_KEY} parts")
        if isinstance(each, tuple):
            waiting += each
        elif isinstance(each, int) and each.bit_length() > _KEY_BITS:
            _refuse(f"an integer of {each.bit_length()} bits as a key")
        elif isinstance(each, list | dict):
            _refuse(f"a {type(each).__name__} as a key")
    return key


def _require_shallow(value: object) -> None:
    """Refuse what holds itself, or is nested deeper than any reader should have to follow; looks at each part once.

    Raises:
        DamagedPickleError: It is.
    """
    height: dict[int, int] = {}  # of parts that were looked at
    open_ = {id(value)}  # those that are being looked at
    path = [(value, parts_of(value))]
    while path:
        whole, parts = path[-1]
        part = next(parts, _MARK)
        if part is _MARK:
            path.pop()
            open_.discard(id(whole))
            height[id(whole)] = 1 + max((height.get(id(each), 0) for each in parts_of(whole)), default=0)
            if height[id(whole)] > MOST_NESTED:  # by a way that was not the first to it
                _refuse(f"nested more than {MOST_NESTED} deep")
        elif id(part) in open_:
            _refuse("something that holds itself")
        elif isinstance(part, tuple | list | dict | Made | Outside) and id(part) not in height:
            if len(path) > MOST_NESTED:
                _refuse(f"nested more than {MOST_NESTED} deep")
            open_.add(id(part))
            path.append((part, parts_of(part)))


def parts_of(whole: object) -> Iterator[object]:
    """What a value or a record holds directly."""
    if isinstance(whole, tuple | list):
        yield from whole
    elif isinstance(whole, dict):
        yield from whole
        yield from whole.values()
    elif isinstance(whole, Made):
        yield from (whole.arguments, whole.state, whole.items, whole.entries)
    elif isinstance(whole, Outside):
        yield whole.identity
