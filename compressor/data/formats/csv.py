"""Tables of texts and labels: a file, or a folder with one for each split."""

from __future__ import annotations

from collections.abc import Iterator
from csv import QUOTE_NONE, Error, reader
from pathlib import Path

from compressor.artifact import Decision
from compressor.data.formats._texts import Rows, split_named, splits_of_texts
from compressor.data.samples import FILES_LEFT_OUT, Splits
from compressor.errors import DataError

_SUFFIXES = (".csv", ".tsv")


def csv(
    path: Path,
    *,
    text: str = "text",
    label: str = "label",
    tokenizer: str = "",
    max_length: int = 128,
    token_types: bool = False,
    encoding: str = "utf-8-sig",
    labels: bool = True,
) -> Splits:
    """Texts with a class each, in a .csv or .tsv file with a header, or a folder with train, val and test.

    Args:
        path: The file or folder; in a .tsv a quotation mark is a character like any other.
        text: name of the column that holds the texts
        label: name of the column that holds the classes, by name or number; -1 for a row without one
        tokenizer: its file, a folder that holds tokenizer.json, or a name on the hub; a transformers: model brings its own
        max_length: tokens that are kept of a text
        token_types: whether samples hold token_type_ids, for networks that need them
        encoding: of the files
        labels: with false, no label is read, and no sample has one

    Raises:
        DataError: A missing column, an empty text, an unknown label; no tokenizer; not a table.
        MissingExtraError: `tokenizers` is not installed.
    """
    files, left_out = _files(path)
    columns = (text, label) if labels else (text,)
    rows = {split: _read(file, columns, encoding=encoding) for split, file in files.items()}
    decisions: tuple[Decision, ...] = ()
    if left_out:
        reason = "files are called train, val (or dev) and test, .csv or .tsv"
        decisions = (Decision(FILES_LEFT_OUT, ", ".join(left_out), reason),)
    return splits_of_texts(
        rows,
        tokenizer=tokenizer,
        max_length=max_length,
        token_types=token_types,
        where=str(path),
        decisions=decisions,
    )


def _files(path: Path) -> tuple[dict[str, Path], list[str]]:
    """The file of each split, and what else lies there that could be one."""
    if path.is_file():
        return {"train": path}, []
    found: dict[str, Path] = {}
    others = []
    for file in sorted(path.iterdir()):
        split = split_named(file.stem) if file.suffix.lower() in _SUFFIXES else None
        if split is not None and split in found:
            raise DataError(f"{found[split].name} and {file.name} are both the {split} split", where=str(path))
        if split is not None:
            found[split] = file
        elif file.suffix.lower() in _SUFFIXES:
            others.append(file.name)
    if "train" not in found:
        held = ", ".join(others[:5]) or "none of them"
        hint = "name the files train, val and test, .csv or .tsv, or name one file"
        raise DataError(f"the folder has no train.csv or train.tsv; it holds {held}", where=str(path), hint=hint)
    return found, others


def _read(file: Path, columns: tuple[str, ...], *, encoding: str) -> Rows:
    found: list[tuple[str, ...]] = []
    lines = _lines(file, encoding=encoding)
    header = next(lines, [])
    missing = [name for name in columns if name not in header]
    if missing:
        option = "text" if missing[0] == columns[0] else "label"
        raise DataError(
            f"{file.name} has no column '{missing[0]}'; it has {', '.join(header) or 'none'}",
            where=str(file),
            hint=f"--set data.options.{option}=NAME names it; the first line is the header",
        )
    places = [header.index(name) for name in columns]
    for number, line in enumerate(lines, start=2):
        if line and len(line) != len(header):
            message = f"row {number} of {file.name} has {len(line)} columns, the header {len(header)}"
            raise DataError(message, where=str(file), hint="quote a text that holds the separator")
        if line:
            found.append(tuple(line[place] for place in places))
    labels = [row[1].strip() for row in found] if len(columns) > 1 else []
    unnamed = next((number for number, label in enumerate(labels, start=2) if not label), None)
    if unnamed is not None:
        raise DataError(f"row {unnamed} of {file.name} has no label", where=str(file), hint="write -1 for none")
    if not found:
        raise DataError(f"{file.name} has no rows", where=str(file))
    return Rows([row[0] for row in found], labels, file.name, first=2)


def _lines(file: Path, *, encoding: str) -> Iterator[list[str]]:
    is_tsv = file.suffix.lower() == ".tsv"
    try:
        with file.open(encoding=encoding, newline="") as stream:
            if is_tsv:
                yield from reader(stream, delimiter="\t", quoting=QUOTE_NONE)
            else:
                yield from reader(stream)
    except LookupError as fault:
        raise DataError(f"there is no encoding '{encoding}'", where="data.options.encoding") from fault
    except (OSError, ValueError, Error) as fault:
        hint = "another encoding is data.options.encoding (latin-1, say)"
        raise DataError(f"cannot be read as a table: {fault}", where=str(file), hint=hint) from fault
