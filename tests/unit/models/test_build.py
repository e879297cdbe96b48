"""Builders: what a file offers, what a signature takes, and what is said when it does not work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compressor.errors import InputError, ModelError
from compressor.models import build, spec
from compressor.models.build import Builder, Fit
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation

NET = "class Net(nn.Module):\n    def __init__(self, num_classes=2):\n        super().__init__()\n"
BLOCK = "class Block(nn.Module):\n    def __init__(self, width):\n        super().__init__()\n"
HELPER = "def conv3x3(inside, outside):\n    return nn.Conv2d(inside, outside, 3)\n"


def built(tmp_path: Path, code: str, *, attr: str = "", **options: object) -> tuple[nn.Module, Builder]:
    (tmp_path / "s.py").write_text("import torch\nfrom torch import nn\n" + code)
    found = spec.parse(f"{tmp_path / 's.py'}{attr}")
    return build.from_source(found, fit=Fit(5, (1, 4, 4)), options=options)


@pytest.mark.parametrize(
    ("code", "target"),
    [
        (NET + "def build(num_classes):\n    return Net(num_classes)\ndef other():\n    return Net()\n", "build"),
        (NET, "Net"),
        (NET + BLOCK, "Net"),
        (NET + HELPER, "Net"),
        (NET + "def mine():\n    return Net()\n", "mine"),
        (NET + HELPER + "def mine():\n    return Net()\n", "mine"),
        (NET + "def s():\n    return Net()\ndef t():\n    return Net()\n", "s"),
        (NET + "model = Net(7)\n", "model"),
        ("def _hidden():\n    return 1\ndef mine():\n    return nn.Linear(1, 1)\n", "mine"),
    ],
)
def test_a_file_without_a_callable_named_gives_the_one_that_is_meant(tmp_path: Path, code: str, target: str) -> None:
    module, builder = built(tmp_path, code)

    assert isinstance(module, nn.Module)
    assert builder.target == target
    assert type(built(tmp_path, code, attr=f":{builder.target}")[0]) is not None


@pytest.mark.parametrize(
    "code",
    [
        NET + NET.replace("Net", "Other"),
        NET + "def small():\n    return Net()\ndef large():\n    return Net()\n",
        BLOCK + BLOCK.replace("Block", "Other"),
    ],
)
def test_an_ambiguous_file_is_refused_with_all_its_callables(tmp_path: Path, code: str) -> None:
    names = ", ".join(
        line.split()[1].partition("(")[0] for line in code.splitlines() if line.startswith(("class", "def"))
    )

    with pytest.raises(ModelError, match=rf"several callables: {names} — say which: .*s\.py:"):
        built(tmp_path, code)


def test_a_file_that_defines_nothing_is_told_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no function or class — add def build\(num_classes\)"):
        built(tmp_path, "x = 1\n")


def test_an_unknown_callable_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no callable 'biuld' in this file — did you mean 'build'"):
        built(tmp_path, "def build():\n    return nn.Linear(1, 1)\n", attr=":biuld")


def test_a_builder_is_given_what_it_takes_of_the_data_and_the_options(tmp_path: Path) -> None:
    code = "def build(num_classes, in_chans, img_size, width=1):\n    return nn.Linear(num_classes, img_size * width)\n"

    module, builder = built(tmp_path, code, width=3)

    assert module.weight.shape == (12, 5)
    assert builder.options == {"num_classes": 5, "in_chans": 1, "img_size": 4, "width": 3}


def test_the_users_option_wins_over_the_data(tmp_path: Path) -> None:
    _module, builder = built(tmp_path, NET, num_classes=9)

    assert builder.options == {"num_classes": 9}


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        (
            "def build(width=1):\n    return nn.Linear(1, 1)\n",
            {"widht": 2},
            r"no option 'widht' — did you mean 'width'\?",
        ),
        (
            "def build(depth):\n    return nn.Linear(1, 1)\n",
            {},
            "needs 'depth' — add it to the model's options: depth = ",
        ),
        ("def build():\n    raise KeyError('x')\n", {}, "the builder fails: KeyError: 'x'"),
        ("class Odd(Exception):\n    pass\ndef build():\n    raise Odd('y')\n", {}, "the builder fails: Odd: y"),
        ("def build():\n    return 3\n", {}, r"returns int, not an nn\.Module"),
        ("def build():\n    return nn.Linear\n", {}, r"returns type, not an nn\.Module"),
    ],
)
def test_a_builder_that_does_not_work_says_why(
    tmp_path: Path, code: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        built(tmp_path, code, **options)


def test_a_builder_that_takes_anything_is_given_the_options(tmp_path: Path) -> None:
    _module, builder = built(tmp_path, "def build(**kwargs):\n    return nn.Linear(1, kwargs['width'])\n", width=3)

    assert builder.options == {"width": 3}


def test_stopping_while_a_builder_runs_is_no_fault_of_the_builder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path, "def build():\n    raise KeyboardInterrupt\n")


def test_a_file_that_does_not_run_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ModuleNotFoundError: No module named 'nowhere'"):
        built(tmp_path, "import nowhere\n")


def test_a_builder_may_import_its_siblings_when_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("WIDTH = 6")

    module, builder = built(tmp_path, "def build():\n    from late import WIDTH\n    return nn.Linear(1, WIDTH)\n")

    assert module.weight.shape == (6, 1)
    assert [file.name for file in builder.sources] == ["s.py", "late.py"]


def test_a_timm_network_fits_the_data() -> None:
    module, builder = build.from_library(spec.parse("timm:resnet10t"), fit=Fit(5, (1, 32, 32)), options={})

    assert module.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 5)
    assert builder.target == "timm:resnet10t"


@pytest.mark.parametrize(
    "name", ["fastvit_t8", "efficientvit_b0", "resmlp_12_224", "vit_tiny_patch16_224", "levit_128s"]
)
def test_a_timm_network_is_made_for_the_size_of_the_data_where_it_takes_one_size_alone(name: str) -> None:
    module, _ = build.from_library(spec.parse(f"timm:{name}"), fit=Fit(5, (3, 64, 64)), options={})

    assert module.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


def test_a_torchvision_network_fits_the_data() -> None:
    fit = Fit(5, (3, 32, 32))
    module, _ = build.from_library(spec.parse("torchvision:squeezenet1_1"), fit=fit, options={})

    assert module.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


@pytest.mark.parametrize("text", ["timm:resnet_18", "torchvision:resnet_18"])
def test_a_misspelt_library_network_is_answered_with_the_nearest(text: str) -> None:
    with pytest.raises(ModelError, match="has no model 'resnet_18' — did you mean 'resnet18'"):
        build.from_library(spec.parse(text), fit=Fit(), options={})


@pytest.mark.parametrize("text", ["timm:resnet18", "torchvision:resnet18"])
def test_an_option_a_library_does_not_take_is_told(text: str) -> None:
    with pytest.raises(ModelError, match=r"cannot make it: TypeError: .*'widht'"):
        build.from_library(spec.parse(text), fit=Fit(), options={"widht": 3})


@pytest.mark.parametrize("text", ["nowhere.at.all:build", "torch.nn:Linaer"])
def test_a_module_or_attribute_that_is_not_there_is_told(text: str) -> None:
    with pytest.raises(ModelError, match="cannot be imported"):
        build.from_module(spec.parse(text), fit=Fit(), options={})


def test_a_callable_of_an_installed_package_is_called() -> None:
    module, builder = build.from_module(
        spec.parse("torch.nn:Linear"), fit=Fit(), options={"in_features": 2, "out_features": 3}
    )

    assert module.weight.shape == (3, 2)
    assert builder.target == "torch.nn:Linear"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), r"gives outputs \[2, 4\] where \[2, 5\] is needed"),
        (nn.Conv2d(1, 4, 3), r"gives outputs \[2, 4, 4, 4\] where .* for each pixel"),
        (nn.Conv2d(3, 5, 3), r"does not take a batch of shape \[2, 1, 4, 4\]"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_told_before_it_is_trained(module: nn.Module, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        build.check_forward(Network(module, Normalisation("none", (), ())), fit=Fit(5, (1, 4, 4)), where="s.py")


def test_trying_a_network_leaves_its_mode_and_statistics() -> None:
    network = Network(nn.Sequential(nn.BatchNorm2d(1), nn.Flatten()), Normalisation("none", (), ())).train()

    build.check_forward(network, fit=Fit(None, (1, 4, 4)), where="s.py")

    assert network.training
    assert network.module[0].num_batches_tracked == 0


def test_a_row_of_numbers_is_offered_as_features() -> None:
    assert Fit(3, (7,)).offered() == {"num_classes": 3, "in_features": 7, "input_size": 7}
    assert Fit().offered() == {}


def test_a_series_is_offered_as_channels_and_a_length() -> None:
    assert Fit(3, (4, 64)).offered() == {
        "num_classes": 3,
        "in_channels": 4,
        "in_chans": 4,
        "input_channels": 4,
        "length": 64,
        "seq_len": 64,
    }
