"""What is decided before specialists are trained: how many at once, how many clusters there can be, what they are told."""

from __future__ import annotations

import pytest
import torch

from compressor.errors import InputError
from compressor.measure import machine
from compressor.recipe import SpecialistSettings
from compressor.stages import specialists


@pytest.mark.parametrize(
    ("processes", "cores", "count", "expected"),
    [("auto", 8, 3, (3, 2)), ("auto", 2, 3, (2, 1)), ("auto", 1, 3, (1, 1)), (2, 8, 3, (2, 4)), (9, 4, 3, (3, 1))],
)
def test_specialists_share_the_cores(monkeypatch, processes, cores, count, expected):
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    at_once, threads, why = specialists._shares(SpecialistSettings(processes=processes, device="cpu"), count)

    assert (at_once, threads) == expected
    assert why.choice == str(at_once)


def test_threads_stay_within_what_the_user_allows(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    assert specialists._shares(SpecialistSettings(device="cpu"), 3)[:2] == (3, 1)


def test_each_has_a_gpu_of_its_own_where_there_are_several(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    devices = [specialists._on_its_device(SpecialistSettings(), number).device for number in (1, 2, 3)]

    assert devices == ["cuda:0", "cuda:1", "cuda:0"]
    assert specialists._on_its_device(SpecialistSettings(device="cpu"), 1).device == "cpu"


@pytest.mark.parametrize(
    ("num_classes", "count", "message"),
    [
        (3, 2, "3 classes are too few for specialists"),
        (10, 6, "6 clusters of 10 classes leave fewer than two for each"),
    ],
)
def test_more_clusters_than_there_can_be_are_refused(num_classes, count, message):
    with pytest.raises(InputError, match=message):
        specialists.require_enough_classes(num_classes, count=count)


def test_the_generalists_word_is_what_it_says_of_the_classes_and_of_all_others_together():
    logits_BK = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))

    told = specialists._OfCluster(torch.nn.Identity(), (4, 1), oversampled=1.0)(logits_BK).softmax(dim=1)

    p_BK = logits_BK.softmax(dim=1)
    torch.testing.assert_close(told[:, :2], p_BK[:, [4, 1]])
    torch.testing.assert_close(told[:, 2], p_BK[:, [0, 2, 3, 5]].sum(dim=1))
