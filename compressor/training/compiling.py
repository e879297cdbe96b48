"""torch.compile, when it pays: a measured step against what compiling costs.

The first steps of a run are timed as they are. What is left of the run then says how much time compiling could save; it
is done when that is clearly more than it costs. The choice is kept with the state of the run, so that a run that goes on
after an interruption computes with the same kernels.
"""

from __future__ import annotations

import logging
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from compressor.artifact import Decision
from compressor.errors import FOREIGN_FAULTS, ModelError
from compressor.training.resume import Position
from compressor.training.stopwatch import PHASES, Phase, Stopwatch

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it misses CUDA on machines without a GPU

_WHAT = "compile "
_WARM_UP_STEPS = 4
_TIMED_STEPS = 10

# Measured with ResNet-8, -20 and -56 on 2 CPU cores (torch 2.15): a forward and backward pass through ResNet-20 compiles in
# 23-40 s, the forward pass of ResNet-56 in 10-29 s, and steps then take 10-40 % less time (benchmarks/LOG.md).
_SECONDS_AT_LEAST = 8.0
_SECONDS_FOR_EACH_LAYER = 0.3
_TIME_SAVED = 0.15
_MARGIN = 1.5

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear, nn.MultiheadAttention, nn.Embedding)


@dataclass(frozen=True)
class Candidate:
    """A network that may be compiled.

    Attributes:
        name: `student` or `teacher`.
        network: In place.
        learns: Whether its backward pass is compiled too.
        steps_left: Steps of the run that still go through it.
        trial: Runs it once as a step does.
    """

    name: str
    network: nn.Module
    learns: bool
    steps_left: int
    trial: Callable[[], object]


class Compiler:
    """Knows when to decide, and what a step takes until then; compiles what pays.

    Args:
        wanted: `compile` of the settings.
        decided: Whether that was done before an interruption, so that nothing is left to wait for.
    """

    _phases: Mapping[str, tuple[Phase, ...]] = {"student": ("student", "backward"), "teacher": ("teacher",)}

    def __init__(self, wanted: bool | Literal["auto"], *, decided: bool = False) -> None:
        self.settled = wanted is False
        self._wanted = wanted
        self._decided = decided
        self._timed: dict[Phase, float] = dict.fromkeys(PHASES, 0.0)
        self._seen: tuple[Stopwatch, dict[Phase, float]] | None = None
        self._steps = 0

    def is_time(self, watch: Stopwatch) -> bool:
        """Whether to decide before the coming step; to be asked once before each, whether the watch is a new one or not."""
        self._steps += 1
        if self._steps > _WARM_UP_STEPS + 1 and self._seen is not None:
            last, before = self._seen
            for phase in PHASES:
                since = 0.0 if watch is last else watch.seconds[phase]
                self._timed[phase] += last.seconds[phase] - before[phase] + since
        self._seen = (watch, dict(watch.seconds))
        return self._decided or self._wanted != "auto" or self._steps > _WARM_UP_STEPS + _TIMED_STEPS

    def seconds_per_step(self) -> dict[str, float]:
        """What a step spends in student and teacher, as timed so far; nothing when nothing was timed."""
        if self._steps <= _WARM_UP_STEPS + _TIMED_STEPS:
            return {}
        return {name: sum(self._timed[phase] for phase in of) / _TIMED_STEPS for name, of in self._phases.items()}

    def settle(
        self,
        candidates: Sequence[Candidate],
        *,
        seconds_per_step: Mapping[str, float],
        position: Position,
        device: str,
        world_size: int,
    ) -> None:
        """Decide for each candidate, unless that was done before an interruption, and compile those it pays for.

        What was decided, and why, is kept in `position`. What is stated is compiled at its first use.
        """
        for each in candidates:
            if any(made["what"] == f"{_WHAT}{each.name}" for made in position.decisions):
                if each.name in position.compiled:
                    each.network.compile(dynamic=False)  # at its first use, which may not come
                continue
            on, why = choose(
                self._wanted,
                each.name,
                each.network,
                seconds_left=seconds_per_step.get(each.name, 0.0) * each.steps_left,
                learns=each.learns,
                device=device,
                world_size=world_size,
            )
            if on and self._wanted == "auto":
                on, why = _tried(each, why)
            elif on:
                each.network.compile(dynamic=False)
            position.decisions.append(asdict(why))
            if on:
                position.compiled.append(each.name)
        self.settled = True


