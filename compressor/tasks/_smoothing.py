"""Label smoothing: the share of each hard label that training gives away (Szegedy et al. 2016, arXiv 1512.00567)."""

from __future__ import annotations

from compressor.errors import InputError


def checked(share: float) -> float:
    """The share as it is.

    Raises:
        InputError: It is not in 0–1 (1 excluded).
    """
    if not 0.0 <= share < 1.0:
        raise InputError(
            f"{share} is no share of a label",
            where="label_smoothing",
            hint="write a number from 0 to below 1, usually 0.1",
        )
    return share
