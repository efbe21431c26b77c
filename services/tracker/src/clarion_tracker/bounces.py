"""Mail that comes in: bounces, taken only at return paths that we signed and stored before they are answered for, and what
people send to unsubscribe."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from prometheus_client import Counter

from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.links import ReturnPath, verify_return_path
from clarion_tracker.ports import Accounts, Arrivals

KIND = "bounce"
PROVIDER = "mail"
STORED_AS = "mail.bounce"
MAX_MAIL_BYTES = 512 << 10
MAX_RECIPIENTS = 10
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """An SMTP reply."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


_HERE = Answer(250, "2.1.5 ok")
_TAKEN = Answer(250, "2.0.0 ok")
_NOBODY = Answer(550, "5.1.1 no such address")
_TOO_MANY = Answer(452, "4.5.3 too many recipients")
_LATER = Answer(451, "4.3.0 try again later")


class ByMail(Protocol):
    """Who takes mail that is no bounce."""

    def takes(self, address: str) -> bool: ...

    async def mail(self, content: bytes) -> Answer: ...


class BounceDoor:
    """What an SMTP server asks about recipients and mails."""

    def __init__(
        self, key: bytes, accounts: Accounts, arrivals: Arrivals, counter: Counter, by_mail: ByMail | None = None
    ) -> None:
        self._key = key
        self._by_mail = by_mail
        self._accounts = accounts
        self._arrivals = arrivals
        self._counter = counter

    async def recipient(self, address: str, earlier: int) -> Answer:
        """To RCPT TO; `earlier`: recipients of this mail that were taken."""
        if self._is_by_mail(address):
            return _HERE if earlier < MAX_RECIPIENTS else _TOO_MANY
        path = self._path(address)
        if path is None:
            return self._counted("refused", _NOBODY)
        try:
            known = await self._accounts.account(path.lane_id) is not None
        except (Unavailable, DomainError):
            return self._counted("unavailable", _LATER)
        if not known:
            return self._counted("refused", _NOBODY)
        return _HERE if earlier < MAX_RECIPIENTS else _TOO_MANY

    async def mail(self, addresses: list[str], content: bytes) -> Answer:
        """To the end of DATA: taken for all recipients, or for none that is told."""
        if self._by_mail is not None and any(map(self._is_by_mail, addresses)):
            answer = await self._by_mail.mail(content)
            if answer.code != _TAKEN.code:
                return answer
        paths = [path for path in map(self._path, addresses) if path is not None]
        try:
            for path in paths:
                account = await self._accounts.account(path.lane_id)
                if account is not None:
                    body = path.delivery_id.bytes + content
                    new = await self._arrivals.store(account.app_id, account.lane_id, PROVIDER, STORED_AS, body, body)
                    self._counted("stored" if new else "repeated", _TAKEN)
        except (Unavailable, DomainError):
            return self._counted("unavailable", _LATER)
        return _TAKEN

    def _is_by_mail(self, address: str) -> bool:
        return self._by_mail is not None and self._by_mail.takes(address)

    def _path(self, address: str) -> ReturnPath | None:
        return verify_return_path(self._key, address.rpartition("@")[0])

    def _counted(self, result: str, answer: Answer) -> Answer:
        self._counter.labels(KIND, result).inc()
        return answer


def split(body: bytes) -> tuple[UUID, bytes]:
    """The delivery that a stored mail's return path named, and the mail. Raises ValueError."""
    return UUID(bytes=body[:_ID_BYTES]), body[_ID_BYTES:]
