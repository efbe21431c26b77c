"""Unsubscribing by mail (RFC 2369 §3.2): what the `mailto:` of List-Unsubscribe sends, its subject the signed token."""

import re
from email import policy
from email.parser import BytesHeaderParser

from prometheus_client import Counter

from clarion_channels.mail.unsubscribe import LOCAL_PART
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.links import verify_unsubscribe
from clarion_tracker.bounces import Answer
from clarion_tracker.ports import Categories, Wishes

KIND = "unsubscribe"
MAX_HEADER_BYTES = 64 << 10

_TOKEN = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{56}(?![A-Za-z0-9_-])")
_HEADERS = BytesHeaderParser(policy=policy.compat32)
_TAKEN = Answer(250, "2.0.0 ok")
_NOT_SIGNED = Answer(554, "5.6.0 the subject is not the one of our link")
_LATER = Answer(451, "4.3.0 try again later")


class UnsubscribeMail:
    """Takes mail to `unsubscribe@` any domain; the signature in the subject says who leaves what."""

    def __init__(self, key: bytes, categories: Categories, wishes: Wishes, counter: Counter) -> None:
        self._key = key
        self._categories = categories
        self._wishes = wishes
        self._counter = counter

    def takes(self, address: str) -> bool:
        """Whether a recipient is the one that links name."""
        return address.rpartition("@")[0].lower() == LOCAL_PART

    async def mail(self, content: bytes) -> Answer:
        """To the end of DATA; 250 once the wish is kept. The same mail may come again."""
        head = content.partition(b"\r\n\r\n")[0][:MAX_HEADER_BYTES]
        found = _TOKEN.search(str(_HEADERS.parsebytes(head).get("Subject", "")))
        link = verify_unsubscribe(self._key, found[0]) if found is not None else None
        if link is None:
            return self._counted("invalid", _NOT_SIGNED)
        try:
            category = self._categories.category(link.app_id, link.category_id)
            if category is None:
                return self._counted("invalid", _NOT_SIGNED)
            await self._wishes.unsubscribe(link.app_id, link.recipient_ref, category, link.channel)
        except (Unavailable, DomainError):
            return self._counted("unavailable", _LATER)
        return self._counted("applied", _TAKEN)

    def _counted(self, result: str, answer: Answer) -> Answer:
        self._counter.labels(KIND, result).inc()
        return answer
