"""How the embedded weights were made: pictures drawn by formula, and the training on them.

Part of the repository, not of the installed package. Needs OpenCV and the `export` extra.
"""
