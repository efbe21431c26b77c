"""A peer in a process of its own: says `{"port": …}` when it listens, then one JSON object a line."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

START_SECONDS = 20
SAY_SECONDS = 10
END_SECONDS = 5

Said = Mapping[str, object]


@dataclass
class PeerProcess:
    """A running peer."""

    port: int
    said: list[Said] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def says(self, event: str, count: int = 1) -> list[Said]:
        """What the peer said of an event, once it has said it so often. Raises `TimeoutError`."""
        async with asyncio.timeout(SAY_SECONDS), self.news:
            await self.news.wait_for(lambda: len(self.of(event)) >= count)
        return self.of(event)

    def of(self, event: str) -> list[Said]:
        """What the peer has said of an event so far."""
        return [said for said in self.said if said.get("event") == event]


@asynccontextmanager
async def running(command: Sequence[str], environment: Mapping[str, str] | None = None) -> AsyncIterator[PeerProcess]:
    """Run a peer while inside; it is ended by its process id, and an end of its own is a failure.

    Raises `RuntimeError` with what it wrote to stderr when it does not start.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.ensure_future(process.stderr.read())
    listening: asyncio.Future[None] | None = None
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                first = json.loads(await process.stdout.readline())
        except (TimeoutError, ValueError) as error:
            process.kill()
            raise RuntimeError(f"{command[0]} did not start: {(await errors).decode()[-2000:]}") from error
        peer = PeerProcess(first["port"])
        listening = asyncio.ensure_future(_listen(process.stdout, peer))
        yield peer
        assert process.returncode is None, f"the peer ended by itself: {(await errors).decode()[-2000:]}"
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), END_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        if listening is not None:
            await listening
        await errors


async def _listen(output: asyncio.StreamReader, peer: PeerProcess) -> None:
    while line := await output.readline():
        said = json.loads(line)
        async with peer.news:
            peer.said.append(said)
            peer.news.notify_all()
