"""Features: pictures, drawn from noise, of what a channel, a layer or a class responds to."""
