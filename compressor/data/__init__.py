"""Data sets: formats to read them, splits, seeded views, and batches in order."""
