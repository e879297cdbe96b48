"""NumPy archives: what they promise is looked at before it is believed."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from compressor import array_files


def archive_of(file: Path, header: str, data: bytes, *, name: str = "x.npy") -> Path:
    """An archive with one entry: a header as it is written here, and bytes."""
    written = header.encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, b"\x93NUMPY\1\0" + struct.pack("<H", len(written)) + written + data)
    return file


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_wrote(tmp_path: Path, save) -> None:
    arrays = {
        "images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "names": np.array(["north", "south"]),
        "nothing": np.zeros((0, 5), np.float32),
        "one": np.array(3.5),
        "foreign": np.arange(3, dtype=">i8"),
    }
    save(tmp_path / "a.npz", **arrays)

    found = array_files.read(tmp_path / "a.npz")

    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert (found[name] == array).all()
        assert found[name].flags.writeable
    assert list(array_files.read(tmp_path / "a.npz", names=("one", "absent"))) == ["one"]


@pytest.mark.parametrize(
    ("kind", "shape", "said"),
    [
        ("|u1", "(4611686018427387904,)", r"'x' promises 4611686018427387904 bytes and holds"),
        ("<f8", "(3, 2)", "'x' ends too early|'x' promises"),
        ("|u1", "(3,)", "'x' holds more than it promises"),
        ("|u1", "(-4,)", r"'x' has the shape \(-4,\)"),
        ("|O", "(4,)", "'x' holds Python objects"),
        ("|V4", "(1,)", "'x' holds .*, and numbers and strings are read"),
        ("<U0", "(1000000000000,)", "'x' holds <U0, and numbers and strings are read"),
        ("nonsense", "(4,)", "'x' "),
    ],
)
def test_a_header_that_does_not_fit_is_refused_before_memory_is_taken(
    tmp_path: Path, kind: str, shape: str, said: str
) -> None:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n"

    with pytest.raises(ValueError, match=said):
        array_files.read(archive_of(tmp_path / "a.npz", header, b"1234"))


def test_an_archive_that_would_unpack_to_hundreds_of_times_its_size_is_not_unpacked(tmp_path: Path) -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1200000000,), }\n"
    file = archive_of(tmp_path / "a.npz", header, b"0" * 4)
    content = bytearray(file.read_bytes())
    place = content.rindex(b"PK\1\2") + 24  # the size that the list of contents tells
    content[place : place + 4] = struct.pack("<I", 1_200_000_078)
    file.write_bytes(content)

    with pytest.raises(ValueError, match=r"would unpack from .* MB to 1\.2 GB"):
        array_files.read(file)


def test_what_is_no_archive_of_arrays_says_what_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    (tmp_path / "b.npz").write_bytes(b"nothing of the kind")
    text = archive_of(tmp_path / "c.npz", "", b"")
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("README", "read me")

    with pytest.raises(ValueError, match=r"a single array, not an archive: write it with numpy\.savez"):
        array_files.read(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="no NumPy archive, or a damaged one"):
        array_files.read(tmp_path / "b.npz")
    with pytest.raises(ValueError, match="'README' is no array"):
        array_files.read(text)


def test_a_turned_bit_is_noticed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(1000))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[1000] ^= 4
    (tmp_path / "a.npz").write_bytes(content)

    with pytest.raises(ValueError, match="Bad CRC-32"):
        array_files.read(tmp_path / "a.npz")


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.arange(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", stream.getvalue())
        archive.writestr("x", stream.getvalue())

    with pytest.raises(ValueError, match="two arrays are called 'x'"):
        array_files.read(tmp_path / "a.npz")
