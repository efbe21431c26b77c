import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import nats
import pytest

from clarion_local.process import CommandFailed
from clarion_local.servers.nats import NatsOptions, NatsServer
from clarion_local.servers.postgres import PostgresServer
from clarion_testkit.faults import mounts
from clarion_testkit.faults.powerloss import LossyDisk, unavailable_reason

needs_power = pytest.mark.skipif(unavailable_reason() is not None, reason=f"power loss: {unavailable_reason()}")

ROWS = 200


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[LossyDisk]:
    async with LossyDisk(tmp_path / "lossy") as disk:
        yield disk


def write(path: Path, *, forced: bool) -> None:
    with path.open("wb") as file:
        file.write(b"x" * 10_000)
        if forced:
            file.flush()
            os.fsync(file.fileno())


@needs_power
async def test_file_that_was_not_forced_to_disk_is_gone_and_one_that_was_is_whole(disk: LossyDisk) -> None:
    write(disk.place / "forced", forced=True)
    write(disk.place / "unforced", forced=False)

    await disk.lose_power()

    assert (disk.place / "forced").read_bytes() == b"x" * 10_000
    assert not (disk.place / "unforced").exists()


@needs_power
async def test_what_was_synced_survives(disk: LossyDisk) -> None:
    write(disk.place / "prepared", forced=False)
    await disk.sync()

    await disk.lose_power()

    assert (disk.place / "prepared").stat().st_size == 10_000


async def rows_after_power_loss(disk: LossyDisk, folder: Path, synchronous_commit: str) -> int:
    """How many of ROWS acknowledged rows Postgres still has."""
    settings = {"synchronous_commit": synchronous_commit, "wal_writer_delay": "10s"}
    server = PostgresServer(folder, data=disk.place / "data", settings=settings)
    await server.start()
    try:
        connection = await asyncpg.connect(server.url(), timeout=10)
        await connection.execute("CREATE TABLE kept (number int)")
        await connection.execute("CHECKPOINT")
        for number in range(ROWS):
            await connection.execute("INSERT INTO kept VALUES ($1)", number)
        await disk.lose_power(server.process)
        connection.terminate()
        await server.start()
        connection = await asyncpg.connect(server.url(), timeout=10)
        kept = await connection.fetchval("SELECT count(*) FROM kept")
        await connection.close(timeout=5)
    finally:
        await server.stop()
    return int(kept)


@needs_power
async def test_postgres_keeps_every_row_acknowledged_under_synchronous_commit(disk: LossyDisk, tmp_path: Path) -> None:
    assert await rows_after_power_loss(disk, tmp_path / "postgres", "on") == ROWS


@needs_power
async def test_postgres_loses_acknowledged_rows_without_synchronous_commit(disk: LossyDisk, tmp_path: Path) -> None:
    assert await rows_after_power_loss(disk, tmp_path / "postgres", "off") < ROWS


async def messages_after_power_loss(disk: LossyDisk, folder: Path, sync_interval: str | None) -> int:
    """How many of ROWS acknowledged messages JetStream still has."""
    options = NatsOptions(store=disk.place / "store", sync_interval=sync_interval)
    server = NatsServer(folder, options=options)
    await server.start()
    try:
        client = await nats.connect(server.url(), allow_reconnect=False)
        await client.jetstream().add_stream(name="PLAN", subjects=["plan.>"])
        await disk.sync()
        for number in range(ROWS):
            await client.jetstream().publish("plan.urgent", b"%d" % number)
        await disk.lose_power(server.process)
        await client.close()
        await server.start()
        client = await nats.connect(server.url(), allow_reconnect=False)
        state = (await client.jetstream().stream_info("PLAN")).state
        await client.close()
    finally:
        await server.stop()
    return int(state.messages)


@needs_power
async def test_jetstream_keeps_every_acknowledged_message_when_it_always_syncs(disk: LossyDisk, tmp_path: Path) -> None:
    assert await messages_after_power_loss(disk, tmp_path / "nats", "always") == ROWS


@needs_power
async def test_jetstream_loses_acknowledged_messages_with_its_default_interval(disk: LossyDisk, tmp_path: Path) -> None:
    assert await messages_after_power_loss(disk, tmp_path / "nats", None) < ROWS


def holds(image: Path) -> bool:
    """Whether any loop device does."""
    return any(path.read_text().strip() == str(image) for path in Path("/sys/block").glob("loop*/loop/backing_file"))


@needs_power
async def test_nothing_stays_mounted_or_attached(tmp_path: Path) -> None:
    async with LossyDisk(tmp_path) as disk:
        assert disk.place.is_mount()
        assert holds(tmp_path / "image")

    assert not disk.place.is_mount()
    assert not holds(tmp_path / "image")


@needs_power
async def test_place_is_free_again_even_when_somebody_still_works_there(tmp_path: Path) -> None:
    disk = LossyDisk(tmp_path)
    await disk.start()
    with (disk.place / "open").open("wb"), pytest.raises(CommandFailed, match="busy"):
        await disk.stop()

    assert not disk.place.is_mount()
    assert not holds(tmp_path / "image")


@needs_power
def test_disk_of_a_killed_process_is_unmounted(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, signal
from pathlib import Path
from clarion_testkit.faults.powerloss import LossyDisk

async def main():
    disk = LossyDisk(Path({str(tmp_path)!r}))
    await disk.start()
    assert disk.place.is_mount()
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    # The guard inherits the pipe, so this returns when it has ended too.
    ended = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=20, check=False)

    assert ended.returncode == -9
    assert not (tmp_path / "disk").is_mount()
    assert not holds(tmp_path / "image")


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mounts._may_mount() or unavailable_reason() == "mounting needs root (CAP_SYS_ADMIN)"
    monkeypatch.setattr(mounts, "_may_mount", lambda: True)
    monkeypatch.setattr(mounts, "_found", lambda name: None if name == "mkfs.ext4" else f"/bin/{name}")
    assert unavailable_reason() == "not installed: mkfs.ext4"
    monkeypatch.setattr(mounts, "_may_mount", lambda: False)
    assert unavailable_reason() == "mounting needs root (CAP_SYS_ADMIN)"
