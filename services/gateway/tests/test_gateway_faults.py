"""A dependency away: what is still accepted, and how a refusal looks."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import grpc
import pytest
import pytest_asyncio

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_gateway.app import build
from clarion_gateway.settings import Settings
from clarion_kit import bus as kit_bus
from clarion_kit import daemon
from clarion_kit.keyfiles import TokenKeys
from clarion_kit.sealing import KeyWrapper
from clarion_kit.settings import FaultySettings
from clarion_ledger.db import Pool

from .gateway_samples import Line, answer, eventually, line_to, notification, refusal, running, runs_straight

pytestmark = pytest.mark.asyncio(loop_scope="session")


def through(line: Line, url: str) -> str:
    """The same server, reached over the line."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{host}:{line.port}"))


@pytest_asyncio.fixture(loop_scope="session")
async def to_postgres(gateway_url: str) -> AsyncIterator[Line]:
    async with line_to(urlsplit(gateway_url).port or 0) as line:
        yield line


@pytest_asyncio.fixture(loop_scope="session")
async def to_nats(nats_url: str) -> AsyncIterator[Line]:
    async with line_to(urlsplit(nats_url).port or 0) as line:
        yield line


async def test_postgres_away_is_said_and_overcome(
    gateway_env: dict[str, str], ledger: Pool, kek: KeyWrapper, token_keys: TokenKeys, to_postgres: Line
) -> None:
    env = {**gateway_env, "CLARION_DATABASE_URL": through(to_postgres, gateway_env["CLARION_DATABASE_URL"])}
    async with running(env, ledger, kek, token_keys) as gateway:
        client = await gateway.app()
        item = notification()
        before = await client.send(notification())

        to_postgres.cut()
        refused = await refusal(client.send(item))
        stream = client.stream()
        await stream.write(_streamed(notification()))
        streamed = await answer(stream)
        to_postgres.mend()
        sent = await client.send(item)
        await stream.write(_streamed(notification()))
        after = await answer(stream)
        stream.cancel()

    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert refused.metadata == {"dependency": "ledger"}
    assert streamed.error.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert not sent.duplicate
    assert before.notification_id != sent.notification_id
    assert after.accepted.notification_id


# A client that lost its connection leaves the writer of it to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_without_nats_sends_are_accepted_and_rest_until_it_is_back(
    gateway_env: dict[str, str],
    ledger: Pool,
    kek: KeyWrapper,
    token_keys: TokenKeys,
    to_nats: Line,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kit_bus, "PUBLISH_TIMEOUT", timedelta(seconds=0.3))
    env = {**gateway_env, "CLARION_NATS_URL": through(to_nats, gateway_env["CLARION_NATS_URL"])}
    async with running(env, ledger, kek, token_keys) as gateway:
        client = await gateway.app()
        to_nats.cut()

        results = await client.batch([notification() for _ in range(50)])

        async def all_rest() -> bool:
            resting: int = await ledger.fetchval(
                "SELECT count(*) FROM ledger.plan_work WHERE app_id = $1 AND ready_since IS NOT NULL", client.app_id
            )
            return resting == 50

        assert all(result.accepted.notification_id for result in results)
        await eventually(all_rest)
        to_nats.mend()
        await eventually(lambda: runs_straight(gateway))


@pytest.mark.parametrize("name", ["PEPPER", "KEK", "TOKEN_KEYS"])
async def test_unreadable_key_file_is_a_faulty_setting(gateway_env: dict[str, str], tmp_path: Path, name: str) -> None:
    env = {**gateway_env, f"CLARION_{name}_FILE": str(tmp_path / "none")}

    with pytest.raises(FaultySettings, match=f"CLARION_{name}_FILE"):
        await daemon.run("gateway", Settings, build, env=env)


def _streamed(item: pb.Notification) -> pb.SendStreamRequest:
    return pb.SendStreamRequest(notification=item)
