"""From a bundle and a picture to a dream. Needs numpy, onnxruntime and OpenCV, nothing else heavy."""
