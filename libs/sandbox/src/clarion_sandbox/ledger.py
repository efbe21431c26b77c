"""What arrived: one line per message or refusal in ``ledger.ndjson``, with a small index in memory.

A line: ``n`` (1, 2, …), ``provider``, ``accepted``, ``answer``, ``message_id`` (given out by us), ``destination``,
``digest`` (content.py), ``received_at`` (Unix seconds), ``our_id`` (the sender's id, if the protocol carries one),
``attempt`` (how often this digest came to this destination), ``size`` (bytes of content). Lines are written in
batches; a kill may cost the last ``FLUSH_SECONDS``.
"""

import asyncio
import json
import os
import time
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quote
from pathlib import Path

FLUSH_SECONDS = 0.05
_FLUSH_LINES = 512
_INDEX_EVERY = 64
_READ_BYTES = 1 << 18
_ATTEMPT_GENERATION = 500_000
_MAX_ANSWERS = 1_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message kept whole: its ledger number, provider, content as it was understood, and how it came."""

    n: int
    provider: str
    content: bytes
    attributes: dict[str, str]
    destination: str
    received_at: float


class _Attempts:
    """How often a key was seen, over at least the newest ``_ATTEMPT_GENERATION`` keys."""

    def __init__(self) -> None:
        self._new: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def count(self, destination: str, digest: str) -> int:
        key = hash((destination, digest))
        seen = self._new.get(key) or self._old.get(key, 0)
        if len(self._new) >= _ATTEMPT_GENERATION and key not in self._new:
            self._old, self._new = self._new, {}
        self._new[key] = seen + 1
        return seen + 1


class Ledger:
    """The sandbox's own record, to be compared with the sender's."""

    def __init__(self, path: Path, *, keep: int = 5_000, keep_bytes: int = 64 << 20) -> None:
        """Open ``path`` for appending; what an earlier process wrote stays and is counted on.

        Raises:
            ValueError: the file holds something else.
            OSError: it cannot be opened.
        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._keep, self._keep_bytes = keep, keep_bytes
        self._attempts = _Attempts()
        self._counts: dict[str, dict[str, int]] = {}
        self._accepted: dict[str, int] = {}
        self._repeated: dict[str, int] = {}
        self._offsets = array("Q")
        self._n = 0
        self._bytes = 0
        self._pending: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._arrivals: OrderedDict[int, Arrival] = OrderedDict()
        self._arrival_bytes = 0
        self._replay()

    def accept(
        self,
        provider: str,
        *,
        answer: str,
        message_id: str,
        destination: str,
        digest: str,
        content: bytes,
        our_id: str = "",
        attributes: dict[str, str] | None = None,
    ) -> int:
        """Record a message that was taken; gives its number."""
        attempt = self._attempts.count(destination, digest)
        self._accepted[provider] = self._accepted.get(provider, 0) + 1
        if attempt > 1:
            self._repeated[provider] = self._repeated.get(provider, 0) + 1
        n = self._write(provider, "true", answer, message_id, destination, digest, our_id, attempt, len(content))
        self._keep_arrival(Arrival(n, provider, content, attributes or {}, destination, time.time()))
        return n

    def refuse(self, provider: str, *, answer: str, destination: str = "", our_id: str = "", size: int = 0) -> int:
        """Record a request that was not taken, with the answer it got; gives its number."""
        return self._write(provider, "false", answer, "", destination, "", our_id, 0, size)

    def read(self, after: int, limit: int) -> bytes:
        """Up to ``limit`` lines with ``n > after``, oldest first."""
        self.flush()
        if after >= self._n or limit <= 0:
            return b""
        block = max(after, 0) // _INDEX_EVERY
        skip = max(after, 0) - block * _INDEX_EVERY
        wanted, position, chunks = skip + limit, self._offsets[block], bytearray()
        found = 0
        while found < wanted and position < self._bytes:
            chunk = os.pread(self._descriptor, _READ_BYTES, position)
            position += len(chunk)
            found += chunk.count(b"\n")
            chunks += chunk
        return b"".join(bytes(chunks).splitlines(keepends=True)[skip:wanted])

    def arrival(self, n: int) -> Arrival | None:
        """A whole message, while it is among the newest."""
        return self._arrivals.get(n)

    def arrivals(self) -> list[Arrival]:
        """The messages kept whole, oldest first."""
        return list(self._arrivals.values())

    @property
    def newest_arrival(self) -> int:
        """The number of the newest message kept whole, 0 without one."""
        return next(reversed(self._arrivals), 0)

    def summary(self) -> dict[str, object]:
        """Counts per provider: accepted, repeated (same digest to the same destination), and by answer."""
        return {
            "entries": self._n,
            "providers": {
                provider: {
                    "accepted": self._accepted.get(provider, 0),
                    "repeated": self._repeated.get(provider, 0),
                    "answers": dict(answers),
                }
                for provider, answers in self._counts.items()
            },
        }

    def flush(self) -> None:
        """Write what is pending to the file."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            while data:
                data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """Write what is pending and close the file."""
        self.flush()
        os.close(self._descriptor)

    def _write(
        self,
        provider: str,
        accepted: str,
        answer: str,
        message_id: str,
        destination: str,
        digest: str,
        our_id: str,
        attempt: int,
        size: int,
    ) -> int:
        n = self._n + 1
        line = (
            f'{{"n":{n},"provider":"{provider}","accepted":{accepted},"answer":{quote(answer)},'
            f'"message_id":{quote(message_id)},"destination":{quote(destination)},"digest":"{digest}",'
            f'"received_at":{time.time():.6f},"our_id":{quote(our_id)},"attempt":{attempt},"size":{size}}}\n'
        ).encode()
        self._index(len(line))
        self._tally(provider, answer)
        self._pending.append(line)
        if len(self._pending) >= _FLUSH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        return n

    def _index(self, length: int) -> None:
        if self._n % _INDEX_EVERY == 0:
            self._offsets.append(self._bytes)
        self._n += 1
        self._bytes += length

    def _tally(self, provider: str, answer: str) -> None:
        answers = self._counts.setdefault(provider, {})
        if answer not in answers and len(answers) >= _MAX_ANSWERS:
            answer = "other"
        answers[answer] = answers.get(answer, 0) + 1

    def _keep_arrival(self, arrival: Arrival) -> None:
        self._arrivals[arrival.n] = arrival
        self._arrival_bytes += len(arrival.content)
        while len(self._arrivals) > self._keep or self._arrival_bytes > self._keep_bytes:
            _, oldest = self._arrivals.popitem(last=False)
            self._arrival_bytes -= len(oldest.content)

    def _replay(self) -> None:
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    # A kill in the middle of a write: the torn line was never readable, so it never counted.
                    os.ftruncate(self._descriptor, self._bytes)
                    return
                self._replay_line(json.loads(line), len(line))

    def _replay_line(self, entry: dict[str, object], length: int) -> None:
        if entry.get("n") != self._n + 1:
            raise ValueError(f"ledger line {self._n + 1} has another number")
        provider = str(entry["provider"])
        self._index(length)
        self._tally(provider, str(entry["answer"]))
        if entry["accepted"] is True:
            self._accepted[provider] = self._accepted.get(provider, 0) + 1
            if self._attempts.count(str(entry["destination"]), str(entry["digest"])) > 1:
                self._repeated[provider] = self._repeated.get(provider, 0) + 1
