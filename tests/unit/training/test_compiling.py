"""torch.compile is used when it pays, and leaves no trace when it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.errors import ModelError
from compressor.training import compiling
from compressor.training.compiling import Compiler
from compressor.training.resume import Position
from compressor.training.stopwatch import Stopwatch


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


def choose(seconds_left: float, **changes):
    how = {"wanted": "auto", "what": "student", "learns": True, "device": "cpu", "world_size": 1} | changes
    wanted, what = how.pop("wanted"), how.pop("what")
    return compiling.choose(wanted, what, network(), seconds_left=seconds_left, **how)


def test_a_long_run_is_compiled_and_says_why():
    on, why = choose(3600)
    assert on
    assert why.choice == "on"
    assert "it would save about 540 s of the 3600 s left in it" in why.reason


def test_a_short_run_is_not():
    on, why = choose(30)
    assert not on
    assert "it would save about 4 s" in why.reason


def test_what_is_stated_is_done():
    assert choose(1, wanted=True)[0]
    assert not choose(10_000, wanted=False)[0]


def test_several_processes_are_left_alone():
    on, why = choose(10_000, world_size=2)
    assert not on
    assert "several processes" in why.reason


def test_without_a_compiler_it_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "")
    on, why = choose(3600)
    assert not on
    assert "no C++ compiler" in why.reason


def test_a_larger_network_has_to_earn_more():
    small, large = network(), nn.Sequential(*(nn.Linear(2, 2) for _ in range(200)))
    given = {"seconds_left": 300.0, "learns": True, "device": "cpu", "world_size": 1}
    assert compiling.choose("auto", "student", small, **given)[0]
    assert not compiling.choose("auto", "student", large, **given)[0]


def test_the_time_of_a_step_is_that_after_the_warm_up():
    compiler, watch = Compiler("auto"), Stopwatch()
    decided = []
    for step in range(15):
        decided.append(compiler.is_time(watch))
        watch.seconds["student"] += 10.0 if step < 4 else 1.0
        watch.seconds["backward"] += 20.0 if step < 4 else 2.0
    assert decided == [False] * 14 + [True]
    assert compiler.seconds_per_step()["student"] == pytest.approx(3.0)


@pytest.mark.parametrize("in_an_epoch", [1, 6, 14])
def test_steps_are_timed_through_epochs_that_begin_a_watch_of_their_own(in_an_epoch):
    compiler, watch = Compiler("auto"), Stopwatch()
    for step in range(15):
        if step % in_an_epoch == 0:
            watch = Stopwatch()
        decided = compiler.is_time(watch)
        watch.seconds["student"] += 10.0 if step < 4 else 1.0
    assert decided
    assert compiler.seconds_per_step()["student"] == pytest.approx(1.0)


def test_what_was_decided_before_an_interruption_is_not_waited_for():
    compiler, net = Compiler("auto", decided=True), network()
    decision = {"what": "compile student", "choice": "on", "reason": "it pays"}
    position = Position("k", compiled=["student"], decisions=[decision])
    assert compiling.was_decided(position)
    assert compiler.is_time(Stopwatch())

    one = compiling.Candidate("student", net, learns=True, steps_left=3, trial=lambda: None)
    seconds = compiler.seconds_per_step()
    compiler.settle([one], seconds_per_step=seconds, position=position, device="cpu", world_size=1)

    assert seconds == {}
    assert net._compiled_call_impl is not None
    assert position.decisions == [decision]


def test_a_stated_choice_is_not_waited_for():
    assert Compiler(True).is_time(Stopwatch())
    assert Compiler(False).settled


def test_compiling_leaves_weights_and_statistics_as_they_were():
    net, inputs = network().train(), torch.rand(4, 1, 8, 8)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    seconds = compiling.compile_now(net, lambda: net(inputs).square().mean().backward())
    assert seconds > 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_network_that_cannot_be_compiled_runs_as_before():
    net, inputs = network(), torch.rand(4, 1, 8, 8)

    def fails() -> None:
        raise RuntimeError("no kernel for that")

    with pytest.raises(ModelError, match=r"torch\.compile fails: no kernel for that"):
        compiling.compile_now(net, fails)
    assert net._compiled_call_impl is None
    assert net(inputs).shape == (4, 2)
