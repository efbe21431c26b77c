"""A mesh to measure: the real stack, its app and people, the generator and a receiver of traces, each a process of its own."""

import asyncio
import json
import os
import ssl
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from clarion_client import AlreadyExists, AsyncClient, ClarionError
from clarion_kit.tls import TlsFiles
from clarion_ledger import db
from clarion_ledger.db import Pool
from clarion_local.bench import traffic
from clarion_local.bench.generator.jobs import Target
from clarion_local.bench.generator.process import Generator
from clarion_local.demo.practice_room import PracticeRoom
from clarion_local.practice import Practice
from clarion_local.stack import Options, Stack

TRACE_RATIO = 0.01
_SERVERS: Mapping[str, str] = {"postgres": "postgres", "nats-server": "nats", "valkey-server": "valkey"}
_SINK_SECONDS = 20.0


class SetupFailed(Exception):
    """People or the app could not be set up."""


@dataclass(slots=True)
class Sink:
    """The receiver of traces; `received` is known once it has ended."""

    endpoint: str
    pid: int
    received: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class World:
    """Everything a section measures with."""

    folder: Path
    stack: Stack
    pool: Pool
    client: AsyncClient
    practice: Practice
    room: PracticeRoom
    target: Target
    generator: Generator
    sink: Sink
    app_id: int
    people: int
    import_seconds: float

    @property
    def sandbox_ledger(self) -> Path:
        """The sandbox's own record, a line of JSON for each message."""
        return self.folder / "sandbox" / "ledger.ndjson"

    @property
    def latencies(self) -> Path:
        """Where the generator leaves what it measured."""
        return self.folder / "latencies"

    def identity(self, daemon: str) -> TlsFiles:
        """The certificate of a daemon, to call others as it does."""
        return TlsFiles.in_dir(Path(self.stack.endpoints.operator_tls_dir).parent / daemon)

    def roots(self) -> dict[str, int]:
        """Process ids of daemons, servers, sandbox, generator, trace receiver, and of the benchmark itself."""
        return {
            "benchmark": os.getpid(),
            **self.stack.daemons.pids(),
            **_servers(),
            "generator": self.generator.pid,
            "trace receiver": self.sink.pid,
        }

    async def delay(self, delays_ms: Mapping[str, int]) -> None:
        """From now on providers answer so late; none given: at once. Raises OSError."""
        rules = [{"provider": name, "latency_ms": delay} for name, delay in delays_ms.items()]
        await self.ask("faults", json.dumps({"faults": rules}).encode())

    async def ask(self, path: str, put: bytes | None = None) -> bytes:
        """One request to the sandbox's control API: a GET, or a PUT of `put`. Raises OSError."""
        return await asyncio.to_thread(self._ask, path, put)

    def _ask(self, path: str, put: bytes | None) -> bytes:
        request = urllib.request.Request(
            f"{self.practice.url}/sandbox/{path}",
            data=put,
            method="GET" if put is None else "PUT",
            headers={"authorization": f"Bearer {self.practice.api_token}", "content-type": "application/json"},
        )
        context = ssl.create_default_context(cafile=self.practice.ca_file)
        with urllib.request.urlopen(request, timeout=10.0, context=context) as answer:
            body: bytes = answer.read()
        return body


@asynccontextmanager
async def opened(
    folder: Path, people: int, replicas: int | Mapping[str, int] = 1, *, trace_ratio: float = TRACE_RATIO
) -> AsyncIterator[World]:
    """A furnished world with `people` imported; stopped on exit. The same folder again is the same world, restarted.

    Raises what servers raise at the start, ClarionError, SetupFailed, OSError.
    """
    async with AsyncExitStack() as stack:
        _make(folder / "latencies")
        sink = await stack.enter_async_context(_sink())
        options = Options(folder, replicas=replicas, otlp_endpoint=sink.endpoint, trace_ratio=trace_ratio)
        mesh = await stack.enter_async_context(Stack.start(options))
        ends = mesh.endpoints
        pool = await stack.enter_async_context(db.pool(ends.database_url, size=3, application="bench"))
        practice = Practice.read(Path(ends.sandbox), ends.ca_file)
        key, secret = await _app(mesh, practice)
        client = await stack.enter_async_context(AsyncClient.connect(ends.gateway, key, secret, ca_file=ends.ca_file))
        known = (folder / "people").exists()
        began = time.monotonic()
        if not known:
            await traffic.furnish(client)
            await welcome(client, practice, people)
            (folder / "people").touch()
        import_seconds = 0.0 if known else time.monotonic() - began
        target = Target(ends.gateway, ends.ca_file, key, secret, ends.sandbox)
        generator = await stack.enter_async_context(Generator.start(target, folder / "log" / "generator.log"))
        app_id: int = await pool.fetchval("SELECT app_id FROM ledger.app WHERE name = $1", traffic.APP)
        yield World(
            folder=folder,
            stack=mesh,
            pool=pool,
            client=client,
            practice=practice,
            room=PracticeRoom(practice),
            target=target,
            generator=generator,
            sink=sink,
            app_id=app_id,
            people=people,
            import_seconds=import_seconds,
        )


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


async def welcome(client: AsyncClient, practice: Practice, people: int, devices: int = 0) -> None:
    """Import `people`, or `devices` after them. Raises ClarionError, SetupFailed."""
    drawn = traffic.devices(people, devices) if devices else traffic.recipients(practice, people)
    outcomes = await client.recipients.upsert_many(drawn)
    refused = [outcome for outcome in outcomes if isinstance(outcome, ClarionError)]
    if refused:
        raise SetupFailed(f"{len(refused)} recipients were refused, the first: {refused[0]}")


async def _app(mesh: Stack, practice: Practice) -> tuple[str, str]:
    """A key of the app, which is made with its accounts if it is new."""
    ends = mesh.endpoints
    async with AsyncClient.connect(ends.gateway, ends.admin_key, ends.admin_secret, ca_file=ends.ca_file) as operator:
        with suppress(AlreadyExists):
            await operator.apps.create(traffic.APP)
        made = await operator.apps.create_key(traffic.APP, list(traffic.SCOPES))
        for account in practice.accounts(traffic.APP):
            await operator.providers.put(traffic.APP, account.name, account.kind, account.settings)
    return made.key.app_key, made.app_secret


@asynccontextmanager
async def _sink() -> AsyncIterator[Sink]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "clarion_local.bench.sink",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    if process.stdin is None or process.stdout is None:
        raise SetupFailed("the receiver of traces has no pipes")
    try:
        async with asyncio.timeout(_SINK_SECONDS):
            sink = Sink(json.loads(await process.stdout.readline())["endpoint"], process.pid)
        yield sink
        process.stdin.close()
        with suppress(TimeoutError, ValueError):
            async with asyncio.timeout(_SINK_SECONDS):
                sink.received = json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _servers() -> dict[str, int]:
    """The servers that the stack has started, by what they run."""
    found: dict[str, int] = {}
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            command = child.cmdline()
            if "clarion_sandbox" in command:
                found["sandbox"] = child.pid
            elif command and (name := _SERVERS.get(Path(command[0]).name)):
                found[name] = child.pid
    return found
