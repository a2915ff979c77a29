"""onnxdream: DeepDream whose gradient is plain ONNX."""

__version__ = "0.1.0"
