"""Twilio: status callbacks, and messages that people wrote, both to the URL that `status_callback` names."""

import secrets
from datetime import datetime

from clarion_channels.errortable import ErrorTable
from clarion_channels.providers.twilio import receipts
from clarion_channels.providers.twilio.settings import TwilioSettings
from clarion_tracker.callbacks import Call, Forged, Genuine
from clarion_tracker.inbound import Reading, Result, Said
from clarion_tracker.ports import Reply
from clarion_tracker.words import Command, Words

_RECEIVED = "received"


class Verifier:
    """`url`: the public one that Twilio signs."""

    def __init__(self, url: str, auth_token: str) -> None:
        self._url = url
        self._auth_token = auth_token

    async def check(self, call: Call, now: datetime) -> Genuine:
        """Raises Forged. Twilio signs no time: a repetition is told by its fields."""
        url = f"{self._url}?{call.query}" if call.query else self._url
        try:
            fields = receipts.read_form(call.body)
            receipts.verify(url, fields, call.headers.get(receipts.SIGNATURE_HEADER.lower(), ""), self._auth_token)
        except (receipts.Forged, receipts.Malformed) as forged:
            raise Forged(str(forged)) from forged
        return Genuine(repr(sorted(set(fields))).encode())


class Source:
    """`callbacks.Source` of Twilio."""

    kind = "twilio"
    stored_as = "twilio.callback"
    media_types = frozenset({"application/x-www-form-urlencoded"})
    max_body_bytes = 64 << 10
    accepted = Reply(204)

    def __init__(self) -> None:
        self.decoy = Verifier("https://callbacks.invalid/v1/callbacks/twilio/0", secrets.token_hex(16))

    def verifier(self, settings: bytes) -> Verifier:
        account = TwilioSettings.model_validate_json(settings)
        if account.auth_token is None or not account.status_callback:
            raise ValueError("the account takes no callbacks")
        return Verifier(account.status_callback, account.auth_token.get_secret_value())


class Reader:
    """Reads rows that `Source` stored."""

    def __init__(self, words: Words, errors: ErrorTable) -> None:
        self._words = words
        self._errors = errors

    def __call__(self, body: bytes) -> Reading:
        try:
            fields = receipts.read_form(body)
            values = dict(fields)
            if (values.get("MessageStatus") or values.get("SmsStatus", "")) == _RECEIVED:
                return self._said(values)
            return (receipts.parse(fields, self._errors),)
        except receipts.Malformed:
            return Result.MALFORMED

    def _said(self, values: dict[str, str]) -> Reading:
        try:
            command: Command | None = Command(values.get("OptOutType", "").lower())
        except ValueError:
            command = self._words.command(values.get("Body", ""))
        return Result.MESSAGE if command is None else Said(values.get("From", ""), command)
