"""Errors of this service."""

from clarion_kit.errors import Unavailable


class SharedLimitsUnavailable(Unavailable):
    """Valkey does not answer in time, or not with an answer. What was asked may have been counted."""

    dependency = "valkey"
