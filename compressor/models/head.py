"""A classifier's last layer, replaced: some of its classes, and a dustbin for all others (Hinton et al. 2015, section 5).

The builder is asked for the network with another number of outputs, so that the artifact's reference builds it again.

Not covered: networks with several heads, and those whose answers are not the outputs of one linear layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compressor.errors import ModelError
from compressor.models import checkpoint
from compressor.models.build import Builder, Fit, Loaded
from compressor.models.network import Network
from compressor.surgery.record import Surgery

if TYPE_CHECKING:
    from compressor.tensors import Inputs

_TOLERANCE = 1e-3


def with_dustbin(loaded: Loaded, classes: Sequence[int], *, oversampled: float, inputs: Inputs) -> Loaded:
    """The same network for some of its classes, with one output more for all others.

    The rows of its classes are copied from the old last layer. The dustbin's row is the mean of the other classes' rows, its
    bias grown by log(their number / oversampled): what log Σ exp of their logits is where they are equal, under the
    share that the dustbin has in the training set. All other weights stay.

    Args:
        loaded: A trained network of all classes.
        classes: Those to keep, by position.
        oversampled: How many times too often samples of these classes stand in the training set.
        inputs: Real samples, on which old and new answers are compared.

    Raises:
        ModelError: Its builder fixes the number of outputs, or they are not those of a last linear layer.
    """
    with torch.no_grad():
        old_BK = loaded.network(inputs)
    only = inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
    num_classes, shape = old_BK.shape[1], tuple(only.shape[1:])
    head = _head_of(loaded, num_classes, shape)
    builder, module = _rebuilt(loaded, len(classes) + 1, shape)
    surgery = _resized(loaded.surgery, head, len(classes) + 1)
    if surgery is not None:
        surgery.apply(module)
    state = loaded.network.module.state_dict()
    rows = torch.tensor(list(classes))
    rest = torch.tensor([each for each in range(num_classes) if each not in set(classes)])
    for name in ("weight", "bias"):
        key = f"{head}.{name}".removeprefix(".")
        if key not in state:
            continue
        dustbin = state[key][rest].mean(dim=0, keepdim=True)
        if name == "bias":
            dustbin = dustbin + math.log(len(rest) / oversampled)
        state[key] = torch.cat([state[key][rows], dustbin])
    try:
        module.load_state_dict(state)
    except RuntimeError as fault:
        raise _not_alike(loaded, str(fault).strip().split("\n")[-1].strip()) from fault
    network = Network(module, loaded.network.normalisation).eval()
    with torch.no_grad():
        new_BC = network(inputs)
    spread = float(old_BK.std()) or 1.0
    if new_BC.shape != (len(inputs), len(classes) + 1) or not torch.allclose(
        new_BC[:, :-1], old_BK[:, rows], rtol=_TOLERANCE, atol=_TOLERANCE * spread
    ):
        raise _not_alike(loaded, f"the answers are not the outputs of '{head}', its last linear layer")
    return replace(loaded, network=network, builder=builder, surgery=surgery, trained=True, steps=())


def _head_of(loaded: Loaded, num_classes: int, shape: tuple[int, ...]) -> str:
    """The path of the layer that has a row for each class: the one that changes with their number."""
    _, wider = _rebuilt(loaded, num_classes + 1, shape)
    whole = checkpoint.rebuild(loaded.builder, Fit(num_classes, shape)).state_dict()
    changed = {key for key, tensor in wider.state_dict().items() if key in whole and whole[key].shape != tensor.shape}
    layers = {key.rpartition(".")[0] for key in changed}
    if not layers:
        raise _fixes_outputs(loaded)
    if len(layers) > 1:
        raise _not_alike(loaded, f"several layers change with the number of classes: {', '.join(sorted(layers))}")
    (path,) = layers
    layer = loaded.network.module.get_submodule(path)
    linear = isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1))
    if not linear or len(layer.get_parameter("weight")) != num_classes:
        raise _not_alike(loaded, f"'{path}' is a {type(layer).__name__}, not a linear layer with a row for each class")
    return path


def _rebuilt(loaded: Loaded, num_classes: int, shape: tuple[int, ...]) -> tuple[Builder, nn.Module]:
    builder = loaded.builder
    if builder.form in ("file", "combined"):
        what = f"a whole {builder.target} network in a file" if builder.form == "file" else "several networks in one"
        raise ModelError(
            f"{what} has no builder that could give it other outputs",
            where=loaded.origin,
            hint="a generalist needs the code that builds it: --teacher t.pt --teacher-arch file.py:callable",
        )
    library = builder.form == "library" and builder.target.partition(":")[0] in ("timm", "torchvision")
    if not library and "num_classes" not in builder.options:
        raise _fixes_outputs(loaded)
    changed = replace(builder, options={**builder.options, "num_classes": num_classes})
    return changed, checkpoint.rebuild(changed, Fit(num_classes, shape))


def _resized(surgery: Surgery | None, head: str, num_classes: int) -> Surgery | None:
    """The record of a pruned network's cut, for another number of outputs."""
    if surgery is None:
        return None
    shapes = {key: shape for key, shape in surgery.shapes.items() if key.rpartition(".")[0] == head}
    return surgery.then(Surgery({}, {key: (num_classes, *shape[1:]) for key, shape in shapes.items()}))


def _fixes_outputs(loaded: Loaded) -> ModelError:
    return ModelError(
        "the builder fixes the number of outputs, and a specialist needs fewer",
        where=loaded.origin,
        hint="let its builder take num_classes: def build(num_classes)",
    )


def _not_alike(loaded: Loaded, why: str) -> ModelError:
    hint = "a generalist must end in one linear layer with a row for each class"
    return ModelError(f"its last layer cannot be replaced: {why}", where=loaded.origin, hint=hint)
