"""Damage to plain data, to text and to bytes: what a hand, a broken disk or an enemy does to files of a known form."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable
from typing import Any

WORDS = (
    "auto", "data", "digits", "npz:none.npz", "images:none", "py:none.py:load", "zoo:lenet5", "timm:none", "none.pt",
    "kd", "hard", "fitnet", "edge", "server", "ort_cpu", "torch", "static", "qat", "taylor", "train", "distill", "prune",
    "quantize", "export", "bench", "report", "ensemble", "outputs", "onnx", "cpu", "half", "imagenet", "a.b:c", ":", "::",
    "file.py:", "ünïcode", "\u202eright to left", "a\tb", "a\nb", "\x1b[31mred", "x" * 300, "y" * 5000, "", " ", ".", "..",
    "a" * 254 + "/" + "b" * 256, "-1", "--help", "1e999", "nan", "%s%n", "{0}", "[red]", "null",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 7, 10, 100, 255, 256, 65536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30,
    10**400, 0.0, -0.0, 0.1, 0.5, 0.9, 1.0, 1.5, -0.5, 1e-300, 1e300, math.inf, -math.inf, math.nan,
)  # fmt: skip
KEYS = (
    "", " ", "name", "model", "losses", "options", "source", "profile", "runtime", "views", "kind", "members", "weight",
    "__class__", "__init__", "a.b", "0", "-1", "ключ", "x" * 300, "model_config", "temperature", "alpha", "start", "end",
)  # fmt: skip


def nested(depth: int, *, tables: bool) -> Any:
    """Tables or lists within one another."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if tables else [value]
    return value


def value_from(dice: random.Random) -> Any:
    """A value that a recipe or a manifest could hold, or could not."""
    kind = dice.randrange(12)
    if kind < 4:
        return dice.choice(WORDS)
    if kind < 8:
        return dice.choice(NUMBERS)
    if kind == 8:
        return dice.choice((True, False, None))
    if kind == 9:
        return [value_from(dice) for _ in range(dice.randrange(4))]
    if kind == 10:
        return {dice.choice(KEYS): value_from(dice) for _ in range(dice.randrange(4))}
    return dice.choice(([], {}, [[]], [{}], {"": {}}, nested(dice.choice((6, 30, 40, 90)), tables=dice.random() < 0.5)))


def change_plain(raw: Any, dice: random.Random, *, times: int) -> Any:
    """Plain data with some of its places changed."""
    changed = copy.deepcopy(raw)
    for _ in range(times):
        _change_once(changed, dice)
    return changed


def _change_once(raw: Any, dice: random.Random) -> None:
    table = _some_container(raw, dice)
    places: list[Any] = list(table) if isinstance(table, dict) else list(range(len(table)))
    if not places or dice.random() < 0.15:
        if isinstance(table, dict):
            table[dice.choice(KEYS)] = value_from(dice)
        else:
            table.append(value_from(dice))
        return
    place, what = dice.choice(places), dice.randrange(8)
    if what == 0:
        del table[place]
    elif what == 1 and isinstance(table, dict):
        table[_misspelt(str(place), dice)] = table.pop(place)
    elif what == 2:
        table[place] = [table[place]] * dice.choice((1, 2, 50))
    elif what == 3:
        table[place] = {dice.choice(KEYS): table[place]}
    elif what == 4:
        other = _some_container(raw, dice)
        table[place] = copy.deepcopy(other)
    elif what == 5 and isinstance(table[place], str):
        table[place] = _misspelt(table[place], dice)
    else:
        table[place] = value_from(dice)


def _some_container(raw: Any, dice: random.Random) -> Any:
    found, waiting = [], [raw]
    while waiting and len(found) < 2000:
        each = waiting.pop()
        if isinstance(each, dict | list):
            found.append(each)
            waiting += each.values() if isinstance(each, dict) else each
    return dice.choice(found)


def _misspelt(word: str, dice: random.Random) -> str:
    if not word:
        return "x"
    at = dice.randrange(len(word))
    return dice.choice((word[:at] + word[at + 1 :], word[:at] + "x" + word[at:], word.upper(), word + word, word + "."))


def as_toml(raw: dict[str, Any], dice: random.Random) -> str:
    """TOML text of plain data; whatever TOML has no word for stands as it is."""
    lines = []
    headers = dice.random() < 0.7
    plain = {key: value for key, value in raw.items() if not (headers and isinstance(value, dict))}
    lines += [f"{_key(key)} = {_inline(value)}" for key, value in plain.items()]
    for key, value in raw.items():
        if key not in plain:
            lines += [f"[{_key(key)}]", *(f"{_key(below)} = {_inline(each)}" for below, each in value.items())]
    return "\n".join(lines) + "\n"


