"""The provider token: one for every connection of a team, in every process."""

from collections.abc import Callable

from aioapns.connection import AuthorizationHeaderProvider
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from clarion_channels.providers.es256 import sign

RENEWAL_SECONDS = 50 * 60
"""Apple takes a token for 60 minutes from its `iat`."""
MIN_RENEWAL_SECONDS = 20 * 60
"""Apple answers TooManyProviderTokenUpdates to teams that renew more often."""


class ProviderToken(AuthorizationHeaderProvider):
    """Signs and keeps the `authorization` header of one team.

    `iat` lies on a 50-minute grid of the wall clock and signing is deterministic: all processes with the same key show
    Apple the same token, and it changes once per 50 minutes however often they restart. Apple counts tokens per team.
    """

    def __init__(
        self, key: EllipticCurvePrivateKey, key_id: str, team_id: str, wall_clock: Callable[[], float]
    ) -> None:
        self._key = key
        self._key_id = key_id
        self._team_id = team_id
        self._wall_clock = wall_clock
        self._issued_at = 0
        self._header = ""

    def get_header(self) -> str:
        """The current header value, signed anew when it is 50 minutes old."""
        now = self._wall_clock()
        # A clock that stepped back must not keep a token from the future.
        if not self._header or not 0 <= now - self._issued_at < RENEWAL_SECONDS:
            self._sign(int(now // RENEWAL_SECONDS) * RENEWAL_SECONDS)
        return self._header

    def renew_refused(self, header: str) -> bool:
        """Answer to ExpiredProviderToken for a request that carried `header`.

        True if the next request will carry another token; False if this one is too young to be replaced, which means
        that our clock is wrong.
        """
        if header != self.get_header():
            return True
        now = self._wall_clock()
        if now - self._issued_at < MIN_RENEWAL_SECONDS:
            return False
        self._sign(int(now))
        return True

    def _sign(self, issued_at: int) -> None:
        token = sign(self._key, {"kid": self._key_id}, {"iss": self._team_id, "iat": issued_at})
        self._issued_at = issued_at
        self._header = f"bearer {token}"
