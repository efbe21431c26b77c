"""When a broken stream of answers is opened again where it stopped. Pure."""

from datetime import timedelta

import grpc

from clarion_client.errors import ClarionError, DeadlineExceeded, Internal, Unavailable
from clarion_client.reasons import ErrorReason

OUTAGE = timedelta(minutes=5)
"""How long a watch goes on trying while nothing answers."""
SILENCE = timedelta(seconds=10)
"""A stream that is silent for so long is lost: the server says something every 2 seconds."""


def read_too_slowly(error: ClarionError) -> bool:
    """Whether the server gave up since nobody read; whoever reads again goes on at once."""
    return error.reason == ErrorReason.SUBSCRIBER_TOO_SLOW


def as_lost(error: ClarionError) -> ClarionError:
    """A stream that broke in a way that is no answer of Clarion's is as good as a lost connection."""
    broke = isinstance(error, DeadlineExceeded | Internal) and not error.reason
    return Unavailable(f"the stream broke: {error.message}", code=grpc.StatusCode.UNAVAILABLE) if broke else error


def ended_empty() -> ClarionError:
    """The server ended a stream without having said anything."""
    return Unavailable("the server ended the stream before its first answer", code=grpc.StatusCode.UNAVAILABLE)
