"""The base class of all errors that onnxdream raises."""


class OnnxdreamError(Exception):
    """An error whose message is one line for the user: what happened, to what, and what to do next.

    `exit_code` is the exit status of the command: 1 if something failed, 2 if its options are wrong.
    """

    exit_code = 1
