"""A folder for a device: what is in it, and how it is checked there."""
