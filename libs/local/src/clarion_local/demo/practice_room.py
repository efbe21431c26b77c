"""What the demonstration asks of the sandbox over its control API, and pixels of the tracker. Blocking; use a thread."""

import json
import re
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from clarion_client import JsonValue
from clarion_local.demo.matching import TakenMessage
from clarion_local.practice import Practice

_PAGE = 10_000
_TIMEOUT_SECONDS = 10.0
_READER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Safari/537.36"
_PIXEL = re.compile(r"""<img src="(http[^"]+/o/[^"]+\.gif)\"""")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the sandbox's ledger."""

    n: int
    kind: str
    accepted: bool
    message_id: str
    destination: str
    digest: str

    def as_message(self) -> TakenMessage:
        return TakenMessage(self.n, self.kind, self.message_id, self.destination, self.digest)


class PracticeRoom:
    """A running sandbox. Every method raises OSError when it does not answer within ten seconds."""

    def __init__(self, practice: Practice) -> None:
        self._url = practice.url
        self._headers = {"authorization": f"Bearer {practice.api_token}"}
        self._tls = ssl.create_default_context(cafile=practice.ca_file)

    def entries(self) -> int:
        """How many lines its ledger has."""
        summary = json.loads(self._get("summary"))
        return int(summary["entries"])

    def accepted(self) -> int:
        """How many messages it has taken."""
        summary = json.loads(self._get("summary"))
        return sum(int(provider["accepted"]) for provider in summary["providers"].values())

    def ledger(self, after: int) -> Iterator[Entry]:
        """The lines beyond number `after`, page by page."""
        while True:
            lines = self._get(f"ledger?after={after}&limit={_PAGE}").splitlines()
            for line in lines:
                found = json.loads(line)
                yield Entry(
                    found["n"],
                    found["provider"],
                    found["accepted"],
                    found["message_id"],
                    found["destination"],
                    found["digest"],
                )
            if len(lines) < _PAGE:
                return
            after += len(lines)

    def mail_to(self, mailbox: str, after: int) -> int | None:
        """The number of the first mail to a mailbox beyond number `after`, None where there is none yet."""
        taken = (entry for entry in self.ledger(after) if entry.accepted and entry.destination == mailbox)
        return next((entry.n for entry in taken), None)

    def open_pixel(self, n: int) -> str | None:
        """The URL of the open pixel in mail `n`, None where it has none."""
        message: dict[str, dict[str, JsonValue]] = json.loads(self._get(f"messages/{n}"))
        html = message["content"].get("html")
        found = _PIXEL.search(html) if isinstance(html, str) else None
        return found[1] if found else None

    def look_at(self, pixel_url: str) -> None:
        """Fetch a pixel as a reader's mail program does. Raises OSError, HTTPException."""
        request = urllib.request.Request(pixel_url, headers={"user-agent": _READER})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=self._tls) as answer:
            answer.read()

    def _get(self, path: str) -> bytes:
        request = urllib.request.Request(f"{self._url}/sandbox/{path}", headers=self._headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=self._tls) as answer:
            body: bytes = answer.read()
        return body
