"""What a sample is told by: its content in any order and split, or its place in the source."""

import hashlib

import numpy as np

from compressor.data.keys import content_keys, source_places
from compressor.data.relabel import RelabelledSamples
from compressor.data.samples import JoinedSamples, SubsetSamples
from tests.named import class_samples, inputs_of


def pictures(count, *, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, 3, 3), dtype=np.uint8)
    return class_samples(pixels, np.zeros(count, np.int64))


def test_a_key_is_the_hash_of_the_stored_bytes():
    samples = pictures(600)

    keys = content_keys(samples)

    assert keys.shape == (600, 16)
    of_one = inputs_of(samples, np.array([513]))[0].tobytes()
    assert keys[513].tobytes() == hashlib.blake2b(of_one, digest_size=16).digest()


def test_keys_survive_another_order_and_other_labels():
    samples, order = pictures(20), np.random.default_rng(3).permutation(20)

    changed = RelabelledSamples(SubsetSamples(samples, order), np.ones(20, np.int64))

    assert (content_keys(changed) == content_keys(samples)[order]).all()


def test_a_place_is_that_in_the_source_through_any_number_of_splits():
    samples = pictures(10)
    kept = SubsetSamples(SubsetSamples(samples, np.array([1, 3, 5, 7, 9])), np.array([0, 2, 4]))
    joined = JoinedSamples(RelabelledSamples(kept, np.zeros(3, np.int64)), pictures(2))

    places, size = source_places(SubsetSamples(joined, np.array([4, 2, 0])))

    assert places.tolist() == [-1, 9, 1]
    assert size == 10
