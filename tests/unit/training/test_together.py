"""Two processes add up to one: each check runs in both of them, on their shares of what this process has whole."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from timm.layers import BatchNormAct2d
from torch import nn

from compressor.errors import ArtifactError, InputError, ModelError, ProcessLostError
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.training import together
from compressor.training.precision import RunConditions
from compressor.training.resume import Position

WORLD = 2
CPU = RunConditions("cpu", 0, "32-true", torch.contiguous_format, True, ())
RAGGED = (4, 3, 1)  # sizes of three batches, of which the last has fewer rows than there are processes


def network(*modules: nn.Module) -> Network:
    return Network(nn.Sequential(*modules), Normalisation("none", (), ()))


def norms() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Every kind of BatchNorm with a batch of eight; the values lie far from zero, where careless sums lose all digits."""
    generator = torch.Generator().manual_seed(3)

    def some(*shape: int) -> torch.Tensor:
        return 1000 + torch.randn(8, *shape, generator=generator)

    return {
        "1d": (nn.BatchNorm1d(5), some(5)),
        "1d, sequences": (nn.BatchNorm1d(5), some(5, 4)),
        "2d": (nn.BatchNorm2d(3), some(3, 4, 4)),
        "3d": (nn.BatchNorm3d(2), some(2, 2, 3, 3)),
        "cumulative": (nn.BatchNorm2d(3, momentum=None), some(3, 4, 4)),
        "not affine": (nn.BatchNorm2d(3, affine=False), some(3, 4, 4)),
        "timm's, with its activation": (BatchNormAct2d(3), some(3, 4, 4)),
        "without running statistics": (nn.BatchNorm2d(3, track_running_stats=False), some(3, 4, 4)),
    }


def trained_on(norm: nn.Module, inputs: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """What two steps of training give: outputs, gradients and running statistics."""
    inputs = inputs.clone().requires_grad_()
    for _ in range(2):
        outputs = norm(inputs)
    (outputs * weights).sum().backward()
    assert inputs.grad is not None
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in norm.named_parameters()}
    return {"outputs": outputs.detach(), "gradient": inputs.grad, **norm.state_dict(), **gradients}


def weights_like(inputs: torch.Tensor) -> torch.Tensor:
    return torch.linspace(-1, 1, inputs.numel()).reshape(inputs.shape)


