"""The parts of an update, one file each: which settings need it, its numpy and its graph form, and its memory."""
