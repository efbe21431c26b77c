import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

from clarion_local.servers.nats import NatsServer
from clarion_testkit.faults.natsstore import Corruption, corrupt_store, wipe_store


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """Running, with 50 messages in one stream."""
    server = NatsServer(tmp_path / "nats")
    await server.start()
    client = await nats.connect(server.url())
    jetstream = client.jetstream()
    await jetstream.add_stream(name="PLAN", subjects=["plan.>"])
    for number in range(50):
        await jetstream.publish("plan.urgent", b"%d" % number)
    await client.close()
    yield server
    await server.stop()


def contents(store: Path) -> dict[Path, bytes]:
    return {path.relative_to(store): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def differing_bits(one: bytes, other: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


async def test_same_seed_flips_the_same_single_bit(server: NatsServer, tmp_path: Path) -> None:
    await server.stop()
    before = contents(server.store)
    shutil.copytree(server.store, tmp_path / "copy")

    first = corrupt_store(server, 7, Corruption.BIT_FLIP)

    once = contents(server.store)
    changed = [path for path in before if before[path] != once[path]]
    assert [server.store / path for path in changed] == [first.path]
    assert differing_bits(before[changed[0]], once[changed[0]]) == 1
    wipe_store(server)
    shutil.copytree(tmp_path / "copy", server.store)
    assert corrupt_store(server, 7, Corruption.BIT_FLIP) == first
    assert contents(server.store) == once


async def test_truncation_cuts_one_file_where_it_says(server: NatsServer) -> None:
    await server.stop()
    before = contents(server.store)

    damage = corrupt_store(server, 3, Corruption.TRUNCATE)

    after = contents(server.store)
    path = damage.path.relative_to(server.store)
    assert after[path] == before[path][: damage.offset]
    assert after | {path: b""} == before | {path: b""}


async def test_server_with_a_damaged_store_starts_and_has_lost_something(server: NatsServer) -> None:
    await server.stop()
    corrupt_store(server, 1, Corruption.TRUNCATE)

    await server.start()

    client = await nats.connect(server.url())
    state = (await client.jetstream().stream_info("PLAN")).state
    await client.close()
    assert state.messages < 50


async def test_store_of_a_running_server_is_not_touched(server: NatsServer) -> None:
    with pytest.raises(RuntimeError, match="still runs"):
        corrupt_store(server, 1, Corruption.BIT_FLIP)
    with pytest.raises(RuntimeError, match="still runs"):
        wipe_store(server)


async def test_empty_store_has_nothing_to_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        corrupt_store(NatsServer(tmp_path), 1, Corruption.BIT_FLIP)
