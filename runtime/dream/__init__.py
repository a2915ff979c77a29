"""A whole dream: the request, the run, and the files that it writes."""
