"""A bundle: its file, the facts it states of itself, which one a run takes, and the weights of its channels."""
