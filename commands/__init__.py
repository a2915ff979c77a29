"""What the commands of `cli.py` are made of: their group, options that follow from settings, and messages."""
