"""The folding of a Keras network into a forward graph of few kinds of operators."""