def was_decided(position: Position) -> bool:
    """Whether a run that goes on has settled what it compiles."""
    return any(made["what"].startswith(_WHAT) for made in position.decisions)


def choose(
    wanted: bool | Literal["auto"],
    what: str,
    network: nn.Module,
    *,
    seconds_left: float,
    learns: bool,
    device: str,
    world_size: int,
) -> tuple[bool, Decision]:
    """Whether compiling `network` pays.

    Args:
        wanted: As stated; `auto` weighs.
        what: `student` or `teacher`.
        network: What would be compiled.
        seconds_left: Time that the rest of the run spends in it, uncompiled.
        learns: Whether its backward pass is compiled too.
        device: Type of the device.
        world_size: Processes that train together.
    """
    if wanted != "auto":
        return wanted, Decision(f"{_WHAT}{what}", "on" if wanted else "off", "as stated")
    if world_size > 1:
        return False, Decision(
            f"{_WHAT}{what}", "off", "not measured with several processes yet; compile = true does it"
        )
    cost_s = _cost_s(network, learns=learns)
    saved_s = _TIME_SAVED * seconds_left
    about = f"it would save about {saved_s:.0f} s of the {seconds_left:.0f} s left in it and take about {cost_s:.0f} s"
    if seconds_left <= 0:
        about = "no time is left in it"
    if saved_s < _MARGIN * cost_s:
        return False, Decision(f"{_WHAT}{what}", "off", about)
    missing = _missing_tool(device)
    if missing is not None:
        return False, Decision(f"{_WHAT}{what}", "off", f"{about}, but {missing}")
    return True, Decision(f"{_WHAT}{what}", "on", about)


def compile_now(network: nn.Module, trial: Callable[[], object]) -> float:
    """Compile a network in place and run `trial` through it; returns the seconds that took.

    A network that cannot be compiled is left as it was.

    Raises:
        ModelError: With what torch.compile says.
    """
    started = time.perf_counter()
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's advice to its own developers
            network.compile(dynamic=False)
            trial()
    except (*FOREIGN_FAULTS, torch._dynamo.exc.TorchDynamoException) as fault:
        undo(network)
        text = str(fault).strip().split("\n")[0]
        raise ModelError(f"torch.compile fails: {text}", hint="write compile = false") from fault
    finally:
        _restore(network, buffers)
        network.zero_grad(set_to_none=True)
    return time.perf_counter() - started


def _tried(each: Candidate, why: Decision) -> tuple[bool, Decision]:
    """Compile, or find out that it cannot be done here."""
    try:
        took_s = compile_now(each.network, each.trial)
    except ModelError as fault:
        return False, replace(why, choice="off", reason=f"{why.reason}, but {fault.message}")
    return True, replace(why, reason=f"{why.reason}; it took {took_s:.0f} s")


def undo(network: nn.Module) -> None:
    """The network runs as it is written again."""
    network._compiled_call_impl = None


def _cost_s(network: nn.Module, *, learns: bool) -> float:
    layers = sum(isinstance(module, _LAYERS) for module in network.modules())
    return _SECONDS_AT_LEAST + _SECONDS_FOR_EACH_LAYER * layers * (2.5 if learns else 1.0)


def _missing_tool(device: str) -> str | None:
    if device not in ("cpu", "cuda"):
        return f"torch.compile is not measured on {device}"
    if not any(shutil.which(name) for name in ("g++", "c++", "clang++", "gcc")):
        return "there is no C++ compiler here (g++)"
    return None


@torch.no_grad()
def _restore(network: nn.Module, buffers: dict[str, Tensor]) -> None:
    for name, buffer in network.named_buffers():
        buffer.copy_(buffers[name])
