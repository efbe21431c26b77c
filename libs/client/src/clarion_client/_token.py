"""A bearer token and its times. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from clarion.auth.v1 import auth_service_pb2
from clarion_client._secret import Secret

REFRESH_AHEAD = timedelta(seconds=60)
REFRESH_PAUSE = timedelta(seconds=5)
"""After a refresh that failed while the token still serves, the next one waits this long."""
_SHORTEST_LIFE = timedelta(seconds=30)
_LONGEST_LIFE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Token:
    """`refresh_at` and `ends_at` are seconds of the monotonic clock."""

    value: Secret
    refresh_at: float
    ends_at: float


def from_answer(answer: auth_service_pb2.IssueTokenResponse, *, wall: datetime, monotonic: float) -> Token:
    """The token as issued.

    `expires_at` is the server's clock and `wall` (aware UTC) is ours, so the life is kept within sane limits: with a
    clock far ahead, a fresh token would seem dead and every call would ask for another. One that ends earlier than
    thought is refused by the server and renewed.
    """
    left = answer.expires_at.ToDatetime(tzinfo=wall.tzinfo) - wall
    life = min(max(left, _SHORTEST_LIFE), _LONGEST_LIFE)
    refresh_after = life - min(REFRESH_AHEAD, life / 2)
    return Token(Secret(answer.token), monotonic + refresh_after.total_seconds(), monotonic + life.total_seconds())
