"""What a network is trained on."""

from __future__ import annotations

from dataclasses import dataclass

from compressor.data.samples import Dataset
from compressor.recipe import DataSettings
from compressor.tasks._contract import Task


@dataclass(frozen=True)
class Material:
    """Samples, how they are shown, and what outputs for them mean.

    Attributes:
        dataset: The samples, in their splits.
        data: Where they came from, and which views of them are shown.
        task: What outputs mean, with the label smoothing of the training.
    """

    dataset: Dataset
    data: DataSettings
    task: Task


class OnMaterial:
    """What works on one material all along, and names its parts as its own."""

    material: Material

    @property
    def dataset(self) -> Dataset:
        """The samples, in their splits."""
        return self.material.dataset

    @property
    def task(self) -> Task:
        """What outputs mean."""
        return self.material.task
