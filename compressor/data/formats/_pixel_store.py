"""Pictures decoded once, for this run and all later ones: raw uint8 on disk, a checksum for each.

The store of a set is found by a key over names, sizes and times of its files and the size they are brought to. It counts
when `meta.npz` is there, which is written last. A picture is compared with its checksum when it is first read; one that has
been damaged is decoded again from its file. What is read lies in the page cache, so memory stays free.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import array_files
from compressor.data.formats._image_files import UNREADABLE, content, decode, num_threads
from compressor.data.samples import InTable, TargetTable
from compressor.errors import DataError
from compressor.files import opened_here, replacing
from compressor.tensors import Schema, TensorSpec

_PIXELS, _META = "pixels.bin", "meta.npz"


class StoredPictures:
    """Pictures in a store, in the order of their files.

    Attributes:
        hashes: `[N, 32]` uint8, SHA-256 of each file.
        readable: `[N]`, whether the file is a picture.
    """

    def __init__(self, folder: Path, *, side: int, path: Callable[[int], Path]) -> None:
        meta = array_files.read(folder / _META)
        self.hashes: NDArray[np.uint8] = meta["hashes"]
        self.readable: NDArray[np.bool_] = meta["readable"]
        self._checksums: NDArray[np.uint32] = meta["checksums"]
        self._file = folder / _PIXELS
        self._shape = (3, side, side)
        self._path = path
        self._checked = np.zeros(len(self.readable), np.bool_)

    def read(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures at `positions`, `[B, 3, side, side]`.

        Raises:
            DataError: A picture is damaged here, and its file has changed or is gone.
        """
        pixels = np.empty((len(positions), *self._shape), np.uint8)
        with opened_here(self._file, os.O_RDONLY) as file:
            for row, position in zip(pixels, positions.tolist(), strict=True):
                octets = row.reshape(-1)
                read = os.preadv(file, [octets.data], position * octets.size)
                if not self._checked[position]:
                    if read < octets.size or zlib.crc32(octets.data) != self._checksums[position]:
                        row[:] = self._again(position)
                    self._checked[position] = True
        return pixels

    def _again(self, position: int) -> NDArray[np.uint8]:
        path = self._path(position)
        try:
            pixels = decode(content(path), side=self._shape[1])
        except UNREADABLE as fault:
            raise DataError(f"could be read when it was decoded, but no longer: {fault}", where=str(path)) from fault
        if zlib.crc32(pixels.tobytes()) != self._checksums[position]:
            raise DataError("has changed while the set is in use", where=str(path), hint="run it again")
        try:
            with opened_here(self._file, os.O_WRONLY) as file:
                os.pwrite(file, pixels.tobytes(), position * pixels.size)
        except OSError:
            self._checked[position] = False  # right now, and to be looked at again next time
        return pixels


class StoredSamples(InTable):
    """Some of the pictures of a store with their labels.

    Args:
        pictures: Of the whole set.
        first: Position in it where these begin.
        labels: `[N]` of these.
    """

    def __init__(self, pictures: StoredPictures, *, first: int, labels: NDArray[np.int64]) -> None:
        self._pictures, self._first = pictures, first
        self.table = TargetTable.of_labels(labels)
        self.inputs = Schema.of(TensorSpec("image", "uint8", pictures._shape))

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The pictures at `positions`."""
        return {"image": self._pictures.read(self._first + np.asarray(positions, np.int64))}

    def content_hashes(self) -> NDArray[np.uint64]:
        """A number for the content of each file `[N]`, alike for those that are alike."""
        own = self._pictures.hashes[self._first : self._first + len(self)]
        return np.ascontiguousarray(own[:, :8]).view(np.uint64)[:, 0]


def find_or_make(folder: Path, *, count: int, side: int, path: Callable[[int], Path]) -> tuple[StoredPictures, bool]:
    """The store in a folder, decoding every file into it when there is none that is whole.

    Args:
        folder: Of the cache.
        count: Pictures of the set.
        side: Pixels of the square that they are brought to.
        path: Where the file of each lies.

    Returns:
        The pictures, and whether they were there already.

    Raises:
        OSError: The disk is full, or not ours to write.
    """
    found = _found(folder, count=count, side=side, path=path)
    if found is not None:
        return found, True
    hashes, readable = np.zeros((count, 32), np.uint8), np.zeros(count, np.bool_)
    checksums = np.zeros(count, np.uint32)
    size = 3 * side * side
    with (
        replacing(folder / _PIXELS) as written,
        opened_here(written, os.O_RDWR | os.O_CREAT | os.O_EXCL) as file,
    ):
        os.ftruncate(file, count * size)

        def fill(position: int) -> None:
            try:
                raw = content(path(position))
                hashes[position] = np.frombuffer(hashlib.sha256(raw).digest(), np.uint8)
                pixels = decode(raw, side=side).tobytes()
            except UNREADABLE:
                return
            os.pwrite(file, pixels, position * size)
            checksums[position] = zlib.crc32(pixels)
            readable[position] = True

        with ThreadPoolExecutor(num_threads()) as pool:
            for _ in pool.map(fill, range(count), chunksize=64):
                pass
        os.fsync(file)
    with replacing(folder / _META) as meta, meta.open("wb") as stream:
        np.savez(stream, hashes=hashes, readable=readable, checksums=checksums)
    return StoredPictures(folder, side=side, path=path), False


def room_for(size_bytes: int, folder: Path) -> bool:
    """Whether the disk that holds a folder, or the nearest one above it that is there, has that much left and a tenth."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free > 1.1 * size_bytes


def _found(folder: Path, *, count: int, side: int, path: Callable[[int], Path]) -> StoredPictures | None:
    try:
        if (folder / _PIXELS).stat().st_size != count * 3 * side * side:
            return None
        stored = StoredPictures(folder, side=side, path=path)
    except (OSError, ValueError, KeyError):
        return None
    whole = stored.hashes.shape == (count, 32) and stored.readable.shape == stored._checksums.shape == (count,)
    return stored if whole else None
