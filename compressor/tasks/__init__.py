"""Tasks: one file per meaning that the outputs of a network can have."""
