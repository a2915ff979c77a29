"""Films whose shots are dreamed apart, each as a film of its own, by several processes."""
