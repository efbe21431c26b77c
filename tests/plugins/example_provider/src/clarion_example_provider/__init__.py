"""Text messages over the HTTPS API of a made-up carrier."""

from clarion_example_provider.provider import Factory

__all__ = ["Factory"]
