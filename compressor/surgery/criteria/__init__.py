"""Pruning criteria: how much a channel matters; one file each."""
