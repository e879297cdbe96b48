"""From `[data]` settings to a data set whose splits are settled and checked."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from compressor import console
from compressor.artifact import Decision
from compressor.data import source as sources
from compressor.data import unlabelled
from compressor.data.samples import Dataset, Samples, Splits, SubsetSamples, class_numbers, content_hashes, is_one_class
from compressor.errors import DataError
from compressor.inputs._contract import only_kind
from compressor.recipe import DataSettings
from compressor.tensors import MEMBERS

LEFT_OUT = "samples left out"
"""What the decision is called that names samples which cannot be read."""

SEEN_IN_TRAINING = "pictures that are in training as well"
"""What the decision is called that counts them."""

# One stream of random numbers for each split, so that the one does not follow from the other.
_TEST_STREAM, _VAL_STREAM = 0, 1


def open_dataset(settings: DataSettings) -> Dataset:
    """Read a data set, set apart what it lacks, and check it.

    A set without a test split gives `test_share` of its training samples to it; then, without a validation split,
    `val_share` of what is left. Both are drawn by `split_seed` from the samples that have a label, stratified by it where
    that is one class, else at random. Then samples without labels are put behind the training samples, or their labels are
    hidden, where that is asked for.

    Raises:
        UnknownNameError: No such format.
        RecipeError: Options the format does not take.
        DataError: The place does not exist, too much is unreadable, or the content does not fit together.
    """
    splits = sources.read(settings.source, settings.options)
    decisions = [*splits.decisions, *_judge_unreadable(splits, settings, source=settings.source)]
    _check_splits(splits, settings)
    digest = hashlib.sha256(splits.fingerprint.encode())
    train, val, test = splits.train, splits.val, splits.test
    if test is None:
        train, test, positions = _set_apart(train, settings, share=settings.test_share, stream=_TEST_STREAM)
        digest.update(b"test" + positions.tobytes())
        how = _how_drawn(splits)
        decisions.append(_split_decision("test", positions, splits.train, settings.test_share, settings, how=how))
    of_test = digest.hexdigest()
    if val is None and settings.val_share == 0:
        decisions.append(Decision("val split", "none", "the set has none of its own and data.val_share is 0"))
    elif val is None and not train.labelled.any():
        decisions.append(
            Decision("val split", "none", "the set has none of its own, and no training sample has a label")
        )
    elif val is None:
        whole = train
        train, val, positions = _set_apart(whole, settings, share=settings.val_share, stream=_VAL_STREAM)
        digest.update(b"val" + positions.tobytes())
        how = _how_drawn(splits)
        decisions.append(_split_decision("val", positions, whole, settings.val_share, settings, how=how))
    if settings.unlabelled is not None:
        train, added, why_added = unlabelled.append(train, settings)
        digest.update(b"unlabelled" + added.fingerprint.encode())
        decisions += [*why_added, *_judge_unreadable(added, settings, source=settings.unlabelled)]
    if not settings.labels:
        train = unlabelled.without_labels(train)
        digest.update(b"no labels")
        decisions.append(Decision("labels of the training samples", "hidden", "data.labels is false"))
    decisions += _absent_classes(train, splits, where=settings.source)
    decisions += _seen_in_training(train, val, test)
    return Dataset(
        source=settings.source,
        classes=splits.classes,
        train=train,
        val=val,
        test=test,
        fingerprint=digest.hexdigest(),
        test_fingerprint=of_test,
        decisions=tuple(decisions),
        files=splits.files,
        vocabulary=splits.vocabulary,
    )


def stratified_positions(labels: NDArray[np.int64], *, share: float, seed: int, stream: int) -> NDArray[np.int64]:
    """Positions of a seeded draw of `share` of the samples, each label in proportion, at least one of each left behind.

    What rounding leaves over goes to the labels with the largest remainders, ties in seeded order, so that the draw
    as a whole has the wanted size even when labels are rare. At least one sample is drawn where any label has two.

    Args:
        labels: `[N]`.
        share: In 0–1.
        seed: Of the draw.
        stream: Tells draws with one seed apart.

    Returns:
        Sorted positions `[M]`.
    """
    generator = np.random.default_rng([seed, stream])
    values, counts = np.unique(labels, return_counts=True)
    quotas = share * counts
    wanted = np.floor(quotas).astype(np.int64)
    left_over = max(1, round(share * len(labels))) - int(wanted.sum())
    ties = generator.permutation(len(values))
    by_remainder = ties[np.argsort(-(quotas - wanted)[ties], kind="stable")]
    by_remainder = by_remainder[wanted[by_remainder] < counts[by_remainder] - 1]
    wanted[by_remainder[: max(0, left_over)]] += 1
    wanted = np.minimum(wanted, counts - 1)
    drawn = [
        generator.permutation(np.flatnonzero(labels == value))[:number]
        for value, number in zip(values, wanted, strict=True)
    ]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def positions_with_classes_left(
    members_NK: NDArray[np.bool_], *, share: float, seed: int, stream: int
) -> NDArray[np.int64]:
    """Positions of a seeded draw of `share` of the samples at random, at least one sample of each class left behind.

    Args:
        members_NK: `[N, K]`, whether the sample has the class.
        share: In 0–1.
        seed: Of the draw.
        stream: Tells draws with one seed apart.

    Returns:
        Sorted positions `[M]`.
    """
    left_K = members_NK.sum(axis=0)
    wanted = min(max(1, round(share * len(members_NK))), len(members_NK) - 1)
    drawn: list[int] = []
    for position in np.random.default_rng([seed, stream]).permutation(len(members_NK)).tolist():
        if len(drawn) == wanted:
            break
        if (left_K[members_NK[position]] > 1).all():
            left_K -= members_NK[position]
            drawn.append(position)
    return np.sort(np.array(drawn, np.int64))


def _how_drawn(splits: Splits) -> str:
    return "by label" if is_one_class(splits.train.targets) else "at random"


def _judge_unreadable(splits: Splits, settings: DataSettings, *, source: str) -> list[Decision]:
    if not splits.unreadable:
        return []
    read = sum(len(samples) for samples in (splits.train, splits.val, splits.test) if samples is not None)
    num_unreadable = len(splits.unreadable)
    num_samples, what = read + num_unreadable, "samples"
    if splits.looked_at is not None:
        num_samples, what = splits.looked_at, "samples looked at"
    share = num_unreadable / num_samples
    if share > settings.max_unreadable:
        first = console.first_few(splits.unreadable, 5)
        raise DataError(
            f"{num_unreadable} of {num_samples} {what} cannot be read ({share:.1%}): {first}",
            where=source,
            hint=f"mend or remove them, or raise data.max_unreadable (now {settings.max_unreadable})",
        )
    reason = f"{share:.2%} of {num_samples} {what} cannot be read, up to {settings.max_unreadable:.2%} is allowed"
    return [Decision(LEFT_OUT, ", ".join(splits.unreadable), f"{reason} (data.max_unreadable)")]


def _check_splits(splits: Splits, settings: DataSettings) -> None:
    for name, samples in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        if samples is None:
            continue
        if len(samples) == 0:
            raise DataError(f"the {name} split holds no samples", where=settings.source)
        if [each.shape for each in samples.inputs] != [each.shape for each in splits.train.inputs]:
            told = f"{name} samples are {samples.inputs}, train samples {splits.train.inputs}"
            raise DataError(told, where=settings.source)
        if not is_one_class(samples.targets):
            if name != "train" and not samples.labelled.all():
                message = f"{name} has samples without a target"
                raise DataError(message, where=settings.source, hint="a training sample alone may have NaN for one")
            continue
        labels = class_numbers(samples)
        low, high = int(labels.min()), int(labels.max())
        lowest = -1 if name == "train" else 0  # a training sample may have no label
        if low < lowest or high >= len(splits.classes):
            raise DataError(
                f"{name} labels run from {low} to {high}, but there are {len(splits.classes)} classes",
                where=settings.source,
                hint=f"labels are positions in the classes, 0 to {len(splits.classes) - 1}"
                + (", or -1 for a sample that has none" if name == "train" else ""),
            )


def _set_apart(
    samples: Samples, settings: DataSettings, *, share: float, stream: int
) -> tuple[Samples, Samples, NDArray[np.int64]]:
    """What stays, what was set apart, and the positions of the latter."""
    labelled = np.flatnonzero(samples.labelled)
    if not len(labelled):
        raise DataError("no training sample has a label, so no test set can be set apart", where=settings.source)
    if MEMBERS in samples.targets:
        members = samples.fetch_targets(labelled)[MEMBERS]
        drawn = positions_with_classes_left(members, share=share, seed=settings.split_seed, stream=stream)
    else:
        one_class = is_one_class(samples.targets)  # what is no class of the whole sample is drawn at random
        strata = class_numbers(samples)[labelled] if one_class else np.zeros(len(labelled), np.int64)
        drawn = stratified_positions(strata, share=share, seed=settings.split_seed, stream=stream)
    held = labelled[drawn]
    if len(held) == 0:
        raise DataError(
            f"no sample can be set apart from {len(samples)}, one for each label",
            where=settings.source,
            hint="give at least two samples of a class",
        )
    rest = np.setdiff1d(np.arange(len(samples), dtype=np.int64), held)
    return SubsetSamples(samples, rest), SubsetSamples(samples, held), held


def _split_decision(
    name: str, held: NDArray[np.int64], whole: Samples, share: float, settings: DataSettings, *, how: str
) -> Decision:
    return Decision(
        f"{name} split",
        f"{len(held)} of {len(whole)} training samples",
        f"the set has none of its own; data.{name}_share is {share}, {how}, data.split_seed {settings.split_seed}",
    )


def _seen_in_training(train: Samples, val: Samples | None, test: Samples) -> list[Decision]:
    """How many pictures of the other splits are among the training samples, byte for byte.

    Rows of a table are not compared: few categories make equal rows of different things.
    """
    known = content_hashes(train) if only_kind(train.inputs).same_means_same else None
    if known is None:
        return []
    counts = []
    for name, samples in (("test", test), ("validation", val)):
        own = None if samples is None else content_hashes(samples)
        same = 0 if own is None else int(np.isin(own, known).sum())
        if own is not None and same:
            counts.append(f"{same} of {len(own)} {name} samples")
    if not counts:
        return []
    reason = (
        "a network has learned those by heart, so that what it scores may be too good; remove them from one of both"
    )
    return [Decision(SEEN_IN_TRAINING, ", ".join(counts), reason)]


def _absent_classes(train: Samples, splits: Splits, *, where: str) -> list[Decision]:
    """Classes without a labelled training sample: an error, unless samples without labels may be of them."""
    known = np.flatnonzero(train.labelled)
    if MEMBERS in train.targets:
        counts = train.fetch_targets(known)[MEMBERS].sum(axis=0)
    elif is_one_class(train.targets):
        counts = np.bincount(class_numbers(train)[known], minlength=len(splits.classes))
    else:
        return []
    absent = [name for name, count in zip(splits.classes, counts, strict=True) if count == 0]
    if not absent or not len(known):
        return []
    shown = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
    if len(known) < len(train):
        reason = "samples without labels may be of them, as far as the teacher says so"
        return [Decision("classes without a label", shown, reason)]
    hint = "add samples of each class or drop the class; numbers to be told (regression) are given as floats"
    raise DataError(f"no training sample of {shown}", where=where, hint=hint)