def _key(key: object) -> str:
    text = str(key)
    plain = text.isascii() and text.replace("_", "").replace("-", "").isalnum()
    return text if plain else json.dumps(text, ensure_ascii=False)


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return "null" if value is None else repr(value)


_LUMPS: tuple[Callable[[random.Random], str], ...] = (
    lambda dice: "a." * dice.choice((30, 40, 50_000)) + "a = 1\n",
    lambda dice: "[" + "t." * dice.choice((30, 40, 50_000)) + "t]\n",
    lambda dice: "x = " + "[" * dice.choice((30, 40, 5000, 100_000)) + "\n",
    lambda dice: "x = " + "{a = " * dice.choice((30, 40, 5000)) + "1" + "}" * dice.choice((30, 40, 5000)) + "\n",
    lambda dice: "x = " + "9" * dice.choice((30, 4000, 5000, 100_000)) + "\n",
    lambda dice: "x = 0x" + "f" * dice.choice((16, 17, 100_000)) + "\n",
    lambda dice: "x = 1e" + "9" * dice.choice((2, 5, 5000)) + "\n",
    lambda dice: 'x = "' + "\\" * dice.choice((1, 99, 100_000)) + '"\n',
    lambda dice: 'x = """' + '"\\' * dice.choice((1, 99, 100_000)) + "\n",
    lambda dice: "x = '''" + "''" * dice.choice((1, 99, 50_000)) + "\n",
    lambda dice: "# " + "c" * dice.choice((10, 2_000_000)) + "\n",
    lambda dice: "[[a]]\n" * dice.choice((2, 20_000)),
    lambda dice: "".join(f"k{number} = 1\n" for number in range(dice.choice((2, 20_000)))),
    lambda dice: "a = 1979-05-27T07:32:00Z\nb = 25:61:00\n",
    lambda dice: "\ufeff",
    lambda dice: "\x00",
    lambda dice: '"\\ud800" = "\\udfff"\n',
    lambda dice: 'x = "\\u0000"\n',
    lambda dice: "\r",
    lambda dice: "x = inf\ny = nan\n",
)  # fmt: skip


def change_text(text: str, dice: random.Random) -> bytes:
    """Text with lumps that are hard on parsers, and bytes of it damaged."""
    for _ in range(dice.choice((0, 1, 1, 2))):
        at = dice.randrange(len(text) + 1)
        at = text.rfind("\n", 0, at) + 1 if dice.random() < 0.8 else at
        text = text[:at] + dice.choice(_LUMPS)(dice) + text[at:]
    content = text.encode("utf-8", errors="surrogatepass")
    return change_bytes(content, dice) if dice.random() < 0.4 else content


def change_bytes(content: bytes, dice: random.Random) -> bytes:
    """Bytes with bits turned, blocks zeroed, cut, doubled, moved or put in."""
    damaged = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        if not damaged:
            return b""
        at, length = dice.randrange(len(damaged)), dice.choice((1, 2, 4, 8, 64, 512))
        what = dice.randrange(8)
        if what < 3:
            damaged[at] ^= 1 << dice.randrange(8)
        elif what == 3:
            damaged[at : at + length] = dice.choice((b"\0", b"\xff")) * len(damaged[at : at + length])
        elif what == 4:
            damaged[at : at + length] = dice.randbytes(length)
        elif what == 5:
            del damaged[at : at + length]
        elif what == 6:
            damaged[at:at] = damaged[at : at + length]
        else:
            del damaged[at if dice.random() < 0.5 else len(damaged) * 9 // 10 :]
    return bytes(damaged)


def change_json(content: bytes, dice: random.Random) -> bytes:
    """JSON with its values changed, or its text."""
    if dice.random() < 0.2:
        return change_bytes(content, dice)
    if dice.random() < 0.1:
        lump = dice.choice(
            ("[" * 100_000, '{"a":' * 5000, "9" * 5000, '"\\ud800"', "NaN", "1e999", "\ufeff{}", '{"a": 1}' * 2)
        )
        return lump.encode()
    return json.dumps(change_plain(json.loads(content), dice, times=dice.choice((1, 1, 1, 2, 5)))).encode()
