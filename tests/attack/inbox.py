"""What the sandbox received, as its own record tells it."""

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from ssl import SSLContext

from clarion_local.practice import Practice

_SECONDS = 20
_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that was taken, or a refusal: its number, provider and destination."""

    n: int
    provider: str
    accepted: bool
    destination: str


class Inbox:
    """Of one practice stack."""

    def __init__(self, practice: Practice, tls: SSLContext) -> None:
        self._practice = practice
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=tls))

    async def newest(self) -> int:
        """The number of the last entry."""
        summary = json.loads(await self._get("/sandbox/summary"))
        return int(summary["entries"])

    async def since(self, after: int) -> list[Entry]:
        """What came behind an entry."""
        found: list[Entry] = []
        while True:
            page = list(_entries(await self._get(f"/sandbox/ledger?after={after}&limit={_LINES}")))
            found += page
            if len(page) < _LINES:
                return found
            after = page[-1].n

    async def source(self, n: int) -> str:
        """A message as it came over the wire, its first 256 KiB."""
        return str(json.loads(await self._get(f"/inbox/api/messages/{n}"))["source"])

    async def _get(self, path: str) -> bytes:
        headers = {"authorization": f"Bearer {self._practice.api_token}"}
        request = urllib.request.Request(f"{self._practice.url}{path}", headers=headers)

        def fetch() -> bytes:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                return bytes(answer.read())

        return await asyncio.to_thread(fetch)


def _entries(lines: bytes) -> Iterator[Entry]:
    for line in lines.splitlines():
        entry = json.loads(line)
        yield Entry(entry["n"], entry["provider"], entry["accepted"], entry["destination"])
