"""onnxdream: DeepDream on ONNX Runtime; the losses and their gradient are exported once as plain ONNX."""

__version__ = "0.1.0"
