"""Quantizers: fewer bits for weights and activations; one file each."""
