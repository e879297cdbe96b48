"""Whether a model has learned anything: what is said of one that answers no better than the most common class would."""

from __future__ import annotations

from collections.abc import Sequence

from compressor.measure.record import Accuracy
from compressor.report import format as fmt
from compressor.scores import Metric

LOOK_AT = (
    "Look at the learning rate, the number of epochs and the normalization; of a network from elsewhere also at the order "
    "of its classes."
)


def at_chance(judged: Accuracy | None) -> bool:
    """Whether a model was held against the best constant answer and is not shown to be better; false where it was not."""
    return judged is not None and judged.majority is not None and not judged.majority.beaten


def sentence(models: Sequence[tuple[str, Accuracy | None]], *, metric: Metric) -> str:
    """What is to be said of models that are at chance, and where to look; empty where there are none.

    Args:
        models: Each as a sentence calls it (`the teacher`), with what it answered.
        metric: That accuracy is judged by.
    """
    said = [_of(name, judged, metric) for name, judged in models if judged is not None and at_chance(judged)]
    return " ".join([*said, LOOK_AT]) if said else ""


def _of(name: str, judged: Accuracy, metric: Metric) -> str:
    majority = judged.majority
    assert majority is not None, "what is at chance was held against a constant"
    value = judged.metrics.get(metric.name)
    better = value is not None and metric.gain(value - majority.metric) > 0
    how = "cannot be told from chance" if better else "is at chance"
    return (
        f"{name[:1].upper()}{name[1:]} {how}: {fmt.measured(metric, value)} {metric.words} on "
        f"{fmt.count(judged.samples)} {judged.split} samples, where always answering '{majority.answer}' reaches "
        f"{fmt.measured(metric, majority.metric)}."
    )
