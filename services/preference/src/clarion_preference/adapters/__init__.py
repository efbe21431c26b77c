"""What the daemon keeps its data in."""
