"""The choices of a run: settings and their presets, from the command line, a file or Python."""
