"""How one output is written: what comes back of it, how far from what it was, and in how many bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from compressor.teachers._codecs import Codec, Exact, Half, Largest, Levels, Strided, candidates
from compressor.tensors import LOGITS, TensorSpec

MAPS = (5, 24, 37)


def values_for(shape: tuple[int, ...], *, count: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (count, *shape)).astype(np.float32)


def back(codec: Codec, values: np.ndarray) -> np.ndarray:
    """What comes back of values, in the bytes that the codec says it takes."""
    octets = codec.encode(values)
    assert octets.dtype == np.uint8
    assert octets.shape == (len(values), codec.size_bytes)
    return codec.decode(octets)


def enlarged(small: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As a network does it."""
    return F.interpolate(torch.from_numpy(small), size, mode="bilinear", align_corners=False).numpy()


def spec(*shape: int | str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(LOGITS, dtype, shape)


# all of them, in 32 or 16 bits


def test_numbers_in_the_unit_of_the_data_come_back_bit_for_bit():
    numbers = values_for((300,)) * 250_000
    assert np.array_equal(back(Exact((300,)), numbers), numbers)


def test_what_comes_back_can_be_written_to_though_it_was_read_from_bytes():
    octets = np.frombuffer(Exact((3,)).encode(values_for((3,), count=1)).tobytes(), np.uint8)[None]
    assert Exact((3,)).decode(octets).flags.writeable


def test_every_bfloat16_in_the_normal_range_of_float16_is_kept_exactly():
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16).float()
    normal = every[(every.abs() >= 2.0**-14) & (every.abs() <= 65504)]
    assert len(normal) > 7000
    values = normal.numpy()[None]
    assert np.array_equal(back(Half((len(normal),)), values), values)


@pytest.mark.parametrize("codec", [Half((1, 2, 2)), Levels((1, 2, 2))], ids=str)
def test_logits_beyond_the_range_of_float16_go_to_its_ends(codec):
    given = np.array([[[[3e38, -1e6], [65504.0, -3e38]]]], np.float32)
    expected = np.array([[[[65504.0, -65504.0], [65504.0, -65504.0]]]])
    assert back(codec, given) == pytest.approx(expected, rel=1e-6)


# the largest of many


@pytest.mark.parametrize("codec", [Largest(300, 16), Largest(1000, 64), Largest(70_000, 32)], ids=str)
def test_the_largest_keep_their_places_and_the_rest_its_whole_probability(codec):
    logits = values_for(codec.shape, count=20)
    largest = np.argsort(-logits, axis=1)[:, : codec.top]
    as_kept = np.take_along_axis(logits, largest, axis=1).astype(np.float16).astype(np.float32)

    given = back(codec, logits)

    assert np.array_equal(np.take_along_axis(given, largest, axis=1), as_kept)
    np.put_along_axis(logits, largest, as_kept, axis=1)
    rest = 1 - probability(logits, largest)
    assert rest.min() > 0.01
    assert np.allclose(1 - probability(given, largest), rest, rtol=1e-5)


