"""Bias correction is judged on samples that it was not measured on, however few there are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from compressor.quantizers import _bias
from compressor.quantizers._targets import cpu
from compressor.quantizers.static import Static
from tests.unit.quantizers.conftest import Pictures


class Given(Pictures):
    """Some samples, in batches as `TrainingSamples` gives them."""

    def __init__(self, pixels, *, batch: int = 32) -> None:
        self.pixels, self.batch = pixels, batch

    def batches(self):
        for first in range(0, len(self.pixels), self.batch):
            yield {"input": self.pixels[first : first + self.batch]}


def made(source, calibration, folder, **options):
    """Decisions and file of a model whose weights have one scale for each layer, so that their rounding shifts a lot."""
    folder.mkdir()
    prepared = Static(per_channel=False, **options).prepare(
        source, calibration=calibration, cpu=cpu("x86-avx2"), scratch=folder
    )
    prepared.write(folder / "out.onnx")
    return prepared.decisions, (folder / "out.onnx").read_bytes()


def test_one_batch_of_samples_is_enough_to_judge_on(convolutions, tmp_path):
    samples = Given(Pictures(32).pixels)
    (decision,), file = made(convolutions, samples, tmp_path / "auto")
    _, corrected = made(convolutions, samples, tmp_path / "on", correct_bias=True)

    assert decision.choice == "on"
    assert "by cross-validation on 32 calibration samples" in decision.reason
    assert file == corrected, "what ships is measured on all of them"


def test_a_correction_that_other_samples_do_not_confirm_is_left_out(convolutions, tmp_path):
    """One sample is like no other: what is measured with it is wrong for the rest, and the other way round."""
    pixels = np.zeros((8, 3, 8, 8), np.float32)
    pixels[0] = 40.0
    (decision,), file = made(convolutions, Given(pixels + 1e-3 * Pictures(8).pixels), tmp_path / "auto")
    _, plain = made(convolutions, Given(pixels + 1e-3 * Pictures(8).pixels), tmp_path / "off", correct_bias=False)

    assert decision.choice == "off"
    assert file == plain


def test_from_256_samples_on_some_are_held_out_as_ever(convolutions, tmp_path):
    (decision,), _ = made(convolutions, Given(Pictures(256).pixels), tmp_path / "auto")

    assert decision.reason.endswith("on other samples")


def test_a_sample_that_fills_up_a_batch_does_not_judge_itself(convolutions, tmp_path):
    repeated = np.resize(Pictures(3).pixels, (8, 3, 8, 8))
    (decision,), _ = made(convolutions, Given(repeated), tmp_path / "three")
    (alone,), _ = made(convolutions, Given(np.repeat(repeated[:1], 8, axis=0)), tmp_path / "one")

    assert "on 3 calibration samples" in decision.reason
    assert (alone.choice, alone.reason) == ("off", "one calibration sample leaves none to judge it on")


@pytest.mark.parametrize("number", [8, 20])
def test_a_model_of_one_batch_size_is_cross_validated_too(convolutions, tmp_path, number):
    model = onnx.load(convolutions)
    for each in (*model.graph.input, *model.graph.output):
        each.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, tmp_path / "four.onnx")
    (decision,), _ = made(tmp_path / "four.onnx", Given(Pictures(number).pixels, batch=4), tmp_path / "made")

    assert f"by cross-validation on {number} calibration samples" in decision.reason


def test_a_last_batch_is_filled_up_only_where_the_model_takes_no_smaller_one():
    samples = {"input": np.arange(5)}

    filled, short = (_bias._in_batches(samples, 3, fixed=fixed) for fixed in (True, False))

    assert [batch["input"].tolist() for batch in filled] == [[0, 1, 2], [3, 4, 0]]
    assert [batch["input"].tolist() for batch in short] == [[0, 1, 2], [3, 4]]
