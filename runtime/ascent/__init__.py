"""Gradient ascent: losses and gradients of pictures of any size, the update, and the loop over octaves."""
