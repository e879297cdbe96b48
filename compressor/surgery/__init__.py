"""Structural cuts: which channels can go together, which matter least, how a cut is made, recorded and made again."""
