"""A cut removes what was asked for, everywhere, and nothing that cannot go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compressor.errors import ModelError
from compressor.models import inspection, load
from compressor.surgery import aim
from compressor.surgery.criteria.l1 import L1
from compressor.surgery.cut import Prunable
from compressor.surgery.record import Surgery


class Branches(nn.Module):
    """A shortcut, a concatenation, a grouped and a depthwise convolution."""

    def __init__(self, *, groups: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.left = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=groups), nn.BatchNorm2d(16))
        self.right = nn.Conv2d(16, 12, 1)
        self.deep = nn.Conv2d(28, 28, 3, padding=1, groups=28)
        self.mix = nn.Conv2d(28, 16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, images):
        trunk = self.stem(images)
        both = torch.cat([self.left(trunk), self.right(trunk)], 1)
        return self.head((trunk + self.mix(self.deep(F.relu(both)))).mean((2, 3)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Branches().eval()


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def widths(prunable: Prunable) -> dict[str, tuple[int, int]]:
    return {group.name: (group.width, group.unit) for group in prunable.groups}


def test_layers_that_are_added_up_are_cut_together(network):
    prunable = Prunable(network, IMAGES)

    trunk = next(group for group in prunable.groups if group.name == "stem.0")
    assert set(trunk.layers) == {"stem.0", "mix"}


def test_a_cut_channel_is_gone_from_every_layer_that_gave_or_read_it(network):
    pruned = Prunable(network, IMAGES).cut({"right": np.array([0, 2, 3, 7])})

    assert pruned.right.out_channels == 4
    assert (pruned.deep.in_channels, pruned.deep.out_channels, pruned.deep.groups) == (20, 20, 20)
    assert pruned.mix.in_channels == 20
    assert torch.equal(pruned.right.weight, network.right.weight[[0, 2, 3, 7]])
    assert torch.equal(pruned.mix.weight, network.mix.weight[:, [*range(16), 16, 18, 19, 23]])


def test_cutting_is_silencing(network):
    """What is left answers as the whole network does when nobody listens to the channels that went."""
    pruned = Prunable(network, IMAGES).cut({"right": np.arange(6)})
    with torch.no_grad():
        network.mix.weight[:, 22:] = 0

    assert torch.allclose(pruned(IMAGES), network(IMAGES), atol=1e-5)


def test_the_groups_of_a_grouped_convolution_stay_of_equal_size(network):
    prunable = Prunable(network, IMAGES)
    assert widths(prunable)["stem.0"] == (4, 4)

    pruned = prunable.cut({"stem.0": np.array([0, 1, 3])})

    assert (pruned.left[0].in_channels, pruned.left[0].groups) == (12, 4)
    assert torch.equal(pruned.stem[0].weight, network.stem[0].weight[[0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15]])


def test_the_network_itself_is_left_as_it_was(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}

    Prunable(network, IMAGES).cut({"right": np.arange(4)})

    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training


def test_a_pruned_network_can_be_pruned_again(network):
    once = Prunable(network, IMAGES).cut({"right": np.arange(8)})
    twice = Prunable(once, IMAGES).cut({"right": np.arange(4)})

    assert twice.right.out_channels == 4
    assert torch.equal(twice.right.weight, network.right.weight[:4])


def test_the_output_is_never_cut(network):
    prunable = Prunable(network, IMAGES)

    assert "head" not in widths(prunable)
    assert prunable.spared["head"] == "its channels are the outputs of the network"


def test_what_is_to_be_ignored_is_spared_with_all_that_goes_along(network):
    prunable = Prunable(network, IMAGES, ignore=["mix"])

    assert "stem.0" not in widths(prunable)
    assert prunable.spared["stem.0"] == "'mix' is to be ignored"


def test_a_module_to_ignore_that_is_not_there_is_named(network):
    with pytest.raises(ModelError, match="no module 'lft' to ignore"):
        Prunable(network, IMAGES, ignore=["lft"])


class Shifted(nn.Module):
    """A shortcut that hands each channel to the next place; one that pads them, as in the first ResNets, is another."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 3)

    def forward(self, images):
        trunk = F.relu(self.first(images))
        shifted = self.second(F.relu(self.inner(trunk))) + torch.roll(trunk, 1, dims=1)
        return self.last(shifted.mean((2, 3)))


def test_channels_that_would_come_out_of_step_are_spared():
    torch.manual_seed(0)
    prunable = Prunable(Shifted().eval(), IMAGES)

    assert list(widths(prunable)) == ["inner"]
    assert "out of step" in prunable.spared["first"]


def test_the_trunk_of_a_resnet_that_pads_its_shortcuts_is_spared_and_its_blocks_are_cut():
    torch.manual_seed(0)
    network = load.load("zoo:resnet8", num_classes=4, sample_shape=(3, 32, 32)).network.module
    prunable = Prunable(network, torch.randn(2, 3, 32, 32))

    assert list(widths(prunable)) == ["layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1"]
    assert "conv1" in prunable.spared


