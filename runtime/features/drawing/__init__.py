"""Drawing features: ascent on the parameters of pictures, which the network sees through views."""
