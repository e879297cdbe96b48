"""Names to networks: what a model spec means, how it is loaded, kept and tapped."""