class Counting(nn.Module):
    """A forward with a width written into it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 3)

    def forward(self, images):
        return self.last(self.second(F.relu(self.first(images))).view(len(images), 8, -1).mean(2))


def test_a_layer_whose_width_is_written_into_the_forward_is_spared_with_the_reason():
    prunable = Prunable(Counting().eval(), IMAGES)

    assert list(widths(prunable)) == ["first"]
    assert "does not run when second is cut" in prunable.spared["second"]


def test_a_network_of_which_nothing_can_be_cut_is_refused():
    with pytest.raises(ModelError, match="nothing in this network can be cut"):
        Prunable(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).eval(), IMAGES)


class Attention(nn.Module):
    """Queries, keys and values in one layer, as timm has them."""

    def __init__(self, width: int = 24, heads: int = 4) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens):
        parts = self.qkv(tokens).reshape(*tokens.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 24, 4, stride=4)
        self.place = nn.Parameter(torch.randn(1, 4, 24))
        self.norm = nn.LayerNorm(24)
        self.attention = Attention()
        self.last = nn.Linear(24, 3)

    def forward(self, images):
        tokens = self.patch(images).flatten(2).transpose(1, 2) + self.place
        return self.last((tokens + self.attention(self.norm(tokens))).mean(1))


def test_heads_are_cut_whole_and_their_number_goes_with_them():
    torch.manual_seed(0)
    network = Transformer().eval()
    prunable = Prunable(network, IMAGES)
    assert widths(prunable)["attention"] == (4, 6)

    pruned = prunable.cut({"attention": np.array([0, 2, 3])})

    assert pruned.attention.num_heads == 3
    assert tuple(pruned.attention.qkv.weight.shape) == (54, 24)
    with torch.no_grad():
        network.attention.proj.weight[:, 6:12] = 0
    assert torch.allclose(pruned(IMAGES), network(IMAGES), atol=1e-5)


def test_the_width_of_tokens_is_cut_with_their_places_and_norms():
    torch.manual_seed(0)
    pruned = Prunable(Transformer().eval(), IMAGES).cut({"patch": np.arange(16)})

    assert tuple(pruned.place.shape) == (1, 4, 16)
    assert pruned.norm.normalized_shape == (16,)
    assert pruned.attention.num_heads == 4


@pytest.mark.parametrize("name", ["resnet8", "vgg8", "wrn_16_1", pytest.param("mobilenet_v2", marks=pytest.mark.slow)])
def test_a_reference_network_is_cut_recorded_and_built_again(name):
    def build() -> nn.Module:
        torch.manual_seed(0)
        return load.load(f"zoo:{name}", num_classes=4, sample_shape=(3, 32, 32)).network.module.eval()

    images = torch.randn(2, 3, 32, 32)
    network = build()
    prunable = Prunable(network, images)
    pruned = prunable.cut({group.name: np.arange((group.width + 1) // 2) for group in prunable.groups})

    again = build()
    Surgery.between(network, pruned).apply(again)
    again.load_state_dict(pruned.state_dict())
    assert torch.equal(again(images), pruned(images))
    assert sum(p.numel() for p in pruned.parameters()) < 0.75 * sum(p.numel() for p in network.parameters())


def test_frozen_parameters_can_be_pruned(network):
    network.requires_grad_(False)

    pruned = Prunable(network, IMAGES).cut({"right": np.arange(4)})

    assert pruned.right.out_channels == 4
    assert not any(parameter.requires_grad for parameter in network.parameters())


class Joint(nn.Module):
    """Attention as PyTorch has it, whose width must divide into its heads."""

    def __init__(self, width: int = 48, heads: int = 6) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.last = nn.Linear(width, 3)

    def forward(self, images):
        tokens = self.patch(images).flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        return self.last((tokens + self.attention(normed, normed, normed, need_weights=False)[0]).mean(1))


@pytest.mark.parametrize(("width", "heads"), [(48, 6), (96, 12), (20, 5)])
@pytest.mark.parametrize("round_to", [8, 1])
def test_the_width_of_an_attention_is_cut_so_that_its_heads_stay_of_equal_size(width, heads, round_to):
    torch.manual_seed(0)
    prunable = Prunable(Joint(width, heads).eval(), IMAGES)

    def parameters(module: nn.Module) -> float:
        return float(sum(parameter.numel() for parameter in module.parameters()))

    want = 0.5 * parameters(Joint(width, heads))
    cut = aim.by_cost(prunable, prunable.score(L1()), want=want, cost=parameters, how="global", round_to=round_to)

    assert cut.met
    assert cut.module.attention.num_heads == heads
    assert cut.module.attention.embed_dim % heads == 0


def test_each_head_of_an_attention_loses_the_same_places():
    torch.manual_seed(0)
    network = Joint().eval()
    prunable = Prunable(network, IMAGES)
    assert widths(prunable)["patch"] == (8, 6)

    pruned = prunable.cut({"patch": np.array([0, 1, 3, 6])})

    kept = [8 * head + place for head in range(6) for place in (0, 1, 3, 6)]
    assert torch.equal(pruned.patch.weight, network.patch.weight[kept])
    assert torch.equal(pruned.attention.out_proj.weight, network.attention.out_proj.weight[kept][:, kept])
    queries = network.attention.in_proj_weight[:48]
    assert torch.equal(pruned.attention.in_proj_weight[:24], queries[kept][:, kept])


class Gated(nn.Module):
    """A layer one half of whose outputs gates the other."""

    def __init__(self, *, whole: bool = False) -> None:
        super().__init__()
        self.both, self.mix, self.head = nn.Conv2d(3, 32, 1), nn.Conv2d(16, 12, 1), nn.Linear(12, 5)
        self.whole = whole

    def forward(self, images):
        found = self.both(images)
        if self.whole:
            return self.head(self.mix(F.glu(found, 1)).relu().mean((2, 3)))
        value, gate = found.chunk(2, 1)
        return self.head(self.mix(value * gate.sigmoid()).relu().mean((2, 3)))


def test_the_halves_of_a_gate_are_cut_together():
    prunable = Prunable(Gated().eval(), torch.randn(2, 3, 8, 8))
    group = next(group for group in prunable.groups if group.name == "both")

    pruned = prunable.cut({"both": np.arange(4)})

    assert (group.width, group.unit, group.channels(np.array([3]))) == (16, 2, [3, 19])
    assert (pruned.both.out_channels, pruned.mix.in_channels) == (8, 4)
    assert len(prunable.score(L1())["both"]) == 16


def test_a_gate_that_cannot_be_followed_is_spared():
    prunable = Prunable(Gated(whole=True).eval(), torch.randn(2, 3, 8, 8))

    assert [group.name for group in prunable.groups] == ["mix"]
    assert "does not run when both is cut" in prunable.spared["both"]


class Shuffled(nn.Module):
    """Channels that change places in the forward, beside a layer with a norm over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1)
        self.wide, self.norm, self.head = nn.Linear(16, 24), nn.LayerNorm(24), nn.Linear(24, 5)

    def forward(self, images):
        found = F.channel_shuffle(self.first(images).relu(), 4)
        return self.head(self.norm(self.wide(self.second(found).mean((2, 3)))))