def in_each_process(rank: int, port: int, folder: Path) -> None:
    """All that needs two processes; what comes of it goes to a file, for the tests to look at."""
    torch.set_num_threads(1)
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": WORLD, "LOCAL_WORLD_SIZE": WORLD, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()} | {"MASTER_ADDR": "127.0.0.1"})
    fabric = together.fabric_for(CPU)
    found: dict[str, Any] = {"world": fabric.world_size, "rank": fabric.global_rank}
    for name, (norm, inputs) in norms().items():
        whole = network(norm)
        together.synchronise(whole, accelerator="cpu")
        share, weights = inputs[rank::WORLD], weights_like(inputs)[rank::WORLD]
        found[name] = trained_on(whole.module[0], share, weights)
        together.separate(whole)
        assert type(whole.module[0]) is type(norm)
    found["mean"] = together.mean_of(fabric, {"a": float(rank), "b": 3.0})
    found["any"] = [together.any_of(fabric, rank == 1), together.any_of(fabric, False)]
    rows = [np.arange(size * 2.0).reshape(size, 2)[rank::WORLD] for size in RAGGED]
    found["in order"] = together.in_order(fabric, [{"answers": share} if len(share) else {} for share in rows])[
        "answers"
    ]
    alone = [{"answers": np.ones((1, 2))}] if rank == 0 else [{}]
    found["in order, one sample"] = together.in_order(fabric, alone)["answers"]
    parameter, without = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([rank, 1.0])
    together.average_gradients(fabric, [parameter, without])
    found["gradient"] = parameter.grad
    found["alike"] = together.alike(fabric, lambda: Position("k", step=7), folder).step
    found["looked"] = looked(fabric, folder)
    try:
        together.alike(fabric, lambda: Position("k", step=rank), folder)
    except ArtifactError as fault:
        found["not alike"] = str(fault)
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def looked(fabric: Fabric, folder: Path) -> int:
    """What a process finds that looks at what the main one moves there when it looks."""

    def look() -> Position:
        if fabric.global_rank == 0:
            (folder / "moved").touch()
        return Position("k", step=int((folder / "moved").exists()))

    return together.alike(fabric, look, folder).step


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(in_each_process, args=(port, folder), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


def test_both_processes_are_of_one_job(found):
    assert [(each["rank"], each["world"]) for each in found] == [(0, 2), (1, 2)]


@pytest.mark.parametrize("name", list(norms()))
def test_batch_norm_over_two_processes_is_batch_norm_over_the_whole_batch(found, name):
    norm, inputs = norms()[name]
    expected = trained_on(norm, inputs, weights_like(inputs))
    shares = [each[name] for each in found]
    assert all(share.keys() == expected.keys() for share in shares)
    for part, value in expected.items():
        if part in ("outputs", "gradient"):
            whole = torch.empty_like(value)
            for rank, share in enumerate(shares):
                whole[rank::WORLD] = share[part]
        elif part.startswith("gradient"):
            whole = sum(share[part] for share in shares)  # DDP's part of the work
        else:
            assert torch.equal(shares[0][part], shares[1][part])
            whole = shares[0][part]
        torch.testing.assert_close(whole, value, rtol=1e-4, atol=2e-4, msg=lambda text, part=part: f"{part}: {text}")


def test_what_each_process_has_is_averaged(found):
    assert [each["mean"] for each in found] == [{"a": 0.5, "b": 3.0}] * 2
    assert [each["gradient"].tolist() for each in found] == [[0.5, 1.0]] * 2


def test_what_one_process_says_all_hear(found):
    assert [each["any"] for each in found] == [[True, False]] * 2


def test_answers_come_back_in_the_order_of_the_samples_even_when_a_process_has_none_of_a_batch(found):
    expected = np.concatenate([np.arange(size * 2.0).reshape(size, 2) for size in RAGGED])
    assert [each["in order"].tolist() for each in found] == [expected.tolist()] * 2


def test_a_process_without_any_sample_hears_of_the_one_that_there_is(found):
    assert [each["in order, one sample"].tolist() for each in found] == [[[1.0, 1.0]]] * 2


def test_the_main_process_looks_first(found):
    assert [each["looked"] for each in found] == [1, 1]


def test_processes_that_find_different_states_stop(found):
    assert [each["alike"] for each in found] == [7, 7]
    for each in found:
        assert "different states here: of step 0, 1" in each["not alike"]
        assert "must share this folder" in each["not alike"]


def test_processes_that_do_not_come_together_say_so(as_one_of_two, monkeypatch):
    def refused(*_arguments, **_settings):
        raise RuntimeError("Gloo connectFullMesh failed: connection refused\nmore")

    monkeypatch.setattr(torch.distributed, "init_process_group", refused)
    with pytest.raises(ProcessLostError, match=r"the 2 processes cannot reach one another: Gloo .* refused — start"):
        together.fabric_for(CPU)


@pytest.fixture
def as_one_of_two(monkeypatch):
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")


@pytest.mark.usefixtures("as_one_of_two")
@pytest.mark.parametrize(("batch_size", "works"), [(33, 32), (31, 32), (2, 4), (3, 4)])
def test_a_batch_that_cannot_be_shared_is_refused_with_one_that_can(batch_size, works):
    with pytest.raises(InputError, match=f"2 processes cannot share batches of {batch_size} evenly") as refused:
        together.require_shares(batch_size, num_samples=100)
    assert refused.value.hint == f"write --batch-size {works}"
    together.require_shares(works, num_samples=100)


@pytest.mark.usefixtures("as_one_of_two")
def test_a_set_that_is_smaller_than_a_batch_is_not_shared():
    with pytest.raises(InputError, match="15 training samples do not fill one batch of 16"):
        together.require_shares(16, num_samples=15)


def test_one_process_may_have_any_batch():
    together.require_shares(33, num_samples=3)


@pytest.mark.usefixtures("as_one_of_two")
@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d])
def test_a_synchronised_module_stays_itself_and_becomes_again_what_it_was(kind, accelerator):
    inside = kind(3)
    before = dict(inside.state_dict())
    whole = network(nn.Identity(), inside)
    together.synchronise(whole, accelerator=accelerator)
    assert whole.module[1] is inside
    assert type(inside) is not kind
    assert isinstance(inside, kind)
    assert isinstance(inside, nn.SyncBatchNorm) == (accelerator == "cuda")
    together.separate(whole)
    assert type(inside) is kind
    assert inside.state_dict().keys() == before.keys()
    assert all(inside.state_dict()[name].data_ptr() == value.data_ptr() for name, value in before.items())


class OwnNorm(nn.BatchNorm2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) * 2


@pytest.mark.usefixtures("as_one_of_two")
def test_a_batch_norm_that_computes_in_its_own_way_is_refused_by_name():
    with pytest.raises(ModelError, match=r"1 \(OwnNorm\) takes statistics in its own way") as refused:
        together.synchronise(network(nn.Identity(), OwnNorm(3)), accelerator="cpu")
    assert "one process" in (refused.value.hint or "")


def test_one_process_leaves_the_network_as_it_is():
    whole = network(nn.BatchNorm2d(3), OwnNorm(3))
    together.synchronise(whole, accelerator="cpu")
    assert [type(module) for module in whole.module] == [nn.BatchNorm2d, OwnNorm]


@pytest.mark.usefixtures("as_one_of_two")
@pytest.mark.parametrize(
    "text", ["[gloo/transport/tcp/pair.cc:561] Connection closed by peer [::1]:9", "NCCL error: remote process exited"]
)
def test_a_closed_connection_is_told_as_a_lost_process(text):
    lost = together.lost_process(RuntimeError(text), state="runs/a/.train.state", resume_line="compress run r.toml")
    assert lost is not None
    assert "another of the 2 processes has gone (this is number 1)" in lost.message
    assert "runs/a/.train.state" in lost.message
    assert "compress run r.toml" in (lost.hint or "")
    assert lost.exit_code == 3


@pytest.mark.usefixtures("as_one_of_two")
def test_a_fault_of_the_network_is_not_told_as_a_lost_process():
    fault = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert together.lost_process(fault, state="s", resume_line="r") is None


def test_one_process_can_lose_none():
    assert together.lost_process(RuntimeError("gloo: connection closed"), state="s", resume_line="r") is None
