"""Dreaming one frame after another: of a film, of a zoom into a picture, and of a travel between looks."""
