"""Films: dreams that move, from a film or from a picture, as files that can be watched, continued and repeated."""
