"""A whole dream: what was asked for, the run, and all that it leaves behind."""
