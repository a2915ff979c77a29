"""Ray clusters: how to join one, what its nodes are fit for, and the files that travel between them."""
