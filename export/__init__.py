"""From a Keras backbone to a verified ONNX bundle. Needs TensorFlow."""
