"""What every filter of ours keeps to."""

MAX_FILTERED_CHARACTERS = 65_536
"""Longest text a filter of ours makes."""
TOO_LONG = "a filter would make too long a text"


class Bounded(Exception):
    """A filter refused to make something large."""
