"""The forms of one gradient graph: portable ONNX, and what runs faster on certain providers."""
