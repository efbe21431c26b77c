"""Disks that lose their power, and disks that are full (rows 4, 5, 10, 14), with the controls that must lose."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import asyncpg
import nats
import nats.errors

from clarion_client import Channel, ClarionError
from clarion_client.reasons import ErrorReason
from clarion_ledger import admin, db, migrate
from clarion_ledger.accept import Accepted, accept
from clarion_ledger.keys import load_wrapper, new_wrapper_file
from clarion_local.servers.nats import NatsOptions, NatsServer
from clarion_local.servers.postgres import PostgresServer
from clarion_local.servers.valkey import ValkeyServer
from clarion_testkit.faults import powerloss, smallfs
from clarion_testkit.faults.powerloss import LossyDisk
from clarion_testkit.faults.smallfs import SmallFilesystem
from tests.adversity.checker import Evidence, Stored, check
from tests.adversity.episodes.base import GENTLE, Episode
from tests.adversity.ledger_items import item
from tests.adversity.report import Report
from tests.adversity.told import Told, Word
from tests.adversity.trial import Trial, trial
from tests.adversity.world import Servers, mesh_around, started

_CUTS = 3
_BEFORE_CUT = 300
"""Accepted between two cuts."""
_BACK_WITHIN_SECONDS = 60.0
_STOP_GRACE = timedelta(seconds=10)
_SMALL_WAL: Mapping[str, str] = {"max_wal_size": "128MB", "min_wal_size": "80MB", "shared_buffers": "64MB"}
_FULL_SECONDS = 6.0
_TOLD_WITHIN_SECONDS = 60.0
_STREAM_INCIDENT = "stream"
_INCIDENT = "SELECT EXISTS (SELECT FROM ledger.incident WHERE kind = $1)"


class PostgresPower(Episode):
    name = "Postgres loses power"

    def unavailable(self) -> str | None:
        return powerloss.unavailable_reason()

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        async with LossyDisk(folder / "disk") as disk:
            postgres = PostgresServer(folder / "postgres", data=disk.place / "data")
            servers = Servers(postgres, NatsServer(folder / "nats"), ValkeyServer(folder / "valkey"))
            async with (
                started(servers),
                mesh_around(servers, folder) as world,
                trial(world, GENTLE, seed, report) as running,
            ):
                for _ in range(_CUTS):
                    await running.accepts(_BEFORE_CUT, _BACK_WITHIN_SECONDS)
                    await disk.lose_power(postgres.process)
                    await postgres.start()
                    running.struck(4, self.name)
                    await running.accepts(1, _BACK_WITHIN_SECONDS)
                    await running.recovered(self.name)


class NatsPower(Episode):
    name = "NATS loses power, with its default interval of fsync"

    def unavailable(self) -> str | None:
        return powerloss.unavailable_reason()

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        async with LossyDisk(folder / "disk") as disk:
            bus = NatsServer(folder / "nats", options=NatsOptions(store=disk.place / "store", sync_interval=None))
            servers = Servers(PostgresServer(folder / "postgres"), bus, ValkeyServer(folder / "valkey"))
            async with (
                started(servers),
                mesh_around(servers, folder) as world,
                trial(world, GENTLE, seed, report) as running,
            ):
                for _ in range(_CUTS):
                    await running.accepts(_BEFORE_CUT, _BACK_WITHIN_SECONDS)
                    await disk.lose_power(bus.process)
                    await bus.start()
                    running.struck(10, self.name)
                    await running.recovered(self.name)


class PostgresFull(Episode):
    name = "the disk of Postgres is full"

    def unavailable(self) -> str | None:
        return smallfs.unavailable_reason()

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        async with SmallFilesystem(folder / "disk", 600 << 20) as disk:
            postgres = PostgresServer(folder / "postgres", data=disk.place / "data", settings=_SMALL_WAL)
            servers = Servers(postgres, NatsServer(folder / "nats"), ValkeyServer(folder / "valkey"))
            async with (
                started(servers),
                mesh_around(servers, folder) as world,
                trial(world, GENTLE, seed, report) as running,
            ):
                await running.accepts(_BEFORE_CUT, _BACK_WITHIN_SECONDS)
                await disk.fill()
                refused = await _until_refused(running)
                disk.free()
                if postgres.process.returncode is not None:
                    # Postgres gives up when its log cannot grow either; whoever supervises it starts it again.
                    await postgres.start()
                if refused:
                    running.struck(5, self.name)
                else:
                    report.complaints.append("no caller was told that the disk of Postgres is full")
                await running.accepts(1, _BACK_WITHIN_SECONDS)
                await running.recovered(self.name)


class NatsFull(Episode):
    name = "the disk of NATS is full"

    def unavailable(self) -> str | None:
        return smallfs.unavailable_reason()

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        async with SmallFilesystem(folder / "disk", 64 << 20) as disk:
            bus = NatsServer(folder / "nats", options=NatsOptions(store=disk.place / "store"))
            servers = Servers(PostgresServer(folder / "postgres"), bus, ValkeyServer(folder / "valkey"))
            async with (
                started(servers),
                mesh_around(servers, folder) as world,
                trial(world, GENTLE, seed, report) as running,
            ):
                await running.accepts(_BEFORE_CUT, _BACK_WITHIN_SECONDS)
                await disk.fill()
                await running.accepts(_BEFORE_CUT, _BACK_WITHIN_SECONDS)
                if not await _told(running, _STREAM_INCIDENT):
                    report.complaints.append(
                        f"nobody was told within {_TOLD_WITHIN_SECONDS:g} s that a stream has errors"
                    )
                disk.free()
                # A block that failed once is never written again by this server: the alert's runbook starts it anew.
                await bus.stop(_STOP_GRACE)
                await bus.start()
                running.struck(14, self.name)
                await running.recovered(self.name)


class UnsafePostgres(Episode):
    """The statement that makes sends durable, in a session that does not wait for the disk.

    No daemon would: each sets synchronous_commit itself, and refuses a database that may forget.
    """

    name = "accepting with synchronous_commit=off, then a power loss"
    accepted = 200

    def unavailable(self) -> str | None:
        return powerloss.unavailable_reason()

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        # The longer the writer of the log sleeps, the more is acknowledged and not written.
        lazy = {"wal_writer_delay": "10s"}
        new_wrapper_file(folder / "kek.json")
        async with LossyDisk(folder / "disk") as disk:
            server = PostgresServer(folder / "postgres", data=disk.place / "data", settings=lazy)
            await server.start()
            try:
                await asyncio.to_thread(migrate.upgrade, server.url())
                told = await self._accept(server, folder / "kek.json")
                await disk.lose_power(server.process)
                await server.start()
                async with db.pool(server.url(), size=1, application="control") as pool:
                    rows = await pool.fetch("SELECT id, event_id FROM ledger.notification")
            finally:
                await server.stop(_STOP_GRACE)
        stored = {row["event_id"]: Stored(str(row["id"])) for row in rows}
        report.negative_controls[self.name] = bool(check(Evidence(told, stored, {})).missing)

    async def _accept(self, server: PostgresServer, kek_file: Path) -> dict[str, Told]:
        async with db.pool(server.url(), size=1, application="control") as pool:
            app = await admin.create_app(pool, load_wrapper(kek_file), "control")
            category: int = await pool.fetchval("SELECT min(category_id) FROM ledger.category")
        told: dict[str, Told] = {}
        unsafe = await asyncpg.create_pool(
            server.url(), min_size=1, max_size=1, server_settings={"synchronous_commit": "off"}
        )
        try:
            for number in range(self.accepted):
                [result] = await accept(unsafe, [item(app.app_id, category, f"control-{number}")])
                if isinstance(result, Accepted):
                    said = Told(Channel.SMS, False, "control", Word.OK, str(result.notification_id))
                    told[f"control-{number}"] = said
        finally:
            unsafe.terminate()
        return told


class TrustingNats(Episode):
    """A queue that has nothing but JetStream with its default interval of fsync."""

    name = "a queue that trusts only NATS loses power"
    messages = 2_000

    def unavailable(self) -> str | None:
        return powerloss.unavailable_reason()

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        async with LossyDisk(folder / "disk") as disk:
            server = NatsServer(folder / "nats", options=NatsOptions(store=disk.place / "store", sync_interval=None))
            await server.start()
            try:
                acknowledged = await self._publish(server)
                await disk.lose_power(server.process)
                await server.start()
                kept = await self._kept(server)
            finally:
                await server.stop(_STOP_GRACE)
        report.negative_controls[self.name] = kept < acknowledged

    async def _publish(self, server: NatsServer) -> int:
        connection = await nats.connect(server.url())
        stream = connection.jetstream()
        await stream.add_stream(name="CONTROL", subjects=["control"])
        for number in range(self.messages):
            await stream.publish("control", b"%d" % number)
        await connection.close()
        return self.messages

    async def _kept(self, server: NatsServer) -> int:
        connection = await nats.connect(server.url())
        try:
            return (await connection.jetstream().stream_info("CONTROL")).state.messages
        except nats.errors.Error:
            return 0
        finally:
            await connection.close()


async def _told(running: Trial, kind: str) -> bool:
    """Whether the monitor opens an incident of a kind in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_TOLD_WITHIN_SECONDS):
            while not await running.world.pool.fetchval(_INCIDENT, kind):  # noqa: ASYNC110  # only the ledger knows
                await asyncio.sleep(0.5)
            return True
    return False


async def _until_refused(running: Trial) -> bool:
    """Whether callers were told STORAGE_FULL within some seconds, by single sends that are not repeated."""
    register, world = running.world.register, running.world
    before = register.failures.total()
    loop = asyncio.get_running_loop()
    ends = loop.time() + 4 * _FULL_SECONDS
    while loop.time() < ends:
        await asyncio.sleep(0.2)
        try:
            await world.client.categories.list()
        except ClarionError:
            continue
        told = {reason for (_, reason) in register.failures}
        if register.failures.total() > before and ErrorReason.STORAGE_FULL in told:
            return True
    return False
