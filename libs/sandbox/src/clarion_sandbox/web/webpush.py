"""A web push service and the browsers behind it: ``POST /wp/<subscription id>`` (RFC 8030, 8188, 8291, 8292).

Unlike a real service it decrypts the message at once and refuses what the browser could not read.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from email.utils import formatdate

from cryptography.hazmat.primitives.asymmetric import ec

from clarion_sandbox import content
from clarion_sandbox.answers import AnswerTable, Row
from clarion_sandbox.browser import PATH_PREFIX, Browsers, bound_key_hash, key_hash
from clarion_sandbox.encoding import b64url_decode
from clarion_sandbox.fates import Fates
from clarion_sandbox.jws import JwsError, Verified, parse, verify_es256
from clarion_sandbox.ledger import Ledger

from .aes128gcm import Undecryptable, decrypt
from .http import Headers, Outcome, Reply, Request, is_lost, json_reply, silence

NAME = "webpush"
_MAX_BYTES = 4096
_MAX_VAPID_SECONDS = 86_400
_CLOCK_SKEW_SECONDS = 60
_DATE_AHEAD_SECONDS = 3
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VAPID = re.compile(r"vapid\s+(.*)", re.IGNORECASE)
_SUBJECT = re.compile(r"mailto:[^\s<>@]+@[^\s<>@]+|https://[^\s<>]+")
_URGENCIES = frozenset(("very-low", "low", "normal", "high"))


class _Refused(Exception):
    """The request is refused with the row of this reason."""


class _Sender:
    """What a checked VAPID header says."""

    __slots__ = ("audience", "expires", "key_hash", "subject")

    def __init__(self, audience: str, expires: float, hashed: str, subject: str) -> None:
        self.audience, self.expires, self.key_hash, self.subject = audience, expires, hashed, subject


class WebPush:
    """The handler."""

    def __init__(
        self, table: AnswerTable, fates: Fates, ledger: Ledger, clock: Callable[[], float] = time.time
    ) -> None:
        self._table = table
        self._fates = fates
        self._ledger = ledger
        self._clock = clock
        self._browsers = Browsers()
        self._senders: Verified[_Sender] = Verified()

    async def __call__(self, request: Request) -> Outcome:
        """Answer one push."""
        subscription_id = request.path.removeprefix(PATH_PREFIX)
        size = len(request.body)
        try:
            plaintext, subject = self._check(request, subscription_id)
        except _Refused as refused:
            return self._refuse(self._table.by_reason(str(refused)), subscription_id, size)
        fate = self._fates.decide(NAME, subscription_id)
        latency = self._fates.latency(NAME, subscription_id)
        if latency:
            await asyncio.sleep(latency)
        if isinstance(fate, Row) and fate.status >= 300:
            return self._refuse(fate, subscription_id, size)
        if fate is not None and not isinstance(fate, Row) and not is_lost(fate):
            self._ledger.refuse(NAME, answer=fate, destination=subscription_id, size=size)
            return silence(fate)
        status = fate.status if isinstance(fate, Row) else 201
        location = f"https://{request.authority}/wp-message/{secrets.token_urlsafe(16)}"
        self._ledger.accept(
            NAME,
            answer=str(status) if fate is None or isinstance(fate, Row) else fate,
            message_id=location,
            destination=subscription_id,
            digest=content.of_web(plaintext),
            content=plaintext,
            our_id=request.headers.get("topic") or "",
            attributes={"subject": subject},
        )
        if fate is not None and not isinstance(fate, Row):
            return silence(fate)
        return Reply(status, [("location", location), ("ttl", request.headers.get("ttl") or "0")])

    def _check(self, request: Request, subscription_id: str) -> tuple[bytes, str]:
        """The message the browser reads, and the contact its sender names."""
        bound = bound_key_hash(subscription_id)
        if request.method != "POST":
            raise _Refused("MethodNotAllowed")
        if bound is None:
            raise _Refused("UnknownSubscription")
        get = request.headers.get
        subject = self._authorize(get("authorization"), f"https://{request.authority}", bound)
        ttl = get("ttl")
        if ttl is None or not ttl.isdecimal() or len(ttl) > 10:
            raise _Refused("InvalidTtl")
        topic = get("topic")
        if topic is not None and _TOPIC.fullmatch(topic) is None:
            raise _Refused("InvalidTopic")
        if get("urgency", "normal") not in _URGENCIES:
            raise _Refused("BadUrgency")
        if len(request.body) > _MAX_BYTES:
            raise _Refused("PayloadTooLarge")
        if not request.body:
            return b"", subject
        if get("content-encoding") != "aes128gcm":
            raise _Refused("MissingCryptoKeys")
        try:
            return decrypt(request.body, self._browsers.get(subscription_id)), subject
        except Undecryptable as error:
            raise _Refused("InvalidCryptoKeys") from error

    def _authorize(self, authorization: str | None, origin: str, bound: str) -> str:
        if authorization is None:
            raise _Refused("InvalidAuthentication")
        now = self._clock()
        sender = self._senders.get(authorization)
        if sender is None:
            sender = _parse_vapid(authorization, now)
            self._senders.put(authorization, sender)
        if sender.audience != origin or sender.expires <= now:
            raise _Refused("BadJwtToken")
        if sender.key_hash != bound:
            raise _Refused("VapidPkHashMismatch")
        return sender.subject

    def _refuse(self, row: Row, subscription_id: str, size: int) -> Reply:
        self._ledger.refuse(NAME, answer=row.label, destination=subscription_id, size=size)
        headers: Headers = []
        retry_after = row.text("retry_after")
        if retry_after == "date":
            retry_after = formatdate(self._clock() + _DATE_AHEAD_SECONDS, usegmt=True)
        if retry_after is not None:
            headers.append(("retry-after", retry_after))
        location = row.text("location")
        if location is not None:
            headers.append(("location", location))
        errno = row.number("errno")
        if errno is None:
            return json_reply(row.status, {"reason": row.reason}, headers)
        return json_reply(
            row.status, {"code": row.status, "errno": errno, "error": row.reason, "message": row.reason}, headers
        )


def _parse_vapid(authorization: str, now: float) -> _Sender:
    scheme = _VAPID.fullmatch(authorization)
    if scheme is None:
        raise _Refused("InvalidAuthentication")
    fields = dict(part.strip().partition("=")[::2] for part in scheme[1].split(","))
    try:
        public = fields["k"].strip('"')
        point = b64url_decode(public)
        jws = parse(fields["t"].strip('"'))
        verify_es256(jws, ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
        hashed = key_hash(public)
    except (KeyError, ValueError, JwsError) as error:
        raise _Refused("BadJwtToken") from error
    audience, expires, subject = jws.text_claim("aud"), jws.time_claim("exp"), jws.text_claim("sub")
    if audience is None or expires is None or expires > now + _MAX_VAPID_SECONDS + _CLOCK_SKEW_SECONDS:
        raise _Refused("BadJwtToken")
    if subject is None or _SUBJECT.fullmatch(subject) is None:
        raise _Refused("BadJwtToken")
    return _Sender(audience, expires, hashed, subject)
