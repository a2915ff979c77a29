"""Processes that share a piece of work: a driver that gives out tasks, and workers that do one after another."""
