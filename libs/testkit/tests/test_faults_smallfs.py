import errno
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from clarion_local.servers.postgres import PostgresServer
from clarion_testkit.faults.smallfs import SmallFilesystem, unavailable_reason

pytestmark = pytest.mark.skipif(unavailable_reason() is not None, reason=f"disk full: {unavailable_reason()}")

MIB = 1024**2


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[SmallFilesystem]:
    async with SmallFilesystem(tmp_path, 256 * MIB) as disk:
        yield disk


async def test_full_disk_takes_nothing_until_it_is_freed(disk: SmallFilesystem) -> None:
    await disk.fill()
    with pytest.raises(OSError, match="No space") as full, (disk.place / "new").open("wb", buffering=0) as file:
        file.write(b"x")
    assert full.value.errno == errno.ENOSPC

    disk.free()

    (disk.place / "new").write_bytes(b"x" * 100 * MIB)


async def test_fill_leaves_as_much_as_told_and_can_be_repeated(disk: SmallFilesystem) -> None:
    await disk.fill(leave_bytes=10 * MIB)
    assert disk.free_bytes == 10 * MIB

    await disk.fill(leave_bytes=MIB)

    assert disk.free_bytes == MIB


async def test_full_disk_is_an_error_of_postgres_that_ends_when_space_returns(
    disk: SmallFilesystem, tmp_path: Path
) -> None:
    server = PostgresServer(tmp_path / "postgres", data=disk.place / "data")
    await server.start()
    try:
        connection = await asyncpg.connect(server.url(), timeout=10)
        # Unlogged, so that the table meets the limit and not the log, without which Postgres ends itself.
        await connection.execute("CREATE UNLOGGED TABLE filler (body text)")
        await disk.fill(leave_bytes=2 * MIB)
        grow = "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 10000)"
        with pytest.raises(asyncpg.DiskFullError):
            await connection.execute(grow)

        disk.free()

        assert await connection.execute(grow) == "INSERT 0 10000"
        await connection.close(timeout=5)
    finally:
        await server.stop()


async def test_nothing_stays_mounted(tmp_path: Path) -> None:
    async with SmallFilesystem(tmp_path, MIB) as disk:
        assert disk.place.is_mount()

    assert not disk.place.is_mount()


def test_size_that_would_mean_no_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        SmallFilesystem(tmp_path, 0)
