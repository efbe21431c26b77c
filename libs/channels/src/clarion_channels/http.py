"""HTTP for providers: a pool of pyreqwest clients, and what their failures mean for a delivery."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from operator import attrgetter
from pathlib import Path
from uuid import UUID

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import DetailedPyreqwestError, RequestError

from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Report

MAX_RESPONSE_BYTES = 64 * 1024
MAX_RETRY_AFTER = timedelta(days=1)

_WARM_SECONDS = 10.0
_TIMER_SLACK_SECONDS = 0.02

# The exception classes tell nothing: a connection that was closed after the server had worked raises ConnectError, and
# an answer that never comes raises ConnectTimeoutError. The causes do.
_NOT_PROCESSED = (
    "client error (Connect)",
    "refused stream before processing",
    "connection error received: not a result of an error",  # GOAWAY below our stream
)


class NotSent(Exception):
    """The peer has not acted on the request: it is safe to send it again. `code` is for machines."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class NoAnswer(Exception):
    """The request was handed to the network and no answer came: it may or may not have been acted on."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A response: header names in lower case, at most 64 KB of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def retry_after(self, now: datetime) -> timedelta | None:
        """The `Retry-After` header, if there is a usable one."""
        return parse_retry_after(self.headers.get("retry-after", ""), now)


@dataclass(slots=True)
class Attempt:
    """Tells whoever is cancelled whether the request may have left."""

    handed_over: bool = False


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How a pool connects. `clients` connections with up to `streams` requests open on each."""

    clients: int
    streams: int
    connect_timeout: timedelta
    ca_file: Path | None = None
    """Trust these certificates (PEM) beside the system's."""
    pinned: tuple[str, str, int] | None = None
    """(host, ip, port): connect to this address for that host, whatever DNS says by then."""
    kept_headers: frozenset[str] = field(default=frozenset({"retry-after", "location"}))


@dataclass(eq=False, slots=True)
class _Connection:
    """One client, which is one HTTP/2 connection."""

    client: Client
    open: int = 0
    answered_at: float = -_WARM_SECONDS
    gate: asyncio.Lock = field(default_factory=asyncio.Lock)


class HttpPool:
    """Sends requests over HTTP/2 where offered, each on the client that has the fewest open.

    One pyreqwest client keeps one HTTP/2 connection, so a peer's stream limit times the round trip bounds it: hence
    several. While a client has none yet, every request that it is given at once opens its own (40 were counted for 100):
    so the first request of a client that was not used for ten seconds goes alone, the others follow its answer.
    A client on which a request ran out of time while nothing at all was answered is replaced: a peer that has stopped
    reading still answers PINGs, so nothing else would ever end that connection.

    No redirects, no proxy from the environment, no decompression, no cookies, TLS only.
    """

    def __init__(self, options: PoolOptions) -> None:
        """Raises `OSError` when the CA file cannot be read and `ValueError` when it holds no certificate."""
        self._options = options
        self._kept_headers = options.kept_headers
        self._connections = [_Connection(_client(options)) for _ in range(options.clients)]
        self._leaving: set[_Connection] = set()
        self._slots = asyncio.Semaphore(options.clients * options.streams)
        self._closed = False
        self._open = 0
        self._ended = asyncio.Event()

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout: timedelta, attempt: Attempt
    ) -> HttpAnswer:
        """One POST, bounded by `timeout`; at most half of it is spent on waiting for a free stream.

        Raises `NotSent` and `NoAnswer`, and `ValueError` for a URL or header that cannot be sent.
        """
        if self._closed:
            raise NotSent("local:closed", "the pool is closed")
        now = asyncio.get_running_loop().time()
        deadline = now + timeout.total_seconds()
        latest_start = now + timeout.total_seconds() / 2
        self._open += 1
        try:
            return await self._post(url, headers, body, latest_start, deadline, attempt)
        finally:
            self._open -= 1
            self._ended.set()

    async def close(self, grace: timedelta) -> None:
        """Take no more requests, let open ones finish within `grace`, free every connection. Idempotent.

        What is still open then raises `NoAnswer`.
        """
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace.total_seconds()):
                while self._open:
                    self._ended.clear()
                    await self._ended.wait()
        for connection in [*self._connections, *self._leaving]:
            await connection.client.close()

    async def _post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        latest_start: float,
        deadline: float,
        attempt: Attempt,
    ) -> HttpAnswer:
        await _acquire(self._slots, latest_start)
        try:
            connection = min(self._connections, key=attrgetter("open"))
            connection.open += 1
            try:
                if _is_cold(connection):
                    await _acquire(connection.gate, latest_start)
                    try:
                        if _is_cold(connection):
                            return await self._exchange(connection, url, headers, body, deadline, attempt)
                    finally:
                        connection.gate.release()
                return await self._exchange(connection, url, headers, body, deadline, attempt)
            finally:
                connection.open -= 1
                if connection in self._leaving and not connection.open:
                    self._leaving.discard(connection)
                    await connection.client.close()
        finally:
            self._slots.release()

    async def _exchange(
        self,
        connection: _Connection,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
        attempt: Attempt,
    ) -> HttpAnswer:
        loop = asyncio.get_running_loop()
        started = loop.time()
        left = timedelta(seconds=deadline - started)
        request = connection.client.post(url).headers(headers).body_bytes(body).timeout(left).build_streamed()
        attempt.handed_over = True
        try:
            async with request as response:
                kept = {name: value for name in self._kept_headers if (value := response.get_header(name)) is not None}
                received = bytes(await response.body_reader.read(MAX_RESPONSE_BYTES) or b"")
        except RequestError as error:
            causes = _causes(error)
            if any(text in causes for text in _NOT_PROCESSED):
                attempt.handed_over = False
                raise NotSent("local:connect", causes) from error
            if connection.answered_at < started and loop.time() >= deadline - _TIMER_SLACK_SECONDS:
                self._replace(connection)
            raise NoAnswer(causes) from error
        connection.answered_at = loop.time()
        return HttpAnswer(response.status, kept, received)

    def _replace(self, connection: _Connection) -> None:
        # Its open requests still have their time; the last of them closes it.
        if connection in self._connections and not self._closed:
            self._leaving.add(connection)
            self._connections[self._connections.index(connection)] = _Connection(_client(self._options))


