"""Settings of the android dispatcher."""

from clarion_channels.dispatcher import DispatcherSettings


class Settings(DispatcherSettings):
    """Nothing of its own."""
