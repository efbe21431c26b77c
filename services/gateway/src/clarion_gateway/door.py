"""Who gets in: tokens, revocations, scopes, for every public method."""

import time
from collections.abc import Mapping

from clarion_gateway.tokens import TokenIssuer, unauthenticated
from clarion_kit import mesh
from clarion_kit.errors import Unavailable
from clarion_kit.rpc.caller import Caller
from clarion_ledger import admin
from clarion_ledger.db import Pool

BLIND_AFTER_SECONDS = 15.0
"""Without news of revocations for this long no token is believed any more."""

_NOBODY = Caller("client")
_BEARER = "bearer "


class RevocationsUnknown(Unavailable):
    """The ledger has not told which keys are revoked for too long."""

    dependency = "ledger"


class Revocations:
    """Keys whose tokens end before their time, read from the ledger every two seconds."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._dead: set[str] = set()
        self._read_at = time.monotonic()

    async def refresh(self) -> None:
        """Raises LedgerUnavailable."""
        self._dead = await admin.dead_keys(self._pool)
        self._read_at = time.monotonic()

    def check(self, app_key: str) -> None:
        """Raises UNAUTHENTICATED for a dead key, RevocationsUnknown when nothing was heard for too long."""
        if app_key in self._dead:
            raise unauthenticated()
        if time.monotonic() - self._read_at > BLIND_AFTER_SECONDS:
            raise RevocationsUnknown("revocations unknown")


class Door:
    """The authenticator of the public port."""

    def __init__(self, issuer: TokenIssuer, revocations: Revocations) -> None:
        self._issuer = issuer
        self._revocations = revocations
        self._methods = mesh.public_methods()

    def authenticate(self, method: str, metadata: Mapping[str, str], identities: frozenset[str]) -> Caller:
        """Raises UNAUTHENTICATED, SCOPE_MISSING, RevocationsUnknown."""
        rule = self._methods.get(method)
        if rule is None:
            raise unauthenticated()
        if rule.required_scope == "none":
            return _NOBODY
        header = metadata.get("authorization", "")
        if header[: len(_BEARER)].lower() != _BEARER:
            raise unauthenticated()
        caller = self._issuer.verify(header[len(_BEARER) :])
        self._revocations.check(caller.key)
        caller.require(rule.required_scope)
        return caller
