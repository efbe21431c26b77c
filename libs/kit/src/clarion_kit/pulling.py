"""One reader of a JetStream consumer: a pull request that waits at the server for the first message.

nats-py's `fetch` asks twice for a batch (a probe and a request that waits), makes a task for every message, and cannot be
ended early. Here one request does both: with `no_wait` and `expires` the server gives what is there, or waits for one message
(tried with nats-server 2.15), and says that it is done. So it may wait long, and a lane at rest costs next to nothing.
"""

import asyncio
import json
import time
from contextlib import suppress
from datetime import timedelta
from enum import Enum, auto

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import APIError

PULL_EXPIRY = timedelta(seconds=5)
"""How long a request waits at the server. One that got lost on the way is asked again after it."""
_SLACK = timedelta(seconds=1)
"""What the server says may come this much later."""
_REST = timedelta(milliseconds=200)
"""The others of a batch, or that there are none, come right behind the first. A consumer that became full says nothing."""
_AWAY = (NatsError, TimeoutError, OSError, RuntimeError)
_DONE = frozenset({api.StatusCode.NO_MESSAGES.value, api.StatusCode.REQUEST_TIMEOUT.value})


class _Wake(Enum):
    """What ends a wait besides a message."""

    STOP = auto()
    ANEW = auto()


class Puller:
    """A reader. `fetch` is for one task; `stop` and `ask_anew` may be called beside it."""

    def __init__(self, client: Client, stream: str, consumer: str) -> None:
        self._client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._arrived: asyncio.Queue[Msg | _Wake] = asyncio.Queue()  # holds no more than was asked for
        self._stopped = False

    async def open(self) -> None:
        """Raises nats.errors.Error, OSError where there is no connection."""
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(self._inbox, cb=self._arrive)

    def stop(self) -> None:
        """End the wait of `fetch`."""
        self._stopped = True
        self._arrived.put_nowait(_Wake.STOP)

    def ask_anew(self) -> None:
        """The connection is another one: what was asked on the former is forgotten."""
        self._arrived.put_nowait(_Wake.ANEW)

    async def fetch(self, most: int) -> list[Msg] | None:
        """Up to `most` messages as soon as there is one; none after `PULL_EXPIRY` or `stop`. None: this reader has lost its
        connection, another one must be opened. Raises nats.errors.Error (APIError: what the server says), OSError.
        """
        asked_at = time.monotonic()
        messages = await self._ask(most, no_wait=True)
        answered_early = time.monotonic() - asked_at < PULL_EXPIRY.total_seconds() / 2
        if messages == [] and answered_early and not self._stopped:
            # There are messages that the consumer may not give out now: it is full. This request waits for one.
            messages = await self._ask(1, no_wait=False)
        return messages

    async def _ask(self, most: int, *, no_wait: bool) -> list[Msg] | None:
        request = {"batch": most, "expires": int(PULL_EXPIRY.total_seconds() * 1e9), "no_wait": no_wait}
        await self._client.publish(self._next, json.dumps(request).encode(), self._inbox)
        messages: list[Msg] = []
        wait = PULL_EXPIRY + _SLACK
        while len(messages) < most and not self._stopped:
            try:
                async with asyncio.timeout(wait.total_seconds()):
                    arrived = await self._arrived.get()
            except TimeoutError:
                break
            if isinstance(arrived, _Wake):
                return messages or (None if arrived is _Wake.ANEW else [])
            status = _status(arrived)
            if status is None:
                messages.append(arrived)
                wait = _REST
            elif messages or status in _DONE:
                break
            else:
                APIError.from_msg(arrived)
        return messages

    async def close(self) -> None:
        """Ask for no more; what came nevertheless is given back, for another reader to have at once."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        with suppress(*_AWAY):
            if self._client.is_connected:
                await asyncio.wait_for(subscription.drain(), _SLACK.total_seconds())  # type: ignore[no-untyped-call]
            else:
                await subscription.unsubscribe()
        while not self._arrived.empty():
            left = self._arrived.get_nowait()
            if isinstance(left, Msg) and _status(left) is None:
                with suppress(*_AWAY):
                    await left.nak()

    async def _arrive(self, message: Msg) -> None:
        self._arrived.put_nowait(message)


def _status(message: Msg) -> str | None:
    """What the server says of a request, None for a message of a stream."""
    return (message.headers or {}).get(api.Header.STATUS.value)