def probability(logits: np.ndarray, classes: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """What some classes of each row have together."""
    soft = torch.from_numpy(logits).double().div(temperature).softmax(dim=1).numpy()
    return np.take_along_axis(soft, classes, axis=1).sum(axis=1)


def test_at_a_higher_temperature_the_rest_has_a_little_more_than_it_had():
    codec = Largest(1000, 64)
    logits = values_for((1000,), count=20)
    largest = np.argsort(-logits, axis=1)[:, :64]
    given = back(codec, logits)
    more = (1 - probability(given, largest, temperature=4)) / (1 - probability(logits, largest, temperature=4))
    assert (more > 1).all()
    assert more.max() < 1.25


# maps in 256 levels


def test_levels_are_at_most_half_a_step_of_each_channels_own_range_away():
    maps = values_for(MAPS) * np.array([1, 10, 100, 0.01, 3], np.float32)[:, None, None]
    ranges = maps.max(axis=(2, 3), keepdims=True) - maps.min(axis=(2, 3), keepdims=True)

    error = np.abs(back(Levels(MAPS), maps) - maps) / ranges

    assert error.max() <= 0.5 / 255 * 1.001
    assert error.max() > 0.45 / 255


def test_the_ends_of_each_channel_are_kept_and_a_flat_one_is_kept_exactly():
    maps = values_for(MAPS)
    maps[:, 2] = np.float32(0.1)
    given = back(Levels(MAPS), maps)
    assert np.array_equal(given[:, 2], maps[:, 2])
    assert np.array_equal(given.min(axis=(2, 3)), maps.min(axis=(2, 3)))
    assert np.allclose(given.max(axis=(2, 3)), maps.max(axis=(2, 3)), rtol=1e-6)


# maps at a stride


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_maps_that_a_network_enlarged_from_that_stride_lose_only_what_float16_rounds(stride):
    small = values_for((5, -(-24 // stride), -(-37 // stride)))
    maps = enlarged(small, MAPS[1:])

    given = back(Strided.of(Half, MAPS, stride=stride), maps)

    assert np.abs(given - maps).max() < 0.01
    assert np.abs(maps).max() > 5


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_small_maps_come_closer_than_an_average_over_each_cell(stride):
    shape = (5, 24, 40)
    small = values_for((5, shape[1] // stride, shape[2] // stride))
    maps = enlarged(small, shape[1:]) + values_for(shape, seed=1) / 10
    averaged = enlarged(F.avg_pool2d(torch.from_numpy(maps), stride).numpy(), shape[1:])

    given = back(Strided.of(Half, shape, stride=stride), maps)

    assert np.square(given - maps).mean() < 0.8 * np.square(averaged - maps).mean()


def test_what_is_the_same_everywhere_is_the_same_at_any_stride():
    maps = np.full((2, *MAPS), 3.25, np.float32)
    for stride in (2, 4, 8):
        assert np.allclose(back(Strided.of(Levels, MAPS, stride=stride), maps), 3.25, atol=1e-3)


# which suit


def test_rows_of_few_classes_are_kept_whole_and_of_many_perhaps_the_largest():
    assert candidates(spec(256)) == [Half((256,))]
    assert candidates(spec(257)) == [Half((257,)), *(Largest(257, top) for top in (64, 32, 16))]


def test_numbers_in_the_unit_of_the_data_have_no_second_choice():
    assert candidates(spec(300), exact=True) == [Exact((300,))]


def test_maps_are_offered_in_fewer_bits_and_at_strides_each_smaller_than_the_one_before():
    offered = candidates(spec(11, 176, 240))
    sizes = [codec.size_bytes for codec in offered]
    assert [str(codec) for codec in offered] == [
        f"{kind}{at}"
        for at in ("", " at a stride of 2", " at a stride of 4", " at a stride of 8")
        for kind in ("float16", "uint8")
    ]
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[0] == 2 * 11 * 176 * 240


def test_the_more_exact_a_codec_of_maps_the_less_it_loses():
    maps = enlarged(values_for((5, 6, 9)), MAPS[1:]) + values_for(MAPS, seed=1) / 10
    errors = [float(np.square(back(codec, maps) - maps).mean()) for codec in candidates(spec(*MAPS))]
    assert len(errors) > 6
    assert errors == pytest.approx(sorted(errors), rel=0.01)


@pytest.mark.parametrize("shape", [(3, 2, 50), (19, 7)])
def test_no_stride_is_offered_where_there_is_none_to_take(shape):
    offered = candidates(spec(*shape))
    assert offered[0] == Half(shape)
    assert not [codec for codec in offered if isinstance(codec, Strided)]


def test_an_output_with_an_axis_that_varies_or_of_whole_numbers_is_not_kept():
    assert candidates(spec(3, "height", "width")) == []
    assert candidates(spec(4, dtype="int64")) == []
