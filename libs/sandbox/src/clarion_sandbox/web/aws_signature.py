"""AWS Signature Version 4, as the service checks it: nothing of the request is trusted but what the signature covers.

Source: AWS, "Create a signed AWS API request" and "Troubleshoot AWS SigV4 request errors".
"""

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_plus

from .http import Request

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^/, ]+)/([0-9]{8})/([^/, ]+)/([^/, ]+)/aws4_request, *"
    r"SignedHeaders=([a-z0-9;.-]+), *Signature=([0-9a-f]{64})"
)
_AMZ_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SKEW = timedelta(minutes=5)
_MUST_BE_SIGNED = ("host", "x-amz-date")


class SignatureFault(Exception):
    """The request is not signed as it should be; ``reason`` is the exception that AWS names."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class SignatureCheck:
    """The check for one key, region and service."""

    def __init__(self, access_key_id: str, secret: str, region: str, service: str) -> None:
        self._access_key_id = access_key_id
        self._secret = secret
        self._region, self._service = region, service

    def __call__(self, request: Request, now: datetime) -> None:
        """Raises SignatureFault."""
        header = request.headers.get("authorization")
        if not header:
            raise SignatureFault("MissingAuthenticationTokenException", "Missing Authentication Token")
        match = _AUTHORIZATION.fullmatch(header)
        if match is None:
            raise SignatureFault("IncompleteSignatureException", "Authorization header is malformed")
        access_key_id, day, region, service, names, signature = match.groups()
        if access_key_id != self._access_key_id:
            raise SignatureFault(
                "UnrecognizedClientException", "The security token included in the request is invalid."
            )
        moment = request.headers.get("x-amz-date") or ""
        if not _AMZ_DATE.fullmatch(moment) or moment[:8] != day:
            raise SignatureFault("InvalidSignatureException", "Date in Credential scope does not match x-amz-date")
        if (region, service) != (self._region, self._service):
            raise SignatureFault("InvalidSignatureException", "Credential should be scoped to a valid region")
        signed_at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(now - signed_at) > _SKEW:
            raise SignatureFault("InvalidSignatureException", f"Signature expired: {moment} is now too far from now")
        signed = names.split(";")
        if signed != sorted(set(signed)) or not set(_MUST_BE_SIGNED).issubset(signed):
            raise SignatureFault("InvalidSignatureException", "host and x-amz-date must be signed, in order")
        expected = self._signature(_canonical(request, signed), moment)
        if not hmac.compare_digest(expected, signature):
            raise SignatureFault(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
            )

    def _signature(self, canonical: str, moment: str) -> str:
        scope = [moment[:8], self._region, self._service, "aws4_request"]
        key = b"AWS4" + self._secret.encode()
        for step in scope:
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{moment}\n{'/'.join(scope)}\n{digest}"
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _canonical(request: Request, signed: list[str]) -> str:
    lines = [request.method, quote(request.path, safe="/-_.~"), _query(request.query)]
    for name in signed:
        value = request.authority if name == "host" else request.headers.get(name)
        if value is None:
            raise SignatureFault("InvalidSignatureException", f"The signed header {name} is missing")
        lines.append(f"{name}:{re.sub(' +', ' ', value.strip())}")
    lines += ["", ";".join(signed), hashlib.sha256(request.body).hexdigest()]
    return "\n".join(lines)


def _query(query: str) -> str:
    pairs: list[str] = []
    for field in filter(None, query.split("&")):
        name, _, value = field.partition("=")
        pairs.append(f"{quote(unquote_plus(name), safe='-_.~')}={quote(unquote_plus(value), safe='-_.~')}")
    return "&".join(sorted(pairs))
