"""POSTs to receivers that anybody may have named: checked at every dial, bounded in time and size."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from socket import SOCK_STREAM, getaddrinfo

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import RequestError
from pyreqwest.response import Response

from clarion_channels.http import parse_retry_after
from clarion_channels.public_hosts import ForbiddenUrl, Resolve, Target, Unresolved, public_address, target_of
from clarion_tracker.webhooks import Answer

RESOLVE_TIMEOUT = timedelta(seconds=3)
CONNECT_TIMEOUT = timedelta(seconds=5)
RESOLVE_AGAIN = timedelta(seconds=60)
RESOLVERS = 16
"""Names looked up at once: a resolver that hangs holds a thread."""
MAX_ANSWER_BYTES = 16 * 1024
_READ_SECONDS = 1.0
REFUSED_ADDRESS, UNRESOLVED, TIMEOUT, UNREACHABLE = "refused_address", "unresolved", "timeout", "unreachable"


@dataclass(slots=True)
class _Line:
    """A client of one address that was checked."""

    client: Client
    target: Target
    checked_at: float


class Receivers:
    """Makes doors to receivers. `private`: http and hosts that are not public pass, for practice."""

    def __init__(self, *, private: bool = False, resolve: Resolve | None = None) -> None:
        self._private = private
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolve")
        self._resolve = resolve or self._look_up

    @asynccontextmanager
    async def knock(self) -> AsyncIterator["ReceiverDoor"]:
        """Its connections are closed on leaving."""
        door = ReceiverDoor(self._private, self._resolve)
        try:
            yield door
        finally:
            await door.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Receivers"]:
        """Look-ups in progress are left to end by themselves."""
        try:
            yield self
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look_up(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, lambda: getaddrinfo(host, port, type=SOCK_STREAM))
        return [str(entry[4][0]) for entry in found]


class ReceiverDoor:
    """`couriers.Door`: keeps the connection for a minute, then the host is looked up and checked anew."""

    def __init__(self, private: bool, resolve: Resolve) -> None:
        self._private = private
        self._resolve = resolve
        self._line: _Line | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout: timedelta) -> Answer:
        """Any answer counts as soon as its head is there, whatever its body does. No redirects, no proxy, no cookies."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                client = await self._client(target_of(url, private=self._private))
                request = client.post(url).headers(headers).body_bytes(body).timeout(timeout).build_streamed()
                async with request as response:
                    answer = _answer(response)
                    with suppress(TimeoutError, RequestError):
                        # A body that is read to its end leaves the connection for the next post.
                        async with asyncio.timeout(_READ_SECONDS):
                            await response.body_reader.read(MAX_ANSWER_BYTES)
            return answer
        except ForbiddenUrl:
            return await self._none(REFUSED_ADDRESS)
        except Unresolved:
            return await self._none(UNRESOLVED)
        except TimeoutError:
            return await self._none(TIMEOUT)
        except ValueError:
            return await self._none("unsendable")
        except RequestError as error:
            return await self._none(_fault(error))

    async def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.client.close()

    async def _client(self, target: Target) -> Client:
        line = self._line
        if (
            line is not None
            and line.target == target
            and time.monotonic() - line.checked_at < RESOLVE_AGAIN.total_seconds()
        ):
            return line.client
        address = await public_address(target, timeout=RESOLVE_TIMEOUT, private=self._private, resolve=self._resolve)
        await self.close()
        self._line = _Line(_build(target, address, private=self._private), target, time.monotonic())
        return self._line.client

    async def _none(self, error: str) -> Answer:
        # The next try begins with a look at the host.
        await self.close()
        return Answer(error=error)


def _build(target: Target, address: str, *, private: bool) -> Client:
    return (
        ClientBuilder()
        .https_only(not private)
        .no_proxy()
        .follow_redirects(False)
        .referer(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .connect_timeout(CONNECT_TIMEOUT)
        .resolve(target.host, address, target.port)
        .user_agent("clarion")
        .build()
    )


def _answer(response: Response) -> Answer:
    asked_for = parse_retry_after(response.get_header("retry-after") or "", datetime.now(UTC))
    return Answer(response.status, retry_after=asked_for)


def _fault(error: RequestError) -> str:
    texts = " ".join(cause["message"] for cause in error.details["causes"] or [])
    return TIMEOUT if "timed out" in texts else UNREACHABLE
