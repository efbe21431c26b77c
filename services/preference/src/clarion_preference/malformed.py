"""What the readers of single values raise."""


class Malformed(Exception):
    """A value breaks its rule. The text names the rule and never the value."""
