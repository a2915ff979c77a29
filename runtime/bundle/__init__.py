"""Bundles: reading their files, choosing one for a run, their sessions, and the weights of their channels."""
