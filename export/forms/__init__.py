"""The forms of one gradient graph: portable ONNX, and forms that run faster on certain providers."""
