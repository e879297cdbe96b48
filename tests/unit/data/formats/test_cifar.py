"""CIFAR's python batches, genuine in form, damaged and malicious."""

import pickle

import numpy as np
import pytest

from compressor.data.formats.cifar import cifar
from compressor.errors import DataError, TrustError
from tests.named import inputs_of, labels_of


def _batch(number, labels="labels", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (number, 3072), dtype=np.uint8)
    return {b"data": pixels, labels.encode(): [position % 2 for position in range(number)], b"batch_label": b"made up"}


def _write_cifar10(folder):
    folder.mkdir()
    for number in range(1, 6):
        # Protocol 2 is what the authors' files use.
        (folder / f"data_batch_{number}").write_bytes(pickle.dumps(_batch(2, seed=number), protocol=2))
    (folder / "test_batch").write_bytes(pickle.dumps(_batch(3), protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog"]}, protocol=2))
    return folder


def _python2_batch(number):
    """The opcodes as Python 2 wrote them: names of NumPy 1, byte strings as SHORT_BINSTRING and BINSTRING."""
    shape = b"K" + bytes([number]) + b"M" + (3072).to_bytes(2, "little") + b"\x86"
    raw = bytes(range(256)) * 12 * number
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R(K\1"
        + shape
        + b"cnumpy\ndtype\nU\2u1K\0K\1\x87R(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T"
        + len(raw).to_bytes(4, "little")
        + raw
        + b"tb"
    )
    return b"\x80\2}(U\4data" + array + b"U\6labels](" + b"K\1" * number + b"eu."


def test_five_training_batches_and_one_of_test_are_read(tmp_path):
    splits = cifar(_write_cifar10(tmp_path / "cifar-10-batches-py"))

    assert (len(splits.train), len(splits.test)) == (10, 3)
    assert splits.classes == ("cat", "dog")
    expected = _batch(2, seed=4)[b"data"][1].reshape(3, 32, 32)
    assert np.array_equal(inputs_of(splits.train, np.array([7]))[0], expected)
    assert labels_of(splits.train).tolist() == [0, 1] * 5


def test_the_folder_above_is_accepted(tmp_path):
    folder = _write_cifar10(tmp_path / "cifar-10-batches-py")

    assert cifar(tmp_path).fingerprint == cifar(folder).fingerprint


def test_batches_as_python_2_wrote_them_are_read(tmp_path):
    folder = _write_cifar10(tmp_path / "c")
    (folder / "test_batch").write_bytes(_python2_batch(2))

    splits = cifar(folder)

    assert inputs_of(splits.test, np.array([1]))[0, 0, 0].tolist() == list(range(32))
    assert labels_of(splits.test).tolist() == [1, 1]


def test_cifar_100_is_read_with_its_fine_labels(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, number in (("train", 4), ("test", 2)):
        (folder / name).write_bytes(pickle.dumps(_batch(number, "fine_labels"), protocol=2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple", "bear"]}, protocol=2))

    splits = cifar(tmp_path)

    assert (len(splits.train), len(splits.test)) == (4, 2)
    assert splits.classes == ("apple", "bear")


class _Malicious:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (type(self.file).touch, (self.file,))


def test_a_pickle_that_asks_for_anything_else_is_refused_before_it_runs(tmp_path):
    folder = _write_cifar10(tmp_path / "c")
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": _Malicious(tmp_path / "ran")}, protocol=2))

    with pytest.raises(TrustError, match=r"test_batch: the pickle asks for .* which no CIFAR batch needs"):
        cifar(folder)
    assert not (tmp_path / "ran").exists()


def test_eval_is_refused(tmp_path):
    folder = _write_cifar10(tmp_path / "c")
    (folder / "batches.meta").write_bytes(b"cbuiltins\neval\n(S'1/0'\ntR.")

    with pytest.raises(TrustError, match=r"builtins\.eval"):
        cifar(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(_batch(3), protocol=2)[:500], "is damaged or no python batch"),
        (b"not a pickle", "is damaged or no python batch"),
        (b"", "is damaged or no python batch"),
        (pickle.dumps([1, 2]), "holds a list, not a dict"),
        (pickle.dumps({b"labels": [1]}), "holds no data and labels"),
        (pickle.dumps({b"data": np.zeros((1, 3072)), b"labels": [1]}, protocol=2), "not of unsigned bytes"),
        (pickle.dumps({b"data": np.zeros((1, 99), np.uint8), b"labels": [1]}, protocol=2), r"data \(1, 99\) for 1"),
        (pickle.dumps({b"data": _batch(1)[b"data"], b"labels": ["x"]}, protocol=2), "not whole numbers"),
    ],
)
def test_a_damaged_batch_is_named_with_what_is_wrong(tmp_path, content, message):
    folder = _write_cifar10(tmp_path / "c")
    (folder / "test_batch").write_bytes(content)

    with pytest.raises(DataError, match=f"test_batch: .*{message}"):
        cifar(folder)


def test_a_missing_batch_is_named(tmp_path):
    folder = _write_cifar10(tmp_path / "c")
    (folder / "data_batch_3").unlink()

    with pytest.raises(DataError, match="data_batch_3: cannot be read: No such file"):
        cifar(folder)


def test_a_folder_with_neither_set_says_what_it_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"neither batches\.meta"):
        cifar(tmp_path)
