"""One call of `send`: every message of the batch to its one report."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Report
from clarion_channels.providers.apns.answer import Ending
from clarion_channels.providers.apns.connection import Exchange
from clarion_channels.providers.apns.payload import build_request
from clarion_channels.providers.apns.pool import ApnsPool, DialFailed
from clarion_channels.push.content import InvalidMessage

_TURN = 32
"""Requests written before other work gets its turn: about 3 ms of the event loop."""


class Flight:
    """Holds what is written and not answered; reports each message exactly once, also when cut short."""

    def __init__(
        self, default_bundle_id: str, report: Report, judge: Callable[[Exchange, Ending, str], Result]
    ) -> None:
        self._default_bundle_id = default_bundle_id
        self._report = report
        self._judge = judge
        self._unwritten: list[deque[Message]] = []
        self._open: dict[Exchange, Message] = {}
        self._answered = asyncio.Event()

    async def run(self, work: Sequence[tuple[ApnsPool, Sequence[Message]]], timeout_seconds: float) -> None:
        """Write all messages, each to its pool, and wait for the answers.

        Half of the time may pass before a message is written, so that each has the other half for its answer.
        """
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        try:
            async with asyncio.timeout_at(deadline), asyncio.TaskGroup() as tasks:
                for pool, messages in work:
                    if messages:
                        queue = deque(messages)
                        self._unwritten.append(queue)
                        tasks.create_task(self._write(pool, queue, deadline - timeout_seconds / 2))
            async with asyncio.timeout_at(deadline):
                while self._open:
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            for exchange in list(self._open):
                exchange.connection.expire(exchange)
        finally:
            # Nothing is left here unless the call was cancelled.
            for exchange in list(self._open):
                exchange.connection.abandon(exchange, "cancelled")
            for queue in self._unwritten:
                self._give_back(queue, "local:cancelled", "cancelled before it was written")

    async def _write(self, pool: ApnsPool, queue: deque[Message], until: float) -> None:
        written = 0
        try:
            async with asyncio.timeout_at(until):
                while queue:
                    try:
                        request = build_request(queue[0], self._default_bundle_id)
                    except InvalidMessage as error:
                        self._report(queue.popleft(), Result(Outcome.BAD, code=error.code, detail=str(error)))
                        continue
                    connection = pool.with_free_stream() or await pool.acquire()
                    exchange = connection.submit(request, self._ended)
                    self._open[exchange] = queue.popleft()
                    written += 1
                    if written % _TURN == 0:
                        await asyncio.sleep(0)
        except TimeoutError:
            self._give_back(queue, "local:no_free_stream", "no stream became free in time")
        except DialFailed as error:
            self._give_back(queue, "local:connect", str(error))

    def _give_back(self, queue: deque[Message], code: str, detail: str) -> None:
        while queue:
            self._report(queue.popleft(), Result(Outcome.RETRY, code=code, detail=detail))

    def _ended(self, exchange: Exchange, ending: Ending, cause: str) -> None:
        message = self._open.pop(exchange)
        self._report(message, self._judge(exchange, ending, cause))
        if not self._open:
            self._answered.set()
