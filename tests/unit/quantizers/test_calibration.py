"""Calibration samples are a seeded part of the training set."""

from __future__ import annotations

import numpy as np

from compressor.quantizers._calibration import TrainingSamples


class Numbers:
    def __len__(self):
        return 100

    def fetch(self, positions):
        return {"numbers": positions.astype(np.float32)[:, None]}


def chosen(**options) -> list[float]:
    settings = {"number": 20, "seed": 0, "prepare": lambda inputs: inputs} | options
    samples = TrainingSamples(Numbers(), **settings)
    assert len(samples) == sum(len(batch["numbers"]) for batch in samples.batches())
    return [float(value) for batch in samples.batches() for value in batch["numbers"][:, 0]]


def test_the_same_seed_chooses_the_same_samples():
    assert chosen(seed=1) == chosen(seed=1)
    assert chosen(seed=1) != chosen(seed=2)


def test_no_sample_is_taken_twice_and_no_more_than_there_are():
    assert len(set(chosen())) == 20
    assert sorted(chosen(number=500)) == [float(number) for number in range(100)]


def test_those_that_check_are_not_those_that_calibrated():
    assert not set(chosen(number=30)) & set(chosen(number=30, skip=30))


def test_samples_are_prepared_as_the_model_takes_them():
    assert max(chosen(prepare=lambda inputs: {name: array / 100 for name, array in inputs.items()})) < 1.0


def test_a_model_of_one_batch_size_gets_whole_batches_alone():
    assert len(chosen(number=20, fixed_batch=8)) == 16
    assert len(set(chosen(number=20, fixed_batch=8))) == 16
    repeated = chosen(number=3, fixed_batch=8)
    assert len(repeated) == 8
    assert len(set(repeated)) == 3
