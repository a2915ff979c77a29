"""Pictures: files in and out, their formats, and the image that is dreamed at every size."""
