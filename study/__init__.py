"""The paper's experiment: runs a grid of bundles and pictures with one command, and writes a report about it."""
