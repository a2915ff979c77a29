"""Processes that share a piece of work, a driver and its workers; and Ctrl-C in a process that belongs to others."""
