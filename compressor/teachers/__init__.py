"""One file per kind of teacher: what the student should say about a batch."""
