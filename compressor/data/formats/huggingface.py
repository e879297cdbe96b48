"""Sets of Hugging Face `datasets`: from the hub, a folder that it saved, Parquet, CSV or JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compressor.artifact import Decision
from compressor.data.formats._texts import NO_LABEL, Rows, require, split_named, splits_of_texts
from compressor.data.samples import Splits
from compressor.errors import FOREIGN_FAULTS, DataError

_READERS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json"}
_SAVED = ("dataset_dict.json", "state.json")


def huggingface(
    target: str,
    *,
    config: str = "",
    text: str = "text",
    label: str = "label",
    tokenizer: str = "",
    max_length: int = 128,
    token_types: bool = False,
    labels: bool = True,
) -> Splits:
    """Texts with a class each by datasets: a name on the hub, a saved folder, Parquet, CSV or JSON lines.

    Args:
        target: A name on the hub (`glue`), a folder of `save_to_disk`, a file, or a folder of files named after splits.
        config: part of a set on the hub that has several (sst2 of glue)
        text: name of the column that holds the texts
        label: name of the column that holds the classes; -1 for a row without one
        tokenizer: its file, a folder that holds tokenizer.json, or a name on the hub; a transformers: model brings its own
        max_length: tokens that are kept of a text
        token_types: whether samples hold token_type_ids, for networks that need them
        labels: with false, no label is read, and no sample has one

    Raises:
        DataError: Nothing of that name; a missing column, an empty text, an unknown label; no tokenizer.
        MissingExtraError: `datasets` or `tokenizers` is not installed.
    """
    require("datasets", "huggingface")
    parts, classes, decisions = _parts(target, config), None, []
    rows = {}
    for name, part in parts.items():
        split = split_named(name)
        if split is None:
            decisions.append(Decision("splits left out", name, "splits are called train, validation and test"))
            continue
        found = _rows(part, name, text=text, label=label if labels else None, where=target)
        if split != "train" and labels and all(each == NO_LABEL for each in found.labels):
            decisions.append(Decision("splits left out", name, "none of its samples has a label"))
            continue
        rows[split] = found
        names = getattr(part.features.get(label), "names", None) if labels else None
        classes = tuple(names) if names and split == "train" else classes
    return splits_of_texts(
        rows,
        tokenizer=tokenizer,
        max_length=max_length,
        token_types=token_types,
        where=target,
        classes=classes,
        decisions=tuple(decisions),
    )


def _parts(target: str, config: str) -> dict[str, Any]:
    """The parts of a set by name; a set that has none is for training."""
    import datasets

    path = Path(target).expanduser()
    try:
        if path.is_dir() and any((path / name).is_file() for name in _SAVED):
            read = datasets.load_from_disk(str(path))
        elif path.exists():
            read = _of_files(path)
        else:
            read = datasets.load_dataset(target, *([config] if config else []))
    except DataError:
        raise
    except (*FOREIGN_FAULTS, EOFError) as fault:
        first = str(fault).strip().split("\n")[0]
        hint = "write huggingface:NAME (of the hub), a folder of save_to_disk, or .parquet, .csv, .jsonl files"
        raise DataError(f"datasets cannot read it: {first}", where=target, hint=hint) from fault
    return dict(read) if isinstance(read, dict) else {"train": read}


def _of_files(path: Path) -> Any:
    import datasets

    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    known = [file for file in files if file.suffix.lower() in _READERS and file.is_file()]
    forms = {_READERS[file.suffix.lower()] for file in known}
    if len(forms) != 1:
        message = "it holds " + (" and ".join(sorted(forms)) if forms else "no Parquet, CSV or JSON lines")
        raise DataError(message, where=str(path), hint="give files of one form")
    by_split: dict[str, list[str]] = {}
    for file in known:
        # `train-00000-of-00002.parquet`, as the hub names them; a lone file is for training.
        split = split_named(file.stem.partition("-")[0]) or split_named(file.parent.name)
        if split is None and len(known) > 1:
            continue
        by_split.setdefault(split or "train", []).append(str(file))
    separator = {"sep": "\t"} if known[0].suffix.lower() == ".tsv" else {}
    return datasets.load_dataset(forms.pop(), data_files=by_split, **separator)


def _rows(part: Any, name: str, *, text: str, label: str | None, where: str) -> Rows:
    for option, column in (("text", text), ("label", label)):
        if column is not None and column not in part.column_names:
            raise DataError(
                f"{name} has no column '{column}'; it has {', '.join(part.column_names)}",
                where=where,
                hint=f"--set data.options.{option}=NAME names it",
            )
    texts = part[text]
    wrong = next((position for position, each in enumerate(texts) if not isinstance(each, str)), None)
    if wrong is not None:
        message = f"row {wrong} of {name} has {type(texts[wrong]).__name__} where a text should be"
        raise DataError(message, where=where, hint="name the column of the texts: data.options.text")
    if label is None:
        return Rows(list(texts), [], name)
    names = getattr(part.features[label], "names", None)
    numbers = part[label]
    labels = [NO_LABEL if each in (None, -1) else names[each] if names else str(each) for each in numbers]
    return Rows(list(texts), labels, name)
