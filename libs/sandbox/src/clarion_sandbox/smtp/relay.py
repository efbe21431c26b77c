"""The relay behind the sessions: who may send, what becomes of a recipient and of a message, the ledger."""

import hmac
import itertools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clarion_sandbox import content
from clarion_sandbox.answers import Fate, Row, Special, at_data_stage, bounces_later
from clarion_sandbox.fates import Fates
from clarion_sandbox.ledger import Ledger

from .bounces import Bounces, Notice

NAME = "smtp"
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?(<[^\r\n]*>)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Recipient:
    """An accepted recipient: what the sender wants to hear of it (NOTIFY), ORCPT, and what it will bounce with."""

    mailbox: str
    notify: frozenset[str] = frozenset(("FAILURE", "DELAY"))
    original: str = ""
    bounce: Row | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """Sender (empty for bounces), accepted recipients, ENVID, and whether bounces return the whole message (RET)."""

    sender: str
    recipients: Sequence[Recipient]
    envelope_id: str = ""
    returns_all: bool = True


class Relay:
    """Takes mail for everybody in the world."""

    def __init__(
        self,
        username: str,
        password: str,
        fates: Fates,
        ledger: Ledger,
        bounces: Bounces,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._username, self._password = username.encode(), password.encode()
        self._fates = fates
        self._ledger = ledger
        self._bounces = bounces
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
        if isinstance(fate, Row) and not at_data_stage(fate) and not bounces_later(fate):
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
                destination=recipient.mailbox,
                digest=digest,
                content=message,
                our_id=our_id,
                attributes={"sender": envelope.sender},
            )
            self._report(envelope, recipient, queue_id, message)
        return queue_id

    def _report(self, envelope: Envelope, recipient: Recipient, queue_id: str, message: bytes) -> None:
        row = recipient.bounce
        if row is None:
            action, status, diagnostic = "delivered", "2.0.0", "250 2.0.0 Ok"
        else:
            action = "failed" if row.status >= 500 else "delayed"
            status, diagnostic = enhanced(row), f"{row.status} {enhanced(row)} {row.reason}"
        wanted = {"delivered": "SUCCESS", "failed": "FAILURE", "delayed": "DELAY"}[action]
        if envelope.sender and wanted in recipient.notify:
            returned = message if envelope.returns_all else message.partition(b"\r\n\r\n")[0] + b"\r\n"
            self._bounces.send(
                Notice(
                    to=envelope.sender,
                    queue_id=queue_id,
                    envelope_id=envelope.envelope_id,
                    recipient=recipient.mailbox,
                    original_recipient=recipient.original,
                    action=action,
                    status=status,
                    diagnostic=diagnostic,
                    returned=returned,
                    returns_all=envelope.returns_all,
                )
            )


def enhanced(row: Row) -> str:
    """The enhanced code of an SMTP answer, for example ``5.1.1``."""
    return row.code.rpartition("-")[2]
