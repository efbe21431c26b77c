"""Tokens: honest ones from the gateway, and those that only the holder of its signing key could make."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clarion.auth.v1 import auth_service_pb2 as auth
from clarion_gateway.tokens import AUDIENCE, ISSUER
from clarion_kit.keyfiles import TokenKeys, load_token_keys

from .calls import ask
from .stage import Stage

ISSUE_TOKEN = "/clarion.auth.v1.AuthService/IssueToken"
LIFETIME_SECONDS = 600


async def honest_token(stage: Stage, app_key: str, app_secret: str) -> str:
    """What the gateway gives for a key and its secret. Raises PermissionError."""
    request = auth.IssueTokenRequest(app_key=app_key, app_secret=app_secret)
    async with stage.gateway_channel() as channel:
        answer = await ask(channel, ISSUE_TOKEN, request.SerializeToString())
    if not answer.responses:
        raise PermissionError(f"no token: {answer.code}")
    return auth.IssueTokenResponse.FromString(answer.responses[0]).token


@dataclass(frozen=True, slots=True)
class Mint:
    """Signs with the mesh's own key whatever it is told to."""

    keys: TokenKeys
    app_id: int
    app_key: str

    @staticmethod
    def of(stage: Stage) -> "Mint":
        """For the attacker's key. Raises ValueError without the mesh's key files."""
        return Mint(load_token_keys(stage.folders.keys / "token_keys.key"), stage.attacker_id, stage.attacker.app_key)

    def stranger(self) -> "Mint":
        """One that uses a key of its own under the id of the mesh's."""
        own = Ed25519PrivateKey.generate()
        return replace(self, keys=TokenKeys(self.keys.active, own, {self.keys.active: own.public_key()}))

    def claims(self, **changed: object) -> dict[str, object]:
        """Those of a good token with every scope; None leaves a claim out."""
        now = int(time.time())
        whole: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": self.app_key,
            "app": self.app_id,
            "ver": 1,
            "scope": "admin send:* recipient:write template:write status:read deadletter:redrive",
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME_SECONDS,
            **changed,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def signed(self, headers: Mapping[str, object] | None = None, **changed: object) -> str:
        """A token of these claims, signed in earnest."""
        return jwt.encode(
            self.claims(**changed),
            self.keys.private,
            algorithm="EdDSA",
            headers={"kid": self.keys.active, **(headers or {})},
        )
