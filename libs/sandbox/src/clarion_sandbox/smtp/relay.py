"""The relay behind the sessions: who may send, what becomes of a recipient and of a message, the ledger."""

import hmac
import itertools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clarion_sandbox import content
from clarion_sandbox.answers import Fate, Row, Special, at_data_stage
from clarion_sandbox.fates import Fates
from clarion_sandbox.ledger import Ledger

NAME = "smtp"
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?(<[^\r\n]*>)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Sender (empty for bounces) and accepted recipients of a message."""

    sender: str
    recipients: Sequence[str]


class Relay:
    """Takes mail for everybody in the world."""

    def __init__(
        self, username: str, password: str, fates: Fates, ledger: Ledger, clock: Callable[[], float] = time.time
    ) -> None:
        self._username, self._password = username.encode(), password.encode()
        self._fates = fates
        self._ledger = ledger
        self._queue_ids = itertools.count(int(clock() * 1000) << 12)

    def authenticate(self, username: bytes, password: bytes) -> bool:
        """Whether these are the credentials of sandbox.json."""
        known = hmac.compare_digest(username, self._username)
        return hmac.compare_digest(password, self._password) and known

    def latency(self) -> float:
        """Seconds before each reply."""
        return self._fates.latency(NAME)

    def decide(self, recipient: str) -> Fate | None:
        """What becomes of a recipient (or, for a row of the data stage, of its message)."""
        fate = self._fates.decide(NAME, recipient)
        if isinstance(fate, Row) and not at_data_stage(fate):
            self.refuse(fate.status, enhanced(fate), recipient)
        elif fate is Special.HANG or fate is Special.CUT:
            self._ledger.refuse(NAME, answer=fate, destination=recipient)
        return fate

    def refuse(self, code: int, text: str, recipient: str = "", size: int = 0) -> None:
        """Record a refusal."""
        self._ledger.refuse(NAME, answer=f"{code} {text}", destination=recipient, size=size)

    def accept(self, envelope: Envelope, message: bytes, answer: str) -> str:
        """Record a message for each of its recipients; gives the queue id."""
        queue_id = f"{next(self._queue_ids):X}"
        digest = content.of_mail(message)
        header, _, _ = message.partition(b"\r\n\r\n")
        match = _MESSAGE_ID.search(header)
        our_id = match[1].decode("ascii", "replace") if match else ""
        for recipient in envelope.recipients:
            self._ledger.accept(
                NAME,
                answer=answer,
                message_id=queue_id,
                destination=recipient,
                digest=digest,
                content=message,
                our_id=our_id,
                attributes={"sender": envelope.sender},
            )
        return queue_id


def enhanced(row: Row) -> str:
    """The enhanced code of an SMTP answer, for example ``5.1.1``."""
    return row.code.rpartition("-")[2]
