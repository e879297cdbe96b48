"""In which form a teacher's answers are kept: the most exact one that fits the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

from compressor.artifact import Decision
from compressor.teachers._codecs import candidates
from compressor.teachers._records import Form
from compressor.tensors import Schema, TensorSpec


def bytes_per_view(
    outputs: Schema, *, num_samples: int, exact: bool = False, longest: Mapping[str, int] | None = None
) -> int | None:
    """Disk that the answers to one view of every sample take, by which views are counted; None where none can be kept.

    Counted is the second form, which loses next to nothing: the 64 largest logits of many classes, maps of logits in 8 bits.
    Smaller ones are for views that are stated: what they lose (all that is left of the classes is flat above a temperature
    of 1, a stride blurs the edges of things) is more than another view is worth.
    """
    forms = list(islice(_forms(_at_longest(outputs, longest), exact=exact), 2))
    return num_samples * forms[-1].record_bytes if forms else None


def choose_form(
    outputs: Schema,
    *,
    num_samples: int,
    num_views: int,
    budget_bytes: int,
    exact: bool = False,
    longest: Mapping[str, int] | None = None,
) -> tuple[Form | None, Decision]:
    """The most exact form that fits the budget; None where nothing is kept.

    Rows of numbers are kept whatever the budget, in the smallest form where none fits: views that were stated are few
    bytes more. Maps are not.

    Args:
        outputs: Of the task.
        num_samples: Of the training set.
        num_views: Views of each sample.
        budget_bytes: Disk for all of them.
        exact: Whether answers are numbers in the unit of the data, which are all kept as they are.
        longest: Size of axes that vary in the longest sample; an output with another such axis is not kept.
    """
    varying = tuple((spec.name, spec.shape) for spec in outputs if spec.varying)
    outputs = _at_longest(outputs, longest)
    form, size, larger = None, 0, ""
    for form in _forms(outputs, exact=exact):
        size = num_samples * num_views * form.record_bytes
        if size <= budget_bytes:
            break
        larger = larger or f"; {form} would take {_size(size)}"
    if form is None:
        unfit = next(spec for spec in outputs if not candidates(spec, exact=exact))
        return None, Decision("teacher cache", "none", f"{unfit} has no size of its own that could be kept")
    form = replace(form, varying=varying)
    about = f"{num_views} view(s) of {num_samples} samples of {_told(outputs, exact=exact)} take {_size(size)}"
    budget = f"distill.cache_gb = {budget_bytes / 1e9:g}"
    if size <= budget_bytes:
        return form, Decision("teacher cache", str(form), f"{about}, which fits {budget}{larger}")
    if any(len(spec.shape) > 1 for spec in outputs):
        return None, Decision("teacher cache", "none", f"{about} as {form}, which is more than {budget}")
    return form, Decision("teacher cache", str(form), f"{about}, which is more than {budget}")


def _at_longest(outputs: Schema, longest: Mapping[str, int] | None) -> Schema:
    """Outputs as large as those of the longest sample, as far as that is known."""
    known = longest or {}
    return Schema(
        tuple(
            replace(spec, shape=tuple(known.get(axis, axis) if isinstance(axis, str) else axis for axis in spec.shape))
            for spec in outputs
        )
    )


def _forms(outputs: Schema, *, exact: bool) -> Iterator[Form]:
    """From the most exact to the smallest: step by step the output that takes most is written in its next codec."""
    left = {spec.name: candidates(spec, exact=exact) for spec in outputs}
    if not all(left.values()):
        return
    while True:
        yield Form(tuple((name, codecs[0]) for name, codecs in left.items()))
        shrinking = [name for name, codecs in left.items() if len(codecs) > 1]
        if not shrinking:
            return
        largest = max(shrinking, key=lambda name: left[name][0].size_bytes)
        left[largest] = left[largest][1:]


def _told(outputs: Schema, *, exact: bool) -> str:
    """What is kept of a sample, in words."""
    return " and ".join(_told_of(spec, exact=exact) for spec in outputs)


def _told_of(output: TensorSpec, *, exact: bool) -> str:
    if len(output.shape) == 1:
        return f"{output.shape[0]} {'numbers' if exact else 'classes'}"
    return f"{output.name} [{', '.join(map(str, output.shape))}]"


def _size(num_bytes: int) -> str:
    if num_bytes >= 1e8:
        return f"{num_bytes / 1e9:.2f} GB"
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.1f} kB"
