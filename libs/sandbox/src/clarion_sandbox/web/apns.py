"""APNs: ``POST /3/device/<token>`` with token authentication, checked in the order Apple documents its reasons.

Source: Apple, "Sending notification requests to APNs" and "Handling notification responses from APNs".
"""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from clarion_sandbox import content
from clarion_sandbox.answers import AnswerTable, Row
from clarion_sandbox.fates import Fates
from clarion_sandbox.jws import JwsError, Verified, parse, verify_es256
from clarion_sandbox.ledger import Ledger

from .http import Outcome, Reply, Request, is_lost, json_reply, silence

NAME = "apns"
_PATH = "/3/device/"
_TOKEN_SECONDS = 3600
_CLOCK_SKEW_SECONDS = 60
_MAX_BYTES = 4096
_MAX_VOIP_BYTES = 5120
_MAX_COLLAPSE_ID_BYTES = 64
_DEVICE_TOKEN = re.compile(r"(?:[0-9a-fA-F]{2}){16,100}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_TOPIC_SUFFIX = {
    "alert": "",
    "background": "",
    "voip": ".voip",
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "location": ".location-query",
    "liveactivity": ".push-type.liveactivity",
    "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets",
    "controls": ".push-type.controls",
}


@dataclass(frozen=True, slots=True)
class ApnsKey:
    """The key clients sign provider tokens with."""

    team_id: str
    key_id: str
    public: ec.EllipticCurvePublicKey


class Apns:
    """The handler."""

    def __init__(
        self,
        key: ApnsKey,
        topics: Collection[str],
        table: AnswerTable,
        fates: Fates,
        ledger: Ledger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._topics = frozenset(topics)
        self._rows = {row.reason: row for row in reversed(list(table))}
        self._fates = fates
        self._ledger = ledger
        self._clock = clock
        self._issued: Verified[float] = Verified()

    async def __call__(self, request: Request) -> Outcome:
        """Answer one push."""
        apns_id = request.headers.get("apns-id")
        token = request.path.removeprefix(_PATH)
        checked = self._check(request, token, apns_id)
        if isinstance(checked, str):
            return self._refuse(self._rows[checked], token, apns_id, len(request.body))
        fate = self._fates.decide(NAME, token)
        latency = self._fates.latency(NAME, token)
        if latency:
            await asyncio.sleep(latency)
        if isinstance(fate, Row):
            return self._refuse(fate, token, apns_id, len(request.body))
        if fate is not None and not is_lost(fate):
            self._ledger.refuse(NAME, answer=fate, destination=token, our_id=apns_id or "", size=len(request.body))
            return silence(fate)
        message_id = apns_id or str(uuid.uuid4())
        self._ledger.accept(
            NAME,
            answer="200" if fate is None else fate,
            message_id=message_id,
            destination=token,
            digest=content.of_apns(checked),
            content=request.body,
            our_id=apns_id or "",
            attributes={
                "topic": request.headers.get("apns-topic") or "",
                "collapse_id": request.headers.get("apns-collapse-id") or "",
            },
        )
        return Reply(200, [("apns-id", message_id)]) if fate is None else silence(fate)

    def _check(self, request: Request, token: str, apns_id: str | None) -> str | dict[str, object]:
        """The reason to refuse, or the payload."""
        if not request.path.startswith(_PATH):
            return "BadPath"
        if request.method != "POST":
            return "MethodNotAllowed"
        get = request.headers.get
        refusal = self._check_provider_token(get("authorization"))
        if refusal is not None:
            return refusal
        if not token:
            return "MissingDeviceToken"
        if _DEVICE_TOKEN.fullmatch(token) is None:
            return "BadDeviceToken"
        push_type = get("apns-push-type", "alert") or ""
        refusal = self._check_topic(get("apns-topic"), push_type)
        if refusal is not None:
            return refusal
        if not token.strip("0"):  # no device ever had it
            return "BadDeviceToken"
        if apns_id is not None and _UUID.fullmatch(apns_id) is None:
            return "BadMessageId"
        expiration = get("apns-expiration")
        if expiration is not None and not (expiration.isdecimal() and len(expiration) <= 10):
            return "BadExpirationDate"
        priority = get("apns-priority", "10")
        if priority not in ("10", "5", "1") or (push_type == "background" and priority == "10"):
            return "BadPriority"
        collapse_id = get("apns-collapse-id")
        if collapse_id is not None and not 0 < len(collapse_id.encode()) <= _MAX_COLLAPSE_ID_BYTES:
            return "BadCollapseId"
        return _check_payload(request.body, push_type)

    def _check_provider_token(self, authorization: str | None) -> str | None:
        if authorization is None:
            return "MissingProviderToken"
        now = self._clock()
        issued = self._issued.get(authorization)
        if issued is None:
            issued = self._issued_at(authorization, now)
            if issued is None:
                return "InvalidProviderToken"
            self._issued.put(authorization, issued)
        return "ExpiredProviderToken" if now - issued > _TOKEN_SECONDS else None

    def _issued_at(self, authorization: str, now: float) -> float | None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            jws = parse(token)
            verify_es256(jws, self._key.public)
        except JwsError:
            return None
        issued = jws.time_claim("iat")
        if jws.header.get("kid") != self._key.key_id or jws.text_claim("iss") != self._key.team_id or issued is None:
            return None
        return None if issued > now + _CLOCK_SKEW_SECONDS else issued

    def _check_topic(self, topic: str | None, push_type: str) -> str | None:
        if topic is None:
            return "MissingTopic"
        suffix = _TOPIC_SUFFIX.get(push_type)
        if suffix is None:
            return "InvalidPushType"
        if topic.removesuffix(suffix) in self._topics and topic.endswith(suffix):
            return None
        # A bundle id we know with the suffix of another push type is a wrong topic, not a forbidden one.
        return "BadTopic" if any(topic.startswith(known) for known in self._topics) else "TopicDisallowed"

    def _refuse(self, row: Row, token: str, apns_id: str | None, size: int) -> Reply:
        self._ledger.refuse(NAME, answer=row.label, destination=token, our_id=apns_id or "", size=size)
        document: dict[str, object] = {"reason": row.reason}
        if row.status == 410:
            document["timestamp"] = row.number("timestamp_ms") or int(self._clock() * 1000)
        echoed = apns_id if apns_id is not None and _UUID.fullmatch(apns_id) else str(uuid.uuid4())
        return json_reply(row.status, document, [("apns-id", echoed)])


def _check_payload(body: bytes, push_type: str) -> str | dict[str, object]:
    if not body:
        return "PayloadEmpty"
    if len(body) > (_MAX_VOIP_BYTES if push_type == "voip" else _MAX_BYTES):
        return "PayloadTooLarge"
    try:
        payload = json.loads(body)
    except ValueError:
        return "PayloadEmpty"
    if not isinstance(payload, dict) or not isinstance(payload.get("aps"), dict):
        return "PayloadEmpty"
    return payload