def test_a_norm_in_one_group_does_not_hide_that_another_comes_out_of_step():
    prunable = Prunable(Shuffled().eval(), torch.randn(2, 3, 8, 8))

    assert "out of step" in prunable.spared["first"]
    assert "wide" in [group.name for group in prunable.groups]


class Sequenced(nn.Module):
    """A convolution that an LSTM reads."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(4, 16, 3), nn.Linear(24, 5)
        self.lstm = nn.LSTM(16, 12, batch_first=True, bidirectional=True)

    def forward(self, series):
        return self.head(self.lstm(self.conv(series).relu().transpose(1, 2))[0][:, -1])


def test_what_an_lstm_reads_can_be_cut():
    prunable = Prunable(Sequenced().eval(), torch.randn(2, 4, 10))

    assert [group.name for group in prunable.groups] == ["conv"]
    assert prunable.cut({"conv": np.arange(8)}).lstm.input_size == 8


def test_what_leads_into_a_gru_is_spared_and_the_layers_before_it_are_cut():
    network = nn.Sequential(nn.Conv1d(4, 16, 3), nn.ReLU(), Sequenced())
    network[2].conv, network[2].lstm = nn.Conv1d(16, 16, 3), nn.GRU(16, 12, batch_first=True, bidirectional=True)
    prunable = Prunable(network.eval(), torch.randn(2, 4, 10))

    assert [group.name for group in prunable.groups] == ["0"]
    assert "where its channels lead cannot be followed" in prunable.spared["2.conv"]


class PictureAndNumbers(nn.Module):
    """A picture and some numbers beside it; something for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.numbers = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(4, 8)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, image: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.picture(image) + self.numbers(numbers)[:, :, None, None]))


class Words(nn.Module):
    """The mean of what some tokens mean, where the mask says that there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.wide, self.head = nn.Embedding(20, 6), nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        there = attention_mask[..., None].float()
        return self.head(torch.relu(self.wide((self.words(input_ids) * there).sum(1) / there.sum(1))))


@pytest.mark.parametrize(
    ("network", "example", "layer"),
    [
        (PictureAndNumbers(), {"image": torch.rand(2, 3, 8, 8), "numbers": torch.rand(2, 4)}, "picture"),
        (Words(), {"input_ids": torch.arange(10).view(2, 5), "attention_mask": torch.ones(2, 5).long()}, "wide"),
    ],
    ids=["a picture and numbers", "tokens and their mask"],
)
def test_a_network_of_several_inputs_is_cut_by_what_it_is_called_with(network, example, layer):
    prunable = Prunable(network.eval(), example)
    group = next(group for group in prunable.groups if layer in group.layers)

    cut = prunable.cut({group.name: np.arange(group.width // 2)})

    assert len(cut.get_submodule(layer).weight) == group.width // 2
    assert cut(**example).shape == network(**example).shape
    assert inspection.count_macs(cut, example) < inspection.count_macs(network, example)
