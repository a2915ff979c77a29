"""The root of all that onnxdream itself refuses or fails at."""


class OnnxdreamError(Exception):
    """The message is one line for the user: what happened, to what, and what to do next."""
