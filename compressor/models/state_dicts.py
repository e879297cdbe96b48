"""Bring a foreign state dict to the keys an architecture expects, and say clearly why one does not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from compressor.errors import ModelError

_NESTINGS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "state_dict_ema",
    "model_ema",
    "ema",
)
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.", "backbone.", "student.", "teacher.")
_SHOWN = 6
# what torch.optim.swa_utils.AveragedModel, FLOP counters and older versions of transformers keep beside the weights
_COUNTERS = frozenset({"n_averaged", "total_ops", "total_params", "position_ids"})


@dataclass(frozen=True)
class CleanState:
    """A state dict whose keys are those of the architecture, and what was done to get there."""

    tensors: Mapping[str, Tensor]
    steps: tuple[str, ...]


def unwrap(loaded: object, *, where: str) -> CleanState:
    """Find the state dict in what a checkpoint file holds.

    Training frameworks nest it (`{"state_dict": {...}, "epoch": ...}`); plain values beside it are left out.

    Raises:
        ModelError: There is none; says what there is.
    """
    steps: list[str] = []
    while isinstance(loaded, Mapping):
        nested = next((key for key in _NESTINGS if isinstance(loaded.get(key), Mapping)), None)
        if nested is None:
            break
        others = [key for key in _NESTINGS if key != nested and isinstance(loaded.get(key), Mapping)]
        beside = f"; {', '.join(map(repr, others))} beside it left alone" if others else ""
        steps.append(f"taken from '{nested}'{beside}")
        loaded = loaded[nested]
    if isinstance(loaded, Mapping):
        tensors = {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}
        if tensors:
            return CleanState(tensors, tuple(steps))
        found = ", ".join(str(key) for key in list(loaded)[:_SHOWN]) or "nothing"
        raise ModelError(f"no weights in this checkpoint; it holds: {found}", where=where)
    raise ModelError(f"no weights in this checkpoint; it holds a {type(loaded).__name__}", where=where)


def strip_prefixes(state: CleanState, expected: set[str]) -> CleanState:
    """Drop wrapper prefixes (`module.` of DataParallel, `_orig_mod.` of torch.compile, ...) while more keys fit for it."""
    tensors, steps = dict(state.tensors), list(state.steps)
    while True:
        best, fit = None, len(expected & set(tensors))
        for prefix in _PREFIXES:
            if any(key.startswith(prefix) for key in tensors):
                renamed = {key.removeprefix(prefix) for key in tensors}
                if len(expected & renamed) > fit or (fit == 0 and all(key.startswith(prefix) for key in tensors)):
                    best, fit = prefix, len(expected & renamed)
        if best is None:
            return CleanState(tensors, tuple(steps))
        tensors = {key.removeprefix(best): value for key, value in tensors.items()}
        steps.append(f"prefix '{best}' dropped")


def load_into(module: nn.Module, loaded: object, *, where: str) -> tuple[str, ...]:
    """Load a foreign checkpoint into `module`, all keys and all shapes.

    Returns:
        What was done to make it fit, in words.

    Raises:
        ModelError: Keys or shapes do not fit; shows both sides and the likely cause.
    """
    expected = module.state_dict()
    state = strip_prefixes(unwrap(loaded, where=where), set(expected))
    state = _without_leftovers(state, expected, where=where)
    counters = _counters_of_batches(expected)
    missing = sorted(set(expected) - set(state.tensors) - counters - _tied(expected, set(state.tensors)))
    unexpected = sorted(set(state.tensors) - set(expected))
    reshaped = sorted(k for k in set(expected) & set(state.tensors) if expected[k].shape != state.tensors[k].shape)
    if missing or unexpected or reshaped:
        raise ModelError(
            _mismatch(expected, state.tensors, missing, unexpected, reshaped),
            where=where,
            hint=_likely_cause(expected, state.tensors, missing, unexpected, reshaped),
        )
    module.load_state_dict(dict(state.tensors), strict=False)
    return state.steps


def _without_leftovers(state: CleanState, expected: Mapping[str, Tensor], *, where: str) -> CleanState:
    """Without entries that are of no layer of the architecture, where it has all that it asks for.

    A criterion's weights and the counters of a FLOP counter are such; layers that a deeper network has more are not.

    Raises:
        ModelError: What is left over is another network of the same architecture.
    """
    extra = [key for key in state.tensors if key not in expected]
    for prefix in sorted({f"{key.partition('.')[0]}." for key in extra}):
        if {key.removeprefix(prefix) for key in extra if key.startswith(prefix)} >= set(expected):
            other = next((each for each in state.steps if each.startswith("prefix ")), "without a prefix")
            told = f"the checkpoint holds two networks of this architecture: one below '{prefix}', and one {other}"
            kept = (
                f'{{key.removeprefix("{prefix}"): value for key, value in state.items() if key.startswith("{prefix}")}}'
            )
            raise ModelError(told, where=where, hint=f"save the one that you mean by itself: {kept}")
    known = {_without_number(key.partition(".")[0]) for key in expected}
    left = [
        key
        for key in extra
        if key.rpartition(".")[2] in _COUNTERS or _without_number(key.partition(".")[0]) not in known
    ]
    given = set(state.tensors)
    if not left or set(expected) - given - _counters_of_batches(expected) - _tied(expected, given):
        return state
    tensors = {key: value for key, value in state.tensors.items() if key not in left}
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    return CleanState(tensors, (*state.steps, f"{', '.join(map(repr, left[:_SHOWN]))}{more} left out"))


def _counters_of_batches(expected: Mapping[str, Tensor]) -> set[str]:
    return {key for key in expected if key.endswith("num_batches_tracked")}


def _without_number(name: str) -> str:
    return name.rstrip("0123456789")


def _tied(expected: Mapping[str, Tensor], given: set[str]) -> set[str]:
    """Keys that need not be given, since another key that is given names the very same parameter."""
    places = {(expected[key].data_ptr(), expected[key].shape) for key in given & set(expected)}
    return {key for key, value in expected.items() if value.numel() and (value.data_ptr(), value.shape) in places}


def _mismatch(
    expected: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    reshaped: list[str],
) -> str:
    lines = [
        f"the checkpoint does not fit the architecture: {len(missing)} keys missing, {len(unexpected)} unexpected, "
        f"{len(reshaped)} of another shape"
    ]
    if missing or unexpected:
        lines.append(f"    {'the architecture expects':<52}the checkpoint has")
    for index in range(min(_SHOWN, max(len(missing), len(unexpected)))):
        left = _described(missing[index], expected) if index < len(missing) else ""
        right = _described(unexpected[index], given) if index < len(unexpected) else ""
        lines.append(f"    {left:<52}{right}".rstrip())
    if max(len(missing), len(unexpected)) > _SHOWN:
        lines.append(f"    ... and {max(len(missing), len(unexpected)) - _SHOWN} more lines")
    for key in reshaped[:_SHOWN]:
        lines.append(f"    {key}: expected {list(expected[key].shape)}, the checkpoint has {list(given[key].shape)}")
    if len(reshaped) > _SHOWN:
        lines.append(f"    ... and {len(reshaped) - _SHOWN} more shapes")
    return "\n".join(lines)


def _described(key: str, tensors: Mapping[str, Tensor]) -> str:
    return f"{key} {list(tensors[key].shape)}"


def _likely_cause(
    expected: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    reshaped: list[str],
) -> str:
    common = len(set(expected) & set(given))
    if not missing and not unexpected and set(reshaped) <= set(list(expected)[-2:]):
        has, wants = given[reshaped[0]].shape[:1], expected[reshaped[0]].shape[:1]
        if has != wants and has and wants:
            return (
                f"the checkpoint has {has[0]} outputs and the network {wants[0]}, which follow from the data "
                "unless its builder fixes them: is it the right data set?"
            )
    if not missing and not unexpected:
        return "same layers, other widths: pass the width as the builder's option, or name the right architecture"
    if common == 0:
        return "no key is common to both: this is the checkpoint of another architecture, or it has another prefix"
    if unexpected and not missing and not reshaped:
        return "the checkpoint has more layers: the architecture is shallower than the one it was trained with"
    if missing and not unexpected and not reshaped:
        return "the checkpoint has fewer layers: the architecture is deeper than the one it was trained with"
    if _without_numbers(missing) == _without_numbers(unexpected):
        return "the same layers under other numbers: another depth or another version of this architecture"
    return "another architecture, or another version of its code: name the one it was trained with"


def _without_numbers(keys: list[str]) -> set[str]:
    return {re.sub(r"\d+", "#", key) for key in keys}
