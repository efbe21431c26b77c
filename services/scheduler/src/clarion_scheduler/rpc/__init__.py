"""The public services of the scheduler."""
