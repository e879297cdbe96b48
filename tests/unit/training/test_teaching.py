"""What a teacher's kept answers are found by: everything that could change one of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compressor import api
from compressor.artifact import Target
from compressor.data.open import open_dataset
from compressor.errors import InputError
from compressor.losses.kd import KD
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.recipe import DataSettings, DistillSettings, ModelSettings, ViewSettings
from compressor.tasks.classification import Classification
from compressor.teachers._cache import CachedTeacher
from compressor.teachers.same_class import SameClass
from compressor.training import precision
from compressor.training.engine import WeightedLoss
from compressor.training.material import Material
from compressor.training.produce import job_for
from compressor.training.start import network_for
from compressor.training.teaching import Teaching, teacher_of
from tests.small import write_project

OWN = """
import torch

from compressor.tensors import Outputs
from compressor.teachers._contract import Teacher


class Scaled(Teacher):
    '''What a network says, times a number.'''

    def __init__(self, network: torch.nn.Module, *, scale: float = 1.0) -> None:
        self.network, self.scale = network, scale

    def answer(self, batch):
        '''Scaled logits.'''
        return Outputs.of(self.scale * self.network(batch.inputs).detach())
"""
PLAIN = nn.Conv2d(1, 4, 3)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("teaching"))


@pytest.fixture(scope="module")
def trained(project):
    options = {"epochs": 1, "batch_size": 32}
    data = f"npz:{project / 'data.npz'}"
    return api.train(project / "teacher.py", data=data, name="made", runs=project / "runs", options=options)


@pytest.fixture
def store_of(project, trained):
    """Where answers lie: of a kind of teacher with options, asked in the run of a student."""
    data = DataSettings(source=f"npz:{project / 'data.npz'}", views=ViewSettings(count=2))
    material = Material(open_dataset(data), data, Classification())

    def find(kind: str = "network", *, student: nn.Module = PLAIN, **options: float) -> Path:
        taught = Teaching(kind, options=options, source=trained)
        teacher, _ = teacher_of(taught, DistillSettings(device="cpu"), material=material, seed=0)
        assert isinstance(teacher, CachedTeacher)
        (why,) = teacher.meet(Network(student, Normalisation("none", (), ())), torch.zeros(2, 1, 8, 8))
        assert (why.what, why.choice) == ("teacher cache", "float16")
        assert teacher.store is not None
        return teacher.store.folder

    return find


def test_the_same_teacher_finds_its_answers_again(store_of):
    assert store_of() == store_of()


def test_a_teacher_of_ones_own_finds_them_by_its_options_and_code(store_of, tmp_path):
    (tmp_path / "mine.py").write_text(OWN, encoding="utf-8")
    kind = f"{tmp_path / 'mine.py'}:Scaled"
    first, other = store_of(kind, scale=1.0), store_of(kind, scale=2.0)
    assert first != other
    assert store_of(kind, scale=1.0) == first

    (tmp_path / "mine.py").write_text(OWN.replace("self.scale *", "2 * self.scale *"), encoding="utf-8")

    assert store_of(kind, scale=1.0) not in (first, other)


def test_answers_are_told_apart_by_the_precision_of_the_run_they_are_given_in(store_of, monkeypatch):
    """A student with depthwise convolutions trains in float32 on a CPU, and its teacher answers in float32 beside it."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(precision, "_SMALLEST_SIDE_FOR_BF16", 8)
    depthwise = nn.Sequential(PLAIN, nn.Conv2d(4, 4, 3, groups=4))
    assert store_of(student=PLAIN) != store_of(student=depthwise)


def test_a_cache_that_cannot_be_opened_is_done_without(project, trained, tmp_path, monkeypatch):
    data = DataSettings(source=f"npz:{project / 'data.npz'}", views=ViewSettings(count=2))
    material = Material(open_dataset(data), data, Classification())
    teacher, _ = teacher_of(Teaching(source=trained), DistillSettings(device="cpu"), material=material, seed=0)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "file"))

    (why,) = teacher.meet(Network(PLAIN, Normalisation("none", (), ())), torch.zeros(2, 1, 8, 8))

    assert (why.what, why.choice) == ("teacher cache", "none")
    assert not teacher.keeps_answers


def test_a_teacher_that_pairs_samples_names_the_settings_of_views_that_mix_them(project, tmp_path):
    data = DataSettings(source=f"npz:{project / 'data.npz'}", views=ViewSettings(crop=1, flip=False, mixup=0.2))
    dataset = open_dataset(data)
    student, _ = network_for(
        ModelSettings(model=str(project / "student.py")), dataset=dataset, task=Classification(), seed=0
    )

    with pytest.raises(InputError, match=r"leave out data\.views\.mixup and data\.views\.cutmix"):
        job_for(
            student,
            DistillSettings(device="cpu"),
            teacher=SameClass(dataset.train),
            losses=(WeightedLoss("kd", 1.0, KD()),),
            material=Material(dataset, data, Classification()),
            target=Target(tmp_path, stage="distill", role="student", key="k", seed=0, settings={}),
        )
