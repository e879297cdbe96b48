"""State dicts as people save them, and why one does not fit."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from compressor.errors import ModelError
from compressor.models import state_dicts


def net(*, classes: int = 3, width: int = 4, depth: int = 1) -> nn.Sequential:
    torch.manual_seed(1)
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.BatchNorm1d(width))]
    return nn.Sequential(nn.Linear(5, width), *hidden, nn.Linear(width, classes))


def prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def optimizer_state(module: nn.Module) -> dict[str, object]:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.zeros(2, 5)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def refused(module: nn.Module, loaded: object) -> ModelError:
    with pytest.raises(ModelError, match=r"t\.pt") as caught:
        state_dicts.load_into(module, loaded, where="t.pt")
    return caught.value


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "_orig_mod.",
        "model.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.module.",
        "net.",
        "student.",
    ],
)
@pytest.mark.parametrize("nesting", [(), ("state_dict",), ("model",), ("net",), ("state_dict", "model")])
def test_wrappers_and_nestings_are_undone(prefix: str, nesting: tuple[str, ...]) -> None:
    source, target = net(), nn.Sequential(*net())
    loaded: object = prefixed(source.state_dict(), prefix)
    for name in nesting:
        loaded = {"epoch": 3, name: loaded, "best": 0.9}

    state_dicts.load_into(target, loaded, where="t.pt")

    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    )


def test_what_was_done_is_told() -> None:
    loaded = {"state_dict": prefixed(net().state_dict(), "module.")}

    steps = state_dicts.load_into(net(), loaded, where="t.pt")

    assert steps == ("taken from 'state_dict'", "prefix 'module.' dropped")


def test_a_prefix_that_the_architecture_has_stays() -> None:
    wrapped = nn.ModuleDict({"model": net()})

    assert state_dicts.load_into(wrapped, wrapped.state_dict(), where="t.pt") == ()


@pytest.mark.parametrize("first", ["model", "optimizer"])
def test_the_state_of_an_optimizer_is_not_taken_for_weights(first: str) -> None:
    module = net()
    parts: dict[str, object] = {"model": net().state_dict(), "optimizer": optimizer_state(module), "epoch": 2}
    loaded = {first: parts[first], **parts}

    assert state_dicts.unwrap(loaded, where="t.pt").steps == ("taken from 'model'",)


@pytest.mark.parametrize("nested", [True, False])
def test_a_checkpoint_of_an_optimizer_alone_holds_no_weights(nested: bool) -> None:
    state = optimizer_state(net())

    fault = refused(net(), {"optimizer": state, "epoch": 1} if nested else state)

    assert "no weights in this checkpoint; it holds: " + (
        "optimizer, epoch" if nested else "state, param_groups"
    ) in str(fault)


@pytest.mark.parametrize(("loaded", "said"), [([1], "holds a list"), ({}, "nothing"), ({"state_dict": {}}, "nothing")])
def test_what_holds_no_weights_says_what_it_holds(loaded: object, said: str) -> None:
    assert said in str(refused(net(), loaded))


@pytest.mark.parametrize("name", ["ema", "state_dict_ema", "model_ema"])
def test_averaged_weights_are_found(name: str) -> None:
    averaged = AveragedModel(net())

    steps = state_dicts.load_into(net(), {name: averaged.state_dict(), "epoch": 1}, where="t.pt")

    assert steps == (f"taken from '{name}'", "prefix 'module.' dropped", "'n_averaged' left out")


def test_plain_weights_go_before_averaged_ones() -> None:
    state = net().state_dict()

    (step,) = state_dicts.unwrap({"ema": state, "model": state}, where="t.pt").steps

    assert step == "taken from 'model'; 'ema' beside it left alone"


def test_old_checkpoints_without_batch_counters_load() -> None:
    state = {key: value for key, value in net().state_dict().items() if "num_batches" not in key}

    assert state_dicts.load_into(net(), state, where="t.pt") == ()


def test_tied_weights_need_to_be_given_once() -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    state = {key: value for key, value in tied.state_dict().items() if key != "1.weight"}

    assert state_dicts.load_into(tied, state, where="t.pt") == ()


def test_weights_of_half_precision_are_widened() -> None:
    module = net()

    state_dicts.load_into(
        module, {k: v.half() if v.is_floating_point() else v for k, v in net().state_dict().items()}, where="t"
    )

    assert module[0].weight.dtype == torch.float32


def test_another_number_of_classes_is_named() -> None:
    fault = refused(net(classes=10), net(classes=100).state_dict())

    assert "0 keys missing, 0 unexpected, 2 of another shape" in fault.message
    assert "3.weight: expected [10, 4], the checkpoint has [100, 4]" in fault.message
    assert (fault.hint or "").startswith("the checkpoint has 100 outputs and the network 10")
    assert (fault.hint or "").endswith("is it the right data set?")


def test_another_input_of_a_single_layer_is_no_matter_of_classes() -> None:
    assert "widths" in str(refused(nn.Linear(4, 3), nn.Linear(5, 3).state_dict()).hint)


def test_another_width_is_named() -> None:
    assert "same layers, other widths" in str(refused(net(width=4), net(width=8).state_dict()).hint)


def test_a_deeper_checkpoint_is_named() -> None:
    state = {**nn.Sequential(nn.Linear(5, 4)).state_dict(), "1.weight": torch.zeros(1)}

    assert "the checkpoint has more layers" in str(refused(nn.Sequential(nn.Linear(5, 4)), state).hint)


@pytest.mark.parametrize(
    "extra",
    [
        ["criterion.weight"],
        ["total_ops", "total_params"],
        ["0.total_ops", "3.total_params"],
        ["embeddings.position_ids"],
    ],
)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_entries_of_no_layer_are_left_out_and_named(extra: list[str], prefix: str) -> None:
    source, module = net(), net()
    torch.nn.init.ones_(source[0].weight)
    beside = {key if key.startswith("criterion") else prefix + key: torch.zeros(2) for key in extra}

    steps = state_dicts.load_into(module, {**prefixed(source.state_dict(), prefix), **beside}, where="t.pt")

    assert torch.equal(module[0].weight, source[0].weight)
    assert steps[-1] == ", ".join(map(repr, extra)) + " left out"


def test_stages_that_a_deeper_network_has_more_are_no_leftovers() -> None:
    shallow = nn.ModuleDict({"layer1": nn.Linear(2, 2)})
    state = {**shallow.state_dict(), "layer2.weight": torch.zeros(2, 2)}

    assert "the checkpoint has more layers" in str(refused(shallow, state).hint)


def test_extra_entries_do_not_hide_that_a_layer_is_missing() -> None:
    state = {"0.weight": torch.zeros(4, 5), "criterion.weight": torch.zeros(2)}

    assert "1 keys missing" in str(refused(nn.Sequential(nn.Linear(5, 4)), state))


@pytest.mark.parametrize("names", [("student.", "teacher."), ("", "ema.")])
def test_of_two_networks_in_one_file_none_is_picked(names: tuple[str, str]) -> None:
    first, second = (prefixed(net().state_dict(), name) for name in names)

    fault = refused(net(), {**first, **second})

    assert "holds two networks of this architecture" in str(fault)
    assert "save the one that you mean" in str(fault.hint)


def test_a_shallower_checkpoint_is_named() -> None:
    fault = refused(nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 4)), nn.Sequential(nn.Linear(5, 4)).state_dict())

    assert "the checkpoint has fewer layers" in str(fault.hint)


def test_another_architecture_shows_both_sides() -> None:
    fault = refused(net(), nn.ModuleDict({"features": nn.Linear(2, 2)}).state_dict())

    assert "no key is common to both" in str(fault.hint)
    lines = fault.message.splitlines()
    assert lines[1].split("  ")[-1] == "the checkpoint has"
    assert "0.bias [4]" in lines[2]
    assert "features.bias [2]" in lines[2]
    assert lines[-1].strip() == "... and 4 more lines"


def test_layers_under_other_names_beside_common_ones_are_another_version() -> None:
    expected = nn.ModuleDict({"stem": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    given = nn.ModuleDict({"stem": nn.Linear(2, 2), "classifier": nn.Linear(2, 2)})

    assert "another architecture, or another version" in str(refused(expected, given.state_dict()).hint)


def test_a_network_that_was_refused_weights_keeps_its_own() -> None:
    module = net(classes=10)
    before = {key: value.clone() for key, value in module.state_dict().items()}

    refused(module, net(classes=100).state_dict())

    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
