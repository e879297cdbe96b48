"""A copy of an ONNX file from elsewhere that says what it takes, and gives logits.

The normalisation it wants is written into it as the runtimes read it (`compress.input`); probabilities become logits by two
nodes at its end. Nothing else of the graph is touched.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, checker, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_model

from compressor.errors import ModelError
from compressor.models.inspection import external_files, read_onnx
from compressor.models.normalisation import Normalisation

INPUT = "compress.input"
_LARGEST = 2**31 - 1  # bytes of one file of protocol buffers


def says_its_input(file: Path) -> bool:
    """Whether a model says what its input is normalised by, or takes bytes, which are not."""
    model = read_onnx(file)
    takes_bytes = any(each.type.tensor_type.elem_type == onnx.TensorProto.UINT8 for each in model.graph.input)
    return takes_bytes or any(entry.key == INPUT for entry in model.metadata_props)


def require_own_weights(file: Path) -> None:
    """Refuse a model whose weights are said to lie elsewhere than beside it; older ONNX Runtimes read them anywhere.

    Args:
        file: The model; one that cannot be read is left to whoever runs it.

    Raises:
        ModelError: They are.
    """
    try:
        model = onnx.load(str(file), load_external_data=False)
    except (OSError, DecodeError):
        return
    external_files(model, file.parent)


def write_copy(
    file: Path, destination: Path, *, normalisation: Normalisation | None, gives_probabilities: bool, smallest: float
) -> None:
    """Copy a model with its weights in it, or beside it where they are more than one file can hold.

    Args:
        file: A model that ONNX Runtime has loaded.
        destination: Where to.
        normalisation: Of pixels in 0–1, to be applied before the model; None leaves what the model says of itself.
        gives_probabilities: Whether its first output is to become its logarithm.
        smallest: Added to probabilities before that.
    """
    model = read_onnx(file)
    if normalisation is not None:
        plain = normalisation.name == "none"
        told = {
            "normalisation": {
                "baked_in": plain,
                "name": normalisation.name,
                "mean": [] if plain else list(normalisation.mean),
                "std": [] if plain else list(normalisation.std),
            }
        }
        entry = model.metadata_props.add()
        entry.key, entry.value = INPUT, json.dumps(told)
    if gives_probabilities:
        _append_logarithm(model, smallest)
    if _size(model, file) <= _LARGEST:
        _take_in(model, file)
    for beside in external_files(model, file.parent):  # none, once they are in the model
        copied = destination.parent / beside.relative_to(file.parent)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(beside, copied)
    onnx.save(model, str(destination))


def whole(file: Path) -> ModelProto:
    """A model with all its weights in it, also those that lie in files beside it.

    Raises:
        ModelError: They are more than one file can hold.
    """
    model = read_onnx(file)
    size = _size(model, file)
    if size > _LARGEST:
        raise ModelError(
            f"holds {size / 1e9:.1f} GB of weights, and a model above 2 GB cannot be changed",
            where=str(file),
            hint="distil or prune it first",
        )
    _take_in(model, file)
    return model


def _take_in(model: ModelProto, file: Path) -> None:
    """Bring the weights into the model that lie beside it.

    Raises:
        ModelError: They are not there, or cut short.
    """
    try:
        load_external_data_for_model(model, str(file.parent))
    except (checker.ValidationError, OSError, ValueError) as fault:
        reason = str(fault).strip().split("\n")[0]
        message = f"its weights, which lie beside it, cannot be read: {reason}"
        raise ModelError(message, where=str(file), hint="keep them with the model, as they were written") from fault


def _size(model: ModelProto, file: Path) -> int:
    """Bytes of a file and of those beside it that hold its weights."""
    return file.stat().st_size + sum(beside.stat().st_size for beside in external_files(model, file.parent))


def _append_logarithm(model: ModelProto, smallest: float) -> None:
    graph = model.graph
    output = graph.output[0]
    kind = helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type)
    value = np.maximum(np.asarray(smallest, kind), np.finfo(kind).tiny)
    names = {name: f"compress_{name}" for name in ("smallest", "raised", "logits")}
    graph.initializer.append(numpy_helper.from_array(value, names["smallest"]))
    graph.node.append(helper.make_node("Add", [output.name, names["smallest"]], [names["raised"]]))
    graph.node.append(helper.make_node("Log", [names["raised"]], [names["logits"]]))
    output.name = names["logits"]
