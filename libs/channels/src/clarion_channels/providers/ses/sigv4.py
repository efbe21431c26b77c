"""AWS Signature Version 4 in the Authorization header. Pure.

Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. Paths are encoded a second
time, as for every service but S3.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"


@dataclass(frozen=True, slots=True)
class AwsKey:
    """An access key; `session_token` for temporary ones."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for, together with its day."""

    region: str
    service: str


def sign(
    key: AwsKey, scope: Scope, method: str, url: str, headers: Mapping[str, str], body: bytes, at: datetime
) -> dict[str, str]:
    """`headers` (lower-case names), all of them signed, with `x-amz-date`, `authorization` and, for a temporary key,
    `x-amz-security-token`. `url` is absolute; its host goes into the signature as HTTP clients send it, without the
    default port."""
    target = urlsplit(url)
    moment = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = {**headers, "x-amz-date": moment}
    if key.session_token:
        sent["x-amz-security-token"] = key.session_token
    signed = dict(sorted({**sent, "host": target.netloc.lower().removesuffix(":443")}.items()))
    names = ";".join(signed)
    request = "\n".join(
        (
            method,
            quote(target.path or "/", safe="/" + _UNRESERVED),
            canonical_query(target.query),
            *(f"{name}:{' '.join(value.split())}" for name, value in signed.items()),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    credential = f"{moment[:8]}/{scope.region}/{scope.service}/aws4_request"
    to_sign = "\n".join((_ALGORITHM, moment, credential, hashlib.sha256(request.encode()).hexdigest()))
    signature = _hmac(_signing_key(key.secret_access_key, moment[:8], scope.region, scope.service), to_sign).hex()
    sent["authorization"] = (
        f"{_ALGORITHM} Credential={key.access_key_id}/{credential}, SignedHeaders={names}, Signature={signature}"
    )
    return sent


def canonical_query(query: str) -> str:
    """The query's parameters, encoded and then sorted."""
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(
        sorted(f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}" for name, value in pairs)
    )


@lru_cache(maxsize=64)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    derived = f"AWS4{secret}".encode()
    for text in (day, region, service, "aws4_request"):
        derived = _hmac(derived, text)
    return derived


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
