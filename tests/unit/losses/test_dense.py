"""cwd and pkd, by hand."""

from __future__ import annotations

import pytest
import torch

from compressor.errors import InputError, ModelError
from compressor.losses.cwd import CWD, _channel_divergence
from compressor.losses.pkd import PKD
from compressor.tensors import Outputs


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cwd_is_the_mean_divergence_of_channels_over_their_places():
    mine, theirs = maps(2, 3, 2, 2), maps(2, 3, 2, 2, seed=1)
    by_hand = 0.0
    for image in range(2):
        for channel in range(3):
            p = (theirs[image, channel].flatten() / 4).softmax(0)
            q = (mine[image, channel].flatten() / 4).softmax(0)
            by_hand += float((p * (p / q).log()).sum()) * 16 / 6

    assert float(_channel_divergence(mine, theirs, temperature=4.0)) == pytest.approx(by_hand, rel=1e-4)


def test_cwd_does_not_see_what_is_added_to_a_whole_channel():
    mine = maps(2, 3, 4, 4)

    assert float(_channel_divergence(mine, mine + 5.0, temperature=1.0)) == pytest.approx(0.0, abs=1e-5)


def test_cwd_of_logits_reads_no_modules_and_needs_places():
    loss = CWD(pairs="logits", scale=3.0)
    mine, theirs = maps(2, 3, 4, 4), maps(2, 3, 4, 4, seed=1)

    assert loss.settle({}, {}) == "the logits of each pixel"
    assert loss.reads == ()
    torch.testing.assert_close(
        loss(Outputs.of(mine), Outputs.of(theirs), None), 3.0 * _channel_divergence(mine, theirs, temperature=4.0)
    )
    with pytest.raises(ModelError, match="have no places"):
        loss(Outputs.of(maps(2, 3)), Outputs.of(maps(2, 3)), None)
    with pytest.raises(InputError, match="must be above 0"):
        CWD(temperature=0.0)


def test_pkd_is_one_minus_the_correlation_of_channels():
    loss = PKD(pairs=[["a", "x"]], scale=1.0)
    loss.settle({"a": (2, 3, 4, 4)}, {"x": (2, 3, 4, 4)})
    mine, theirs = maps(2, 3, 4, 4), maps(2, 3, 4, 4, seed=1)
    by_hand = [
        1 - torch.corrcoef(torch.stack([mine[:, channel].flatten(), theirs[:, channel].flatten()]))[0, 1]
        for channel in range(3)
    ]

    torch.testing.assert_close(loss.compare(0, mine, theirs), torch.stack(by_hand).mean(), rtol=1e-4, atol=1e-5)
    assert float(loss.compare(0, mine, 7.0 * mine - 2.0)) == pytest.approx(0.0, abs=1e-5)
