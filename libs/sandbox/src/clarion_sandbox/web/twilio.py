"""A Twilio-style SMS API: ``POST /2010-04-01/Accounts/<sid>/Messages.json``.

Source: Twilio, "Message resource", "Outbound message status in status callbacks", "Validating requests are coming from
Twilio".
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

from clarion_sandbox import content
from clarion_sandbox.answers import AnswerTable, Row, Special
from clarion_sandbox.callbacks import Call, Callbacks, Prepare
from clarion_sandbox.fates import Fates
from clarion_sandbox.ledger import Ledger
from clarion_sandbox.smpp import gsm7

from .http import Headers, Outcome, Reply, Request, is_lost, json_reply, silence
from .manners import HEAD_START_SECONDS, delay_of

NAME = "twilio"
_CREATED = 201
_MAX_CHARACTERS = 1600
_MAX_FIELDS = 100
_VALIDITY_SECONDS = range(1, 36_001)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SHORT_CODE = re.compile(r"\+?[0-9]{3,6}")
_SENDER_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}")
_SENDER_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_KNOWN_FIELDS = frozenset(
    {
        "To",
        "From",
        "MessagingServiceSid",
        "Body",
        "StatusCallback",
        "ValidityPeriod",
        "MaxPrice",
        "SmartEncoded",
        "ProvideFeedback",
        "Attempt",
        "RiskCheck",
    }
)


@dataclass(frozen=True, slots=True)
class Account:
    """The one account: its token, one API key, one messaging service."""

    sid: str
    auth_token: str = field(repr=False)
    key_sid: str
    key_secret: str = field(repr=False)
    messaging_service_sid: str
    receipt_delay_seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class _Sms:
    """A message that passed the checks."""

    sid: str
    to: str
    sender: str
    text: str
    callback: str


class _Refused(Exception):
    """The request is refused with a row of the table."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Twilio:
    """The handler."""

    def __init__(
        self,
        account: Account,
        table: AnswerTable,
        fates: Fates,
        ledger: Ledger,
        callbacks: Callbacks,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        self._path = f"/2010-04-01/Accounts/{account.sid}/Messages.json"
        self._table = table
        self._fates = fates
        self._ledger = ledger
        self._callbacks = callbacks
        self._clock = clock

    async def __call__(self, request: Request) -> Outcome:
        """Answer one message."""
        try:
            sms = self._check(request)
        except _Refused as refused:
            row = self._table.row(refused.code)
            self._ledger.refuse(NAME, answer=row.label, size=len(request.body))
            return _refusal(row)
        fate = self._fates.decide(NAME, sms.to)
        latency = self._fates.latency(NAME, sms.to)
        if latency:
            await asyncio.sleep(latency)
        reported = fate if isinstance(fate, Row) else None
        special = fate if isinstance(fate, Special) else None
        if reported is not None and reported.status != _CREATED:
            self._ledger.refuse(NAME, answer=reported.label, destination=sms.to, size=len(sms.text))
            return _refusal(reported)
        if special is not None and not is_lost(special):
            self._ledger.refuse(NAME, answer=special, destination=sms.to, size=len(sms.text))
            return silence(special)
        self._ledger.accept(
            NAME,
            answer="201" if special is None else special,
            message_id=sms.sid,
            destination=sms.to,
            digest=content.of_text(sms.text),
            content=sms.text.encode("utf-8", "replace"),
            attributes={"source": sms.sender},
        )
        await self._report(sms, reported)
        return self._created(sms) if special is None else silence(special)

    def _check(self, request: Request) -> _Sms:
        self._authorize(request)
        form = _form(request.body)
        to, text = form.get("To", ""), form.get("Body", "")
        if not to:
            raise _Refused("104")
        if _SHORT_CODE.fullmatch(to):
            raise _Refused("265")
        if _E164.fullmatch(to) is None:
            raise _Refused("211")
        if not text:
            raise _Refused("102")
        if len(text) > _MAX_CHARACTERS:
            raise _Refused("117")
        callback = form.get("StatusCallback", "")
        if callback and (urlsplit(callback).scheme not in ("http", "https") or not urlsplit(callback).netloc):
            raise _Refused("109")
        validity = form.get("ValidityPeriod", "36000")
        if not validity.isdecimal() or int(validity) not in _VALIDITY_SECONDS or not form.keys() <= _KNOWN_FIELDS:
            raise _Refused("022")
        return _Sms(f"SM{secrets.token_hex(16)}", to, self._sender(form), text, callback)

    def _authorize(self, request: Request) -> None:
        account = self._account
        scheme, _, given = (request.headers.get("authorization") or "").partition(" ")
        pairs = (f"{account.sid}:{account.auth_token}", f"{account.key_sid}:{account.key_secret}")
        known = [base64.b64encode(pair.encode()) for pair in pairs]
        if scheme != "Basic" or not any(hmac.compare_digest(given.encode(), one) for one in known):
            raise _Refused("003")
        if request.path != self._path or request.method != "POST":
            raise _Refused("404")

    def _sender(self, form: dict[str, str]) -> str:
        sender, service = form.get("From", ""), form.get("MessagingServiceSid", "")
        if service:
            if service != self._account.messaging_service_sid:
                raise _Refused("404")
            return sender or service
        if not sender:
            raise _Refused("103")
        if _SENDER_NUMBER.fullmatch(sender) is None and _SENDER_NAME.fullmatch(sender) is None:
            raise _Refused("212")
        return sender

    def _created(self, sms: _Sms) -> Reply:
        now = datetime.fromtimestamp(self._clock(), UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
        from_service = sms.sender.startswith("MG")
        return json_reply(
            _CREATED,
            {
                "account_sid": self._account.sid,
                "api_version": "2010-04-01",
                "body": sms.text,
                "date_created": now,
                "date_updated": now,
                "direction": "outbound-api",
                "error_code": None,
                "error_message": None,
                "from": None if from_service else sms.sender,
                "messaging_service_sid": sms.sender if from_service else None,
                "num_media": "0",
                "num_segments": str(segments(sms.text)),
                "sid": sms.sid,
                "status": "accepted" if from_service else "queued",
                "to": sms.to,
                "uri": f"/2010-04-01/Accounts/{self._account.sid}/Messages/{sms.sid}.json",
            },
        )

    async def _report(self, sms: _Sms, row: Row | None) -> None:
        manner = (row.text("manner") if row else None) or ""
        if not sms.callback or manner == "never":
            return
        final = self._call(sms, row.reason if row else "delivered", row.number("error") if row else None)
        sent = self._call(sms, "sent", None)
        calls: Sequence[Prepare] = [sent, final]
        if manner == "twice":
            calls = [sent, final, final]
        elif manner == "reversed":
            calls = [final, sent]
        self._callbacks.post(NAME, sms.callback, calls, delay_of(manner, self._account.receipt_delay_seconds))
        if manner == "before_response":
            await asyncio.sleep(HEAD_START_SECONDS)

    def _call(self, sms: _Sms, status: str, error: int | None) -> Prepare:
        fields = {
            "AccountSid": self._account.sid,
            "ApiVersion": "2010-04-01",
            "From": sms.sender,
            "MessageSid": sms.sid,
            "MessageStatus": status,
            "SmsSid": sms.sid,
            "SmsStatus": status,
            "To": sms.to,
        }
        if error is not None:
            fields["ErrorCode"] = str(error)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": signature(self._account.auth_token, sms.callback, fields),
            "I-Twilio-Idempotency-Token": secrets.token_hex(16),
        }
        call = Call(headers, urlencode(fields).encode())
        return lambda: call


def signature(auth_token: str, url: str, fields: dict[str, str]) -> str:
    """X-Twilio-Signature: the URL, then every field's name and value in the order of the names."""
    signed = url + "".join(name + value for name, value in sorted(fields.items()))
    return base64.b64encode(hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()).decode("ascii")


def segments(text: str) -> int:
    """How many messages of a phone the text takes: 160 or 153 septets, 70 or 67 units of UTF-16."""
    septets = gsm7.length(text)
    if septets is not None:
        return 1 if septets <= 160 else -(-septets // 153)
    units = len(text.encode("utf-16-be", "surrogatepass")) // 2
    return 1 if units <= 70 else -(-units // 67)


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:
        raise _Refused("022") from error
    form = dict(pairs)
    if len(form) < len(pairs):
        raise _Refused("022")
    return form


def _refusal(row: Row) -> Reply:
    if row.detail.get("plain") is True:
        return Reply(row.status, [("content-type", "text/html")], f"<html>{row.reason}</html>".encode())
    document: dict[str, object] = {
        "code": int(row.reason),
        "message": row.text("message") or "",
        "more_info": f"https://www.twilio.com/docs/errors/{row.reason}",
        "status": row.status,
    }
    retry_after = row.text("retry_after")
    headers: Headers = [] if retry_after is None else [("retry-after", retry_after)]
    return json_reply(row.status, document, headers)
