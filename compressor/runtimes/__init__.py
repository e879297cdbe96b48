"""Runtimes: one file per way to execute a model; all speak NumPy, batch in, outputs out."""
