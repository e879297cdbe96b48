"""Texts with labels to splits of tokens: what `csv` and `huggingface` share."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.artifact import Decision
from compressor.data.arrays import fingerprint
from compressor.data.samples import Splits, TargetTable
from compressor.data.token_samples import TokenSamples
from compressor.errors import FOREIGN_FAULTS, DataError, MissingExtraError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
"""The file that holds a tokenizer, as `save_pretrained` writes it."""
CUT = "texts cut"
"""What the decision is called that counts texts longer than `max_length`."""
SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What the splits are called that a set comes in."""
NO_LABEL = "-1"
"""The label of a sample that has none, in sets of which one part is kept secret."""
_PADDING = ("[PAD]", "<pad>", "<|padding|>", "<|endoftext|>")


@dataclass(frozen=True)
class Rows:
    """The rows of one split.

    Attributes:
        texts: One for each.
        labels: Names of classes; empty where none are read.
        named: What each row is called in an error text, given its position.
    """

    texts: Sequence[str]
    labels: Sequence[str]
    named: str
    first: int = 0

    def row(self, position: int) -> str:
        """What a row is called in an error text."""
        return f"row {position + self.first} of {self.named}"


def require(package: str, extra: str) -> None:
    """Refuse to go on without an optional package.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec(package) is None:
        hint = f"pip install 'compressor[{extra}]' (or: pip install {package})"
        raise MissingExtraError(f"'{package}' is not installed", where="data.source", hint=hint)


def splits_of_texts(
    rows: Mapping[str, Rows],
    *,
    tokenizer: str,
    max_length: int,
    token_types: bool,
    where: str,
    classes: Sequence[str] | None = None,
    decisions: tuple[Decision, ...] = (),
) -> Splits:
    """Splits of tokens, with classes by their names.

    Args:
        rows: Of each split.
        tokenizer: Where it lies: its file, a folder that holds it, or a name on the hub.
        max_length: Tokens that are kept of a text.
        token_types: Whether samples tell which part a token belongs to.
        where: What the texts came from, for the error text.
        classes: Their names, where the set says them; else those of the training rows, in order.
        decisions: What was chosen before.

    Raises:
        DataError: No training rows, an empty text, a label that no training row has, no tokenizer.
        MissingExtraError: `tokenizers` is not installed.
    """
    if "train" not in rows:
        raise DataError(f"there is no training split; there is {', '.join(rows) or 'nothing'}", where=where)
    if max_length < 2:
        raise DataError(f"max_length is {max_length}", where="data.options.max_length", hint="write 2 or more")
    for each in rows.values():
        _refuse_empty(each, where=where)
    known = tuple(classes) if classes is not None else _classes(rows["train"].labels)
    tables = {split: _table(each, known, where=where) for split, each in rows.items()}
    file = tokenizer_file(tokenizer)
    reader = read_tokenizer(file)
    reader.no_padding()
    reader.enable_truncation(max_length)
    samples, cut, total = {}, 0, 0
    for split, each in rows.items():
        found = reader.encode_batch(list(each.texts))
        cut += sum(bool(one.overflowing) for one in found)
        total += len(found)
        samples[split] = TokenSamples(
            [one.ids for one in found],
            tables[split],
            texts=list(each.texts),
            padding=_padding(reader),
            types=[one.type_ids for one in found] if token_types else None,
        )
    arrays = {f"{split}/{name}": array for split, each in samples.items() for name, array in each.flat().items()} | {
        f"{split}/y": np.where(t.labelled, t.arrays["label"], -1) for split, t in tables.items()
    }
    size = reader.get_vocab_size()
    why = f"it knows {size} tokens; texts are read by it here, and it travels with what is made from them"
    chosen = [*decisions, Decision("tokenizer", str(file), why)]
    if cut:
        reason = f"they have more than {max_length} tokens (data.options.max_length), and what is behind is not read"
        chosen.append(Decision(CUT, f"{cut} of {total}", reason))
    return Splits(
        classes=known,
        train=samples["train"],
        val=samples.get("val"),
        test=samples.get("test"),
        fingerprint=fingerprint(arrays, classes=known),
        decisions=tuple(chosen),
        files={TOKENIZER: file},
        vocabulary=size,
    )


def tokenizer_file(tokenizer: str) -> Path:
    """The file that a tokenizer lies in.

    Raises:
        DataError: None is named, or there is none.
    """
    hint = "write data.options.tokenizer = FOLDER (one that holds tokenizer.json), its file, or a name on the hub"
    if not tokenizer:
        raise DataError("texts need a tokenizer, and none is named", where="data.options.tokenizer", hint=hint)
    path = Path(tokenizer).expanduser()
    file = path / TOKENIZER if path.is_dir() else path
    if file.is_file():
        return file
    if path.is_dir() or path.suffix or not _is_hub_name(tokenizer):
        message = f"the folder holds no {TOKENIZER}" if path.is_dir() else "no such tokenizer"
        raise DataError(message, where=tokenizer, hint=hint)
    require("huggingface_hub", "text")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(tokenizer, TOKENIZER))
    except FOREIGN_FAULTS as fault:
        first = str(fault).strip().split("\n")[0]
        raise DataError(f"the tokenizer cannot be fetched: {first}", where=tokenizer, hint=hint) from fault


def read_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer in a file.

    Raises:
        DataError: It is none.
        MissingExtraError: `tokenizers` is not installed.
    """
    require("tokenizers", "text")
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(file))
    except Exception as fault:  # the library's own faults are plain Exceptions
        first = str(fault).strip().split("\n")[0]
        raise DataError(f"cannot be read as a tokenizer: {first}", where=str(file)) from fault


def split_named(stem: str) -> str | None:
    """The split that a file or a part of a set is called after; None for another name."""
    return next((split for split, names in SPLIT_NAMES.items() if stem.lower() in names), None)


def _is_hub_name(tokenizer: str) -> bool:
    parts = tokenizer.split("/")
    return len(parts) <= 2 and all(part and not part.startswith((".", "~")) for part in parts)


def _refuse_empty(rows: Rows, *, where: str) -> None:
    empty = next((position for position, text in enumerate(rows.texts) if not text.strip()), None)
    if empty is not None:
        raise DataError(f"{rows.row(empty)} has an empty text", where=where, hint="fill or remove it")


def _classes(labels: Sequence[str]) -> tuple[str, ...]:
    """Each label once: numbers by their size, names by the alphabet."""
    found = {label for label in labels if label != NO_LABEL}
    numbers = all(label.lstrip("-").isdecimal() for label in found)
    return tuple(sorted(found, key=int) if numbers else sorted(found))


def _table(rows: Rows, classes: Sequence[str], *, where: str) -> TargetTable:
    if not rows.labels:
        return TargetTable.of_labels(np.full(len(rows.texts), -1, np.int64))
    known: dict[str, Any] = {name: number for number, name in enumerate(classes)} | {NO_LABEL: -1}
    strange = next((position for position, label in enumerate(rows.labels) if label not in known), None)
    if strange is not None:
        named = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
        raise DataError(
            f"{rows.row(strange)} has the label '{rows.labels[strange]}', which is none of the training rows' ({named})",
            where=where,
            hint="give the class training rows, or mend the label",
        )
    return TargetTable.of_labels(np.array([known[label] for label in rows.labels], np.int64))


def _padding(tokenizer: Tokenizer) -> int:
    stated = (tokenizer.token_to_id(token) for token in _PADDING)
    return next((number for number in stated if number is not None), 0)
