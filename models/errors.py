"""The root of all that onnxdream itself refuses or fails at."""


class OnnxdreamError(Exception):
    """The message is one line for the user: what happened, to what, and what to do next.

    `exit_code` is what a command ends with: 1 where something failed, 2 where its options are at fault.
    """

    exit_code = 1
