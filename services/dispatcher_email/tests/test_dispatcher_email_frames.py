"""Mail frames out of a real ledger."""

import pytest

from clarion_channels.mail.frame import build_frame, frame_sha256
from clarion_channels.mail.frames_source import FrameUnavailable
from clarion_dispatcher_email.adapters import frames as frames_module
from clarion_dispatcher_email.adapters.frames import LedgerFrames
from clarion_ledger.db import Pool, pool
from clarion_testkit.plugin import Database


async def store(pool: Pool, text: str, damage: bytes = b"") -> bytes:
    """A frame in the ledger; gives its name."""
    frame = build_frame(["Hello ", 0, text])
    name = frame_sha256(frame)
    await forget(pool, name)
    content = damage or frame.SerializeToString(deterministic=True)
    await pool.execute("INSERT INTO ledger.frame (sha256, frame) VALUES ($1, $2)", name, content)
    return name


async def forget(pool: Pool, name: bytes) -> None:
    await pool.execute("DELETE FROM ledger.frame WHERE sha256 = $1", name)


async def test_frame_is_read_once_and_kept(database: Database) -> None:
    async with pool(f"{database.url}?role=clarion_dispatcher", size=2, application="test") as own:
        frames = LedgerFrames(own)
        name = await store(database.pool, "one")

        first = await frames.get(name)
        await forget(database.pool, name)

        assert await frames.get(name) is first
        assert frame_sha256(first) == name


async def test_frame_used_longest_ago_makes_room(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "CACHED", 2)
    frames = LedgerFrames(database.pool)
    old, used, new = [await store(database.pool, text) for text in ("old", "used", "new")]
    await frames.get(used)
    await frames.get(old)
    await frames.get(used)
    await frames.get(new)
    await forget(database.pool, old)
    await forget(database.pool, used)

    assert frame_sha256(await frames.get(used)) == used
    with pytest.raises(FrameUnavailable):
        await frames.get(old)


async def test_missing_frame_is_unavailable_until_it_is_there(database: Database) -> None:
    frames = LedgerFrames(database.pool)
    name = await store(database.pool, "late")
    await forget(database.pool, name)
    with pytest.raises(FrameUnavailable, match="no such frame"):
        await frames.get(name)

    await store(database.pool, "late")

    assert frame_sha256(await frames.get(name)) == name


@pytest.mark.parametrize("damage", [b"\xff\xff\xff", build_frame(["another"]).SerializeToString()])
async def test_damaged_frame_is_never_given_out(database: Database, damage: bytes) -> None:
    frames = LedgerFrames(database.pool)
    name = await store(database.pool, "one", damage)

    with pytest.raises(FrameUnavailable, match="damaged"):
        await frames.get(name)


async def test_frame_is_unavailable_while_postgres_is_away() -> None:
    async with pool("postgresql://nobody@127.0.0.1:1/none", size=1, application="test") as away:
        with pytest.raises(FrameUnavailable):
            await LedgerFrames(away).get(bytes(32))
