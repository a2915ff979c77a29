"""Pictures: reading and writing their files, their formats, and the images that are dreamed at every size."""
