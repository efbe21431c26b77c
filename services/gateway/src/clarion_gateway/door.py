"""Who gets in: tokens, revocations, scopes, for every public method."""

from collections.abc import Mapping

from clarion_gateway.standing import KeyStandings, KeyUses
from clarion_gateway.tokens import TokenIssuer, unauthenticated
from clarion_kit import mesh
from clarion_kit.errors import DomainError
from clarion_kit.rpc.caller import Caller
from clarion_kit.rpc.refusals import Refusals

_NOBODY = Caller("client")
_BEARER = "bearer "


class Door:
    """The authenticator of the public port."""

    def __init__(self, issuer: TokenIssuer, standings: KeyStandings, uses: KeyUses) -> None:
        self._issuer = issuer
        self._standings = standings
        self._uses = uses
        self._methods = mesh.public_methods()
        self._refusals = Refusals()

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
        token = self._issuer.verify(header[len(_BEARER) :])
        self._standings.check(token)
        try:
            token.caller.require(rule.required_scope)
        except DomainError as refused:
            self._refusals.note(token.caller.key, method, refused.reason)
            raise
        self._uses.note(token.caller.key)
        return token.caller
