"""One database and one gateway for most tests: each test has an app of its own."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from clarion_kit.bus import JetStreamBus
from clarion_kit.keyfiles import TokenKeys, load_secret, load_token_keys, new_secret_file, new_token_key_file
from clarion_kit.sealing import KeyWrapper
from clarion_kit.subjects import Subjects
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing
from clarion_ledger.db import Pool, pool

from .gateway_samples import Gateway, Peers, running, serving_peers

_PREFIX = "gateway-tests"


class Databases(Protocol):
    def fresh(self) -> AbstractAsyncContextManager[str]: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway_url(postgres_databases: Databases) -> AsyncIterator[str]:
    async with postgres_databases.fresh() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ledger(gateway_url: str) -> AsyncIterator[Pool]:
    """The gateway's database, as superuser."""
    async with pool(gateway_url, size=4, application="test") as connections:
        yield connections


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pepper and the token keys."""
    folder = tmp_path_factory.mktemp("keys")
    new_secret_file(folder / "pepper")
    new_token_key_file(folder / "tokens.json")
    return folder


@pytest.fixture(scope="session")
def token_keys(key_folder: Path) -> TokenKeys:
    return load_token_keys(key_folder / "tokens.json")


@pytest.fixture(scope="session")
def pepper(key_folder: Path) -> bytes:
    return load_secret(key_folder / "pepper")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def streams(nats_url: str) -> None:
    """The streams of the gateways under test."""
    telemetry = Telemetry(Tracing("test", 0.0, None), Metrics())
    async with JetStreamBus.connect(nats_url, "test", Subjects(_PREFIX), telemetry) as bus:
        await bus.ensure_topology()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def peers() -> AsyncIterator[Peers]:
    async with serving_peers() as serving:
        yield serving


@pytest.fixture(scope="session")
def gateway_env(
    gateway_url: str, nats_url: str, streams: None, kek_file: Path, key_folder: Path, peers: Peers
) -> dict[str, str]:
    """Settings of a gateway with the daemon's own role, so that a missing grant fails a test."""
    return {
        "CLARION_DATABASE_URL": f"{gateway_url}?role=clarion_gateway",
        "CLARION_NATS_URL": nats_url,
        "CLARION_KEK_FILE": str(kek_file),
        "CLARION_PEPPER_FILE": str(key_folder / "pepper"),
        "CLARION_TOKEN_KEYS_FILE": str(key_folder / "tokens.json"),
        "CLARION_SUBJECT_PREFIX": _PREFIX,
        "CLARION_PEERS": peers.addresses(),
        "CLARION_INSECURE": "1",
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(
    gateway_env: dict[str, str], ledger: Pool, kek: KeyWrapper, token_keys: TokenKeys
) -> AsyncIterator[Gateway]:
    async with running(gateway_env, ledger, kek, token_keys) as serving:
        yield serving
