"""Where an ONNX graph says that its tensors lie, if not in the model's own file.

Does not import onnx, and runs where a pack is unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.errors import ModelError
from compressor.files import inside

if TYPE_CHECKING:
    from onnx import GraphProto, TensorProto


def places_of(graph: GraphProto, folder: Path, *, where: Path) -> set[Path]:
    """The files that hold tensors of a graph (initializers, constants, those of branches), whether they are there or not.

    Args:
        graph: Of a model in `folder`.
        folder: What the names in the graph are relative to.
        where: What the error text names.

    Raises:
        ModelError: One of them is said to lie outside of the folder.
    """
    entries = (entry for tensor in _tensors(graph) for entry in tensor.external_data)
    names = {entry.value for entry in entries if entry.key == "location"}
    places = {name: inside(folder, name) for name in names}
    strange = sorted(name for name, place in places.items() if place is None)
    if strange:
        message = f"its weights are said to lie in '{strange[0][:80]}', which is outside of its folder"
        raise ModelError(message, where=str(where), hint="weights lie beside the model, as files of their own")
    return {place for place in places.values() if place is not None}


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor that a graph holds, and those of the subgraphs in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            for subgraph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(subgraph)
