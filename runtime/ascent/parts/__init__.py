"""The parts of an update, a file each: when it is wanted, what it does by numpy and as a graph, and what it costs."""
