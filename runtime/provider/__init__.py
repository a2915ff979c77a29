"""What a run computes on: the hardware, onnxruntime's providers and sessions, memory on the device."""
