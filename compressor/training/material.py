"""What a network is trained on."""

from __future__ import annotations

from dataclasses import dataclass

from compressor.artifact import Decision
from compressor.data.samples import Dataset
from compressor.recipe import DataSettings
from compressor.tasks._contract import Task
from compressor.views._compose import Views, resolve


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

    def views(self) -> tuple[Views, tuple[Decision, ...]]:
        """The views that are shown, and what was chosen of them; see `views._compose.resolve`."""
        return resolve(self.data.views, inputs=self.dataset.inputs, targets=self.dataset.targets)


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
