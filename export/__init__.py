"""Exports a Keras backbone as a verified ONNX bundle. Needs TensorFlow."""
