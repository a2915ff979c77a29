"""The paper's experiment: a grid of bundles and pictures, run as one command, and the report on it."""
