"""From a message to the form of a Message resource: pure rules, no I/O.

Source: Twilio, "Message resource", create parameters.
"""

import re
from datetime import datetime
from urllib.parse import urlencode

from clarion_channels.port import Message
from clarion_channels.providers.twilio.settings import TwilioSettings
from clarion_channels.text.gsm7 import is_gsm7, transliterate
from clarion_channels.text.segments import TooManyParts, split

MAX_CHARACTERS = 1600
MAX_VALIDITY_SECONDS = 36_000
"""Ten hours, the longest a message may wait in Twilio's queue."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


class InvalidMessage(Exception):
    """The message cannot become a request. `code` is for machines; the text is free of personal data."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def build_form(message: Message, settings: TwilioSettings, now: datetime) -> bytes:
    """The request's body; `message` must have a second left. Raises `InvalidMessage`."""
    if message.address.WhichOneof("kind") != "sms" or message.content.WhichOneof("content") != "sms":
        raise InvalidMessage("local:not_for_phones", "address or content is not for phones")
    number = message.address.sms.e164
    if _E164.fullmatch(number) is None:
        raise InvalidMessage("local:number", "the address is no E.164 number")
    fields = {
        "To": number,
        "Body": _text(message.content.sms.text, settings),
        "ValidityPeriod": str(validity_seconds(message.expire_at, now)),
    }
    if settings.sender:
        fields["From"] = settings.sender
    else:
        fields["MessagingServiceSid"] = settings.messaging_service_sid
    if settings.status_callback:
        fields["StatusCallback"] = settings.status_callback
    return urlencode(fields, errors="replace").encode()


def validity_seconds(expire_at: datetime, now: datetime) -> int:
    """Whole seconds left, at most ten hours; 0 or less = too late."""
    return min(int((expire_at - now).total_seconds()), MAX_VALIDITY_SECONDS)


def _text(text: str, settings: TwilioSettings) -> str:
    if not text:
        raise InvalidMessage("local:no_text", "no text")
    if settings.transliterate and is_gsm7(plain := transliterate(text)):
        text = plain
    if len(text) > MAX_CHARACTERS:
        raise InvalidMessage("local:text_too_long", f"{len(text)} characters, Twilio takes {MAX_CHARACTERS}")
    try:
        split(text, max_parts=settings.max_segments)
    except TooManyParts as error:
        raise InvalidMessage("local:too_many_segments", str(error)) from error
    return text
