"""The hardware, the onnxruntime providers and sessions, and the device memory that a run computes with."""
