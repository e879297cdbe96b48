"""Views: seeded, batched augmentation, the same on every worker, rank and resume; one file for each."""

from compressor.views._contract import MOVED, SPOILED, UNSURE, Effect, MixingView, View
from compressor.views._stream import Draw

__all__ = ["MOVED", "SPOILED", "UNSURE", "Draw", "Effect", "MixingView", "View"]