def _is_cold(connection: _Connection) -> bool:
    return asyncio.get_running_loop().time() - connection.answered_at >= _WARM_SECONDS


async def _acquire(lock: asyncio.Lock | asyncio.Semaphore, until: float) -> None:
    if not lock.locked():
        await lock.acquire()
        return
    try:
        async with asyncio.timeout_at(until):
            await lock.acquire()
    except TimeoutError as error:
        raise NotSent("local:no_free_stream", "no stream became free in time") from error


def _client(options: PoolOptions) -> Client:
    builder = (
        ClientBuilder()
        .http2(True)
        .https_only(True)
        .no_proxy()
        .follow_redirects(False)
        .referer(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .connect_timeout(options.connect_timeout)
        .tcp_keepalive(timedelta(seconds=60))
        .pool_idle_timeout(timedelta(hours=1))
        .http2_keep_alive_interval(timedelta(seconds=60))
        .http2_keep_alive_timeout(timedelta(seconds=10))
        .user_agent("clarion")
    )
    if options.ca_file is not None:
        builder = builder.add_root_certificate_pem(options.ca_file.read_bytes())
    if options.pinned is not None:
        builder = builder.resolve(*options.pinned)
    return builder.build()


def _causes(error: DetailedPyreqwestError) -> str:
    """Why, without the URL: a push endpoint is an address."""
    messages = [cause["message"] for cause in error.details["causes"] or []]
    return "; ".join(message for message in messages if "://" not in message) or type(error).__name__


def parse_retry_after(value: str, now: datetime) -> timedelta | None:
    """RFC 9110 section 10.2.3: seconds or a date. Between 0 and a day; None when it is neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        wait = timedelta(seconds=min(int(value[:9]), MAX_RETRY_AFTER.total_seconds()))
    else:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return min(max(wait, timedelta(0)), MAX_RETRY_AFTER)


async def send_each(
    batch: Sequence[Message], report: Report, send_one: Callable[[Message, Attempt], Awaitable[Result]]
) -> None:
    """Run `send_one` for every message at once and report each exactly once, also when cancelled.

    `NotSent` becomes RETRY and `NoAnswer` UNKNOWN. The caller's `max_in_flight` and the pool bound what is open.
    """
    unreported: dict[UUID, tuple[Message, Attempt]] = {message.delivery_id: (message, Attempt()) for message in batch}

    async def run(message: Message, attempt: Attempt) -> None:
        try:
            result = await send_one(message, attempt)
        except NotSent as error:
            result = Result(Outcome.RETRY, code=error.code, detail=str(error)[:256])
        except NoAnswer as error:
            result = Result(Outcome.UNKNOWN, code="local:no_answer", detail=str(error)[:256])
        del unreported[message.delivery_id]
        report(message, result)

    try:
        async with asyncio.TaskGroup() as tasks:
            for message, attempt in list(unreported.values()):
                tasks.create_task(run(message, attempt))
    finally:
        # Empty unless this call was cancelled.
        for message, attempt in unreported.values():
            outcome = Outcome.UNKNOWN if attempt.handed_over else Outcome.RETRY
            report(message, Result(outcome, code="local:cancelled"))
