"""Runs the command line as `python -m onnxdream`."""

from onnxdream.cli import app

app()
