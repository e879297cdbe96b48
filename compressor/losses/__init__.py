"""One file per loss: how two answers to a batch are compared."""
