"""Views: seeded, batched augmentation, the same on every worker, rank and resume."""
