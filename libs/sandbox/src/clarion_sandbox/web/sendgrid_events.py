"""SendGrid's Event Webhook: what became of accepted mails, in signed batches.

Source: SendGrid, "Event Webhook reference" and "Event Webhook security features".
"""

import base64
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from clarion_sandbox.answers import Row
from clarion_sandbox.callback_urls import CallbackUrls
from clarion_sandbox.callbacks import Call, Callbacks, Prepare

from .manners import delay_of

_DELIVERED = Row("delivered", 200, "delivered", {"events": ["delivered"]})
_RESPONSES = frozenset({"delivered", "deferred"})


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail as it was accepted, and what its address asks for."""

    message_id: str
    smtp_id: str
    recipient: str
    custom_args: Mapping[str, str]
    categories: Sequence[str]
    asked: Row | None


class SendGridEvents:
    """The account's webhook."""

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        callbacks: Callbacks,
        urls: CallbackUrls,
        delay_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._key = key
        self._callbacks = callbacks
        self._urls = urls
        self._delay_seconds = delay_seconds
        self._clock = clock

    def publish(self, mails: Sequence[SentMail]) -> bool:
        """Post the events of a request's mails, those that travel alike in one batch; says whether some are to arrive
        before the answer."""
        url = self._urls.get("sendgrid")
        if url is None:
            return False
        by_manner: dict[str, list[SentMail]] = {}
        for mail in mails:
            by_manner.setdefault(_row(mail).text("manner") or "", []).append(mail)
        by_manner.pop("never", None)
        for manner, alike in by_manner.items():
            calls = self._calls(alike, manner)
            self._callbacks.post("sendgrid", url, calls, delay_of(manner, self._delay_seconds))
        return "before_response" in by_manner

    def _calls(self, mails: Sequence[SentMail], manner: str) -> list[Prepare]:
        """First what is processed, then what came next for each, and so on."""
        stages: list[list[dict[str, object]]] = []
        for mail in mails:
            events = _row(mail).detail.get("events")
            kinds = ["processed", *(str(kind) for kind in events)] if isinstance(events, list) else ["processed"]
            for stage, kind in enumerate(reversed(kinds) if manner == "reversed" else kinds):
                if stage == len(stages):
                    stages.append([])
                stages[stage].append(self._event(mail, kind))
        if manner == "twice":
            stages = [stage for stage in stages for _ in range(2)]
        return [partial(self._signed, stage) for stage in stages]

    def _signed(self, events: Sequence[Mapping[str, object]]) -> Call:
        body = json.dumps(events, ensure_ascii=False).encode()
        timestamp = str(int(self._clock()))
        signature = self._key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
        headers = {
            "Content-Type": "application/json",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode("ascii"),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }
        return Call(headers, body)

    def _event(self, mail: SentMail, kind: str) -> dict[str, object]:
        row = _row(mail)
        event: dict[str, object] = {
            **mail.custom_args,
            "email": mail.recipient,
            "timestamp": int(self._clock()),
            "smtp-id": mail.smtp_id,
            "event": kind,
            "sg_event_id": base64.urlsafe_b64encode(secrets.token_bytes(18)).decode("ascii"),
            "sg_message_id": f"{mail.message_id}.recvd-sandbox-1.0",
        }
        if mail.categories:
            event["category"] = list(mail.categories)
        if kind in _RESPONSES:
            event["response"] = row.text("why") or "250 2.0.0 Ok"
        if kind in ("bounce", "dropped"):
            event["reason"] = row.text("why") or ""
        if kind == "bounce":
            event |= {"type": row.text("type"), "status": row.text("status")}
        if kind == "open":
            event["sg_machine_open"] = row.detail.get("machine") is True
        if kind in ("open", "click"):
            event |= {"ip": "192.0.2.1", "useragent": "Mozilla/5.0"}
        if kind == "click":
            event["url"] = "https://example.com/"
        return event


def _row(mail: SentMail) -> Row:
    return mail.asked or _DELIVERED
