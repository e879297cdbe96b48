"""Losses in two processes: what each learns, remembers or compares is what one process would."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor

from compressor.losses._contract import Context
from compressor.losses.adversarial import Adversarial
from compressor.losses.crd import CRD
from compressor.losses.dist import DIST
from compressor.losses.pkt import PKT
from compressor.losses.rkd import RKD
from compressor.losses.similarity_preserving import SimilarityPreserving
from compressor.tasks.classification import Classification
from compressor.tensors import Outputs
from tests.named import named_batch

WORLD, B, K, M = 2, 8, 3, 20
STUDENT, TEACHER = (torch.randn(2, B, K, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))


def steps(share: slice) -> dict[str, Tensor]:
    """The state of both losses after two steps on a share of each batch."""
    torch.manual_seed(0)
    adversarial, crd = Adversarial(hidden=8, lr=0.01), CRD(pairs=[["f", "f"]], width=4, negatives=M - 1)
    for loss in (adversarial, crd):
        loss.prepare(Context(torch.arange(M), K))
    crd.settle({"f": (2, K)}, {"f": (2, K)})
    for step in range(2):
        student, teacher = STUDENT[step][share], TEACHER[step][share]
        ids = (torch.arange(B) * 2 + step)[share]
        batch = named_batch(torch.zeros(len(ids), 1), ids % K, ids, -1, Classification())
        for loss in (adversarial, crd):
            loss(Outputs.of(student, {"f": student}), Outputs.of(teacher, {"f": teacher}), batch)
    return {**adversarial.state_dict(), **crd.state_dict()}


def gradients(share: slice) -> dict[str, Tensor]:
    """What losses that compare samples with one another ask of each answer in a share of the batch."""
    pairs = [["f", "f"]]
    losses = {"dist": DIST(), "rkd": RKD(pairs=pairs), "pkt": PKT(pairs=pairs), "sp": SimilarityPreserving(pairs=pairs)}
    found = {}
    for name, loss in losses.items():
        student, teacher = STUDENT[0][share].clone().requires_grad_(), TEACHER[0][share]
        if not isinstance(loss, DIST):
            loss.settle({"f": (2, K)}, {"f": (2, K)})
        ids = torch.arange(B)[share]
        batch = named_batch(torch.zeros(len(ids), 1), ids % K, ids, -1, Classification())
        loss(Outputs.of(student, {"f": student}), Outputs.of(teacher, {"f": teacher}), batch).backward()
        assert student.grad is not None
        found[f"gradient of {name}"] = student.grad
    return found


def in_each_process(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    places = {"RANK": rank, "WORLD_SIZE": WORLD, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": WORLD, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()} | {"MASTER_ADDR": "127.0.0.1"})
    torch.distributed.init_process_group("gloo")
    share = slice(rank, None, WORLD)
    torch.save({**steps(share), **gradients(share)}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("losses")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(in_each_process, (port, folder), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def test_both_processes_hold_the_same(held: list[dict[str, Tensor]]) -> None:
    one, other = ({name: each for name, each in both.items() if not name.startswith("gradient")} for both in held)

    assert one
    assert all(torch.equal(each, other[name]) for name, each in one.items())


@pytest.mark.parametrize("name", ["dist", "rkd", "pkt", "sp"])
def test_samples_are_compared_with_those_of_the_other_process(held: list[dict[str, Tensor]], name: str) -> None:
    whole = gradients(slice(None))[f"gradient of {name}"]
    shares = torch.stack([each[f"gradient of {name}"] for each in held], dim=1).flatten(0, 1)

    assert torch.allclose(shares / WORLD, whole, rtol=1e-4, atol=1e-6)  # gradients of all processes are averaged


def test_memories_hold_the_samples_of_both(held: list[dict[str, Tensor]]) -> None:
    whole = steps(slice(None))

    for name in ("contrasts.0.students", "contrasts.0.teachers"):
        assert torch.allclose(held[0][name], whole[name], atol=1e-6)
