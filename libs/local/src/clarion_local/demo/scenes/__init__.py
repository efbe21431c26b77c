"""What else the mesh can do, each part played once for people of its own: a promise, what was seen, and whether it held."""
