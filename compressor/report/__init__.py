"""The report of a run: what was gained, what was lost, and everything needed to believe it."""
