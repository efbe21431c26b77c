"""Callbacks of providers over HTTP: proven genuine, stored, then answered. They are applied later.

A 2xx means committed, anything else asks the provider to call again or tells a forger nothing: unknown accounts, accounts of
another provider and wrong signatures look the same and cost the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from prometheus_client import Counter

from clarion_kit.clock import Clock
from clarion_kit.errors import DomainError, Unavailable
from clarion_tracker.ports import Account, Accounts, Arrivals, BodyTooLarge, Reply, Request

KIND = "callback"
MAX_LANE_ID = 2**31 - 1
_REFUSED = Reply(403, body=b"refused\n")
_AWAY = Reply(503, body=b"try again\n", headers={"retry-after": "30"})


class Forged(Exception):
    """The call is not the provider's, or too old; the text says which, for us alone."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came; header names in lower case."""

    query: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Genuine:
    """A call that was proven. `identity` is the same in each repetition; `kept` False: nothing in it is to be stored."""

    identity: bytes = field(repr=False)
    kept: bool = True


class Verifier(Protocol):
    """What proves the calls of one account."""

    async def check(self, call: Call, now: datetime) -> Genuine:
        """Raises Forged, and Unavailable where it cannot be told now."""
        ...


class Source(Protocol):
    """How one kind of provider calls."""

    kind: str
    """Of its accounts."""
    stored_as: str
    """The kind of its rows in `tracking.inbound`."""
    media_types: frozenset[str]
    max_body_bytes: int
    accepted: Reply
    """What it wants to read once its call is stored."""

    @property
    def decoy(self) -> Verifier:
        """Checks calls for accounts that are not there, with the same work."""
        ...

    def verifier(self, settings: bytes) -> Verifier:
        """Of an account's credential document. Raises ValueError: it takes no callbacks."""
        ...


class Callbacks:
    """Answers calls for `sources`, by their kind."""

    def __init__(
        self, sources: Mapping[str, Source], accounts: Accounts, arrivals: Arrivals, counter: Counter, clock: Clock
    ) -> None:
        self._sources = sources
        self._accounts = accounts
        self._arrivals = arrivals
        self._counter = counter
        self._clock = clock
        self._verifiers: dict[int, tuple[int, Verifier]] = {}

    async def answer(self, request: Request, kind: str, lane: str) -> Reply:
        """The answer to a call of a provider of `kind` for the account `lane`, as they stand in the path."""
        source = self._sources.get(kind)
        if source is None:
            return Reply(404, body=b"not found\n")
        if request.method != "POST":
            return Reply(405, body=b"method not allowed\n", headers={"allow": "POST"})
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in source.media_types or request.headers.get("content-encoding", "identity") != "identity":
            return self._counted("wrong_type", Reply(415, body=b"unsupported media type\n"))
        try:
            body = await request.body.read(source.max_body_bytes)
        except BodyTooLarge:
            return self._counted("too_large", Reply(413, body=b"too large\n", headers={"connection": "close"}))
        try:
            return await self._take(source, lane, Call(request.query, request.headers, body))
        except Forged:
            return self._counted("refused", _REFUSED)
        except (Unavailable, DomainError):
            return self._counted("unavailable", _AWAY)

    async def _take(self, source: Source, lane: str, call: Call) -> Reply:
        lane_id = int(lane) if lane.isascii() and lane.isdigit() and len(lane) <= 10 else 0
        account = await self._accounts.account(lane_id, source.kind) if 0 < lane_id <= MAX_LANE_ID else None
        genuine = await self._verifier(source, account).check(call, self._clock.now())
        if account is None:
            raise Forged("there is no such account")
        if not genuine.kept:
            return self._counted("confirmed", source.accepted)
        new = await self._arrivals.store(
            account.app_id, account.lane_id, source.kind, source.stored_as, call.body, genuine.identity
        )
        return self._counted("stored" if new else "repeated", source.accepted)

    def _verifier(self, source: Source, account: Account | None) -> Verifier:
        if account is None:
            return source.decoy
        revision, verifier = self._verifiers.get(account.lane_id, (0, source.decoy))
        if revision != account.revision:
            try:
                verifier = source.verifier(account.settings)
            except ValueError:
                verifier = source.decoy
            self._verifiers[account.lane_id] = (account.revision, verifier)
        return verifier

    def _counted(self, result: str, reply: Reply) -> Reply:
        self._counter.labels(KIND, result).inc()
        return reply
