"""Checkpoints of plain weights, read without torch's unpickler: the same tensors, and nothing that a file makes up."""

from __future__ import annotations

import argparse
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compressor.errors import ModelError
from compressor.models import plain_weights, spec

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]


def saved(value: object, file: Path, *, legacy: bool = False) -> Path:
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file


def mapping(path: Path) -> dict[Any, Any]:
    found = plain_weights.read(path)
    assert isinstance(found, dict)
    return found


def same(found: Tensor, expected: Tensor) -> bool:
    rows = [each.detach().contiguous().view(-1).view(torch.uint8) for each in (found, expected)]
    return found.dtype == expected.dtype and found.shape == expected.shape and rows[0].equal(rows[1])


@pytest.mark.parametrize("legacy", [False, True])
def test_every_type_of_numbers_is_read_bit_for_bit(tmp_path: Path, legacy: bool) -> None:
    # PyTorch's legacy files do not know the types that came after them.
    known = [dtype for dtype in DTYPES if not legacy or dtype not in DTYPES[-5:]]
    tensors = {str(dtype): torch.arange(12).view(3, 4).to(dtype) for dtype in known}

    found = mapping(saved(tensors, tmp_path / "t.pt", legacy=legacy))

    assert found.keys() == tensors.keys() != set()
    assert all(same(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("legacy", [False, True])
def test_views_parameters_and_nesting_are_read(tmp_path: Path, legacy: bool) -> None:
    whole = torch.arange(24.0).view(4, 6)
    held = {
        "part": whole[1:3, 2:],
        "turned": whole.t(),
        "wide": torch.ones(1).expand(5),
        "scalar": torch.tensor(3.0),
        "none": torch.zeros(0, 3),
        "parameter": nn.Parameter(whole.clone()),
        "deeper": {"network": nn.Linear(2, 2).state_dict()},
        "in a list": [torch.ones(3), (torch.zeros(2, dtype=torch.float64),)],
        "in arguments": argparse.Namespace(weight=torch.ones(4, dtype=torch.int16)),
    }

    found = mapping(saved(held, tmp_path / "t.pt", legacy=legacy))

    for name in ("part", "turned", "wide", "scalar", "none", "parameter"):
        assert same(found[name], held[name]), name  # type: ignore[arg-type]
    assert found["part"].data_ptr() - found["turned"].data_ptr() == 8 * 4
    assert list(found["deeper"]["network"]) == ["weight", "bias"]


def test_a_file_of_a_big_endian_machine_is_turned_around(tmp_path: Path) -> None:
    saved({"weight": torch.tensor([1.5, -2.0]), "one": torch.tensor([7], dtype=torch.uint8)}, tmp_path / "t.pt")
    with zipfile.ZipFile(tmp_path / "t.pt") as there, zipfile.ZipFile(tmp_path / "big.pt", "w") as turned:
        for name in there.namelist():
            content = there.read(name)
            if name.endswith("byteorder"):
                content = b"big"
            elif name.endswith("data/0"):
                content = np.frombuffer(content, "<f4").astype(">f4").tobytes()
            turned.writestr(name, content)

    found = mapping(tmp_path / "big.pt")

    assert found["weight"].tolist() == [1.5, -2.0]
    assert found["one"].tolist() == [7]


def test_what_scripts_keep_beside_weights_is_left_as_a_record(tmp_path: Path) -> None:
    beside = {"best": np.float64(0.5), "curve": np.arange(3.0), "dtype": torch.float32, "history": [1, 2]}

    found = mapping(saved({"weight": torch.ones(2), **beside}, tmp_path / "t.pt"))

    assert found["weight"].tolist() == [1, 1]
    assert not isinstance(found["best"], np.generic)
    assert not isinstance(found["curve"], np.ndarray)


def crafted(file: Path, content: bytes, *, storages: dict[str, bytes] | None = None, packed: bool = False) -> Path:
    """A zip file like torch's around a pickle of one's own."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr("x/data.pkl", content)
        for name, raw in (storages or {}).items():
            archive.writestr(f"x/data/{name}", raw)
    return file


def tensor_pickle(*, num_items: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    class Storage:
        pass

    class Rebuilt:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, strides, False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, each: object) -> object:
            return ("storage", torch.FloatStorage, "0", "cpu", num_items) if isinstance(each, Storage) else None

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump({"weight": Rebuilt()})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_items": 1 << 40}, "cut short"),
        ({"num_items": 5}, "cut short"),
        ({"num_items": -1}, "outside of its storage|without a shape"),
        ({"offset": 1}, "outside of its storage"),
        ({"offset": 1 << 61}, "outside of its storage"),
        ({"offset": -1}, "without a shape"),
        ({"shape": (3, 2)}, "outside of its storage"),
        ({"shape": (1 << 40, 1 << 40), "strides": (0, 0)}, "without a shape"),
        ({"shape": (-2, -2)}, "without a shape"),
        ({"strides": (1 << 60, 1)}, "outside of its storage"),
        ({"strides": (-1, 1)}, "without a shape"),
        ({"strides": (1,)}, "without a shape"),
    ],
)
def test_a_tensor_that_reaches_beyond_what_the_file_holds_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    told = {"num_items": 4, "offset": 0, "shape": (2, 2), "strides": (2, 1)}
    assert mapping(crafted(tmp_path / "t.pt", tensor_pickle(**told), storages={"0": bytes(16)}))["weight"].shape == (
        2,
        2,
    )

    file = crafted(tmp_path / "x.pt", tensor_pickle(**{**told, **changes}), storages={"0": bytes(16)})

    with pytest.raises(ModelError, match=message):
        plain_weights.read(file)


def test_entries_that_torch_would_not_have_packed_are_refused(tmp_path: Path) -> None:
    """So that a small file cannot unpack to one that fills the memory."""
    content = tensor_pickle(num_items=1 << 22, offset=0, shape=(1 << 22,), strides=(1,))

    with pytest.raises(ModelError, match=r"is compressed, as torch never writes it.*save it again with torch\.save"):
        plain_weights.read(crafted(tmp_path / "t.pt", content, storages={"0": bytes(1 << 24)}, packed=True))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_nests_for_ever_is_no_checkpoint(tmp_path: Path, legacy: bool) -> None:
    deep = b"\x80\2})" + b"\x85" * 300_000 + b"K\1s."
    file = crafted(tmp_path / "deep.pt", deep)
    if legacy:
        saved({}, file, legacy=True)
        head, tail = file.read_bytes().split(b"\x80\x02}q\x00.", 1)
        file.write_bytes(head + deep + tail)

    with pytest.raises(ModelError, match="damaged or truncated"):
        spec.parse(str(file))


def test_an_object_by_its_address_is_a_record_and_is_not_followed(tmp_path: Path) -> None:
    """NumPy's own unpickling raises the count of an object at 0x4141414141414141, and the process dies."""
    field = b"}X\1\0\0\0a(cnumpy\ndtype\nX\2\0\0\0O8\x89\x88\x87RK\0ts"
    dtype = b"cnumpy\ndtype\nX\2\0\0\0V8\x89\x88\x87R(K\3X\1\0\0\0|NX\1\0\0\0a\x85" + field + b"K\x08K\1K\x3dtb"
    scalar = (
        b"cnumpy._core.multiarray\nscalar\n" + dtype + b"c_codecs\nencode\nX\x08\0\0\0AAAAAAAAX\6\0\0\0latin1\x86R\x86R"
    )

    file = crafted(tmp_path / "t.pt", b"\x80\2}X\4\0\0\0best" + scalar + b"s.")

    assert spec.parse(str(file)).kind == "state_dict"
    assert list(mapping(file)) == ["best"]
