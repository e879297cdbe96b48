"""What could be trained but not kept is refused before anything is spent."""

from __future__ import annotations

import pytest

from compressor.data.open import open_dataset
from compressor.errors import ModelError
from compressor.models import load
from compressor.models.combined import combine
from compressor.recipe import DataSettings
from compressor.training.produce import require_keepable

CLASSES = tuple("0123456789")


def test_several_networks_that_answer_as_one_are_not_changed_as_one():
    members = [load.load("zoo:resnet8", num_classes=10, sample_shape=(1, 8, 8)) for _ in range(2)]
    both = combine(members, kind="ensemble", options={}, known=[CLASSES, CLASSES], classes=CLASSES)

    with pytest.raises(ModelError, match=r"ensemble of 2 can teach but not be changed.*distil it into one student"):
        require_keepable(both, open_dataset(DataSettings(source="digits")))


def test_a_network_of_its_own_is_kept():
    require_keepable(
        load.load("zoo:resnet8", num_classes=10, sample_shape=(1, 8, 8)), open_dataset(DataSettings(source="digits"))
    )
