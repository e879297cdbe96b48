"""Which input normalisation a network gets: stated, brought along, taken from the data, or found by measuring.

A checkpoint does not say what its pixels were normalised with, and the wrong guess costs points silently. So for a trained
network without a word about it, the common ones are tried on training samples and the most accurate is taken.
"""

from __future__ import annotations

import numpy as np

from compressor.artifact import Decision
from compressor.data.samples import Dataset, SubsetSamples
from compressor.data.statistics import channel_statistics
from compressor.errors import ModelError
from compressor.measure.accuracy import predict
from compressor.models import normalisation
from compressor.models.build import Loaded
from compressor.models.normalisation import Normalisation
from compressor.recipe import ModelSettings
from compressor.runtimes.torch import TorchEager
from compressor.tasks._contract import Task

_TRIED = ("imagenet", "half", "data", "none")
_MOST_SAMPLES = 1000


def settle(loaded: Loaded, settings: ModelSettings, *, dataset: Dataset, task: Task) -> tuple[Decision, ...]:
    """Give `loaded.network` its input normalisation, and say why that one when nobody stated it.

    Raises:
        ModelError: The stated one does not fit the data's channels.
    """
    channels = dataset.sample_shape[0]
    statistics = channel_statistics(dataset.train)
    wanted = settings.normalise
    if not isinstance(wanted, str):
        loaded.network.set_normalisation(normalisation.stated(wanted[0], wanted[1], channels=channels))
        return ()
    if wanted != "auto":
        loaded.network.set_normalisation(normalisation.named(wanted, channels=channels, statistics=statistics))
        return ()
    if loaded.network.normalisation.mean:
        return (_decided(loaded.network.normalisation, "it came with the artifact"),)
    if loaded.trained and loaded.pretrained is not None and len(loaded.pretrained.mean) == channels:
        loaded.network.set_normalisation(loaded.pretrained)
        return (_decided(loaded.pretrained, "the network's source states it"),)
    if loaded.trained:
        return (_measured(loaded, dataset=dataset, task=task, statistics=statistics),)
    chosen = normalisation.named("data", channels=channels, statistics=statistics)
    loaded.network.set_normalisation(chosen)
    return (_decided(chosen, "the statistics of the training set, since the network is trained here"),)


def _measured(
    loaded: Loaded, *, dataset: Dataset, task: Task, statistics: tuple[tuple[float, ...], tuple[float, ...]]
) -> Decision:
    channels = dataset.sample_shape[0]
    names = [name for name in _TRIED if name != "imagenet" or channels == 3] if dataset.is_image else ["none", "data"]
    spaced = np.linspace(0, len(dataset.train) - 1, min(_MOST_SAMPLES, len(dataset.train))).astype(np.int64)
    samples = SubsetSamples(dataset.train, np.unique(spaced))
    scores: dict[str, float] = {}
    for name in names:
        loaded.network.set_normalisation(normalisation.named(name, channels=channels, statistics=statistics))
        runtime = TorchEager.from_network(loaded.network)
        scores[name] = task.metrics(predict(runtime, samples), samples.labels)[task.primary]
    best = max(scores, key=lambda name: scores[name])
    chosen = normalisation.named(best, channels=channels, statistics=statistics)
    loaded.network.set_normalisation(chosen)
    chance = float(np.bincount(samples.labels).max() / len(samples))
    if scores[best] <= chance + 3 * (chance * (1 - chance) / len(samples)) ** 0.5:
        tried = ", ".join(f"{name} {100 * score:.1f} %" for name, score in scores.items())
        raise ModelError(
            f"the network knows next to nothing of this data under any common normalisation ({tried}; "
            f"the most frequent class alone gives {100 * chance:.1f} %)",
            where=loaded.origin,
            hint="are the classes the same and in the same order? else state it: normalise = [means, stds]",
        )
    told = ", ".join(f"{name} {100 * scores[name]:.1f} %" for name in names)
    return _decided(chosen, f"{task.primary} on {len(samples)} training samples: {told}")


def _decided(chosen: Normalisation, reason: str) -> Decision:
    return Decision("normalisation", str(chosen), reason)
