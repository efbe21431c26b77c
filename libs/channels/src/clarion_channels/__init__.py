"""Provider port, outcome taxonomy, dispatch engine and the built-in providers."""
