"""The sandbox's accounts as an app sets them up."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from clarion_channels.engine.lanes import provider_factories
from clarion_kit.vocabulary import Channel
from clarion_local.authority import Authority
from clarion_local.practice import Practice, routes
from clarion_sandbox.server import DESCRIPTION_FILE, Sandbox
from clarion_sandbox.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")


class NoReceipts:
    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("nothing is sent here")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def practice(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Practice]:
    folder: Path = tmp_path_factory.mktemp("practice")
    files = Authority.create(folder / "tls").issue("sandbox")
    settings = Settings(dir=folder / "sandbox", tls_cert=files.cert, tls_key=files.key)
    async with Sandbox.start(settings):
        yield Practice.read(folder / "sandbox" / DESCRIPTION_FILE, str(files.ca))


async def test_every_account_has_settings_that_its_kind_takes(practice: Practice) -> None:
    factories = provider_factories()
    every = [*practice.accounts("shop"), *practice.others()]

    for account in every:
        provider = await factories[account.kind].connect(json.dumps(account.settings).encode(), NoReceipts())
        await provider.close()
        assert Channel(provider.channel) is account.channel

    assert {account.kind for account in every} <= set(factories)
    assert [account.channel for account in practice.accounts("shop")] == list(Channel)


async def test_routes_name_accounts_of_their_channel_and_serve_everybody(practice: Practice) -> None:
    channels = {account.name: account.channel for account in (*practice.accounts("shop"), *practice.others())}

    for channel, wanted in routes().items():
        named = {target.provider for route in wanted for target in route.targets}
        assert {channels[name] for name in named} == {channel}
        assert any(not route.country and not route.locale for route in wanted)
        assert named == {name for name, serves in channels.items() if serves is channel}


async def test_apps_have_branches_of_their_own_with_the_carrier(practice: Practice) -> None:
    def system_id(app: str) -> object:
        [account] = [account for account in practice.accounts(app) if account.kind == "smpp"]
        return account.settings["system_id"]

    assert system_id("shop") == system_id("shop")
    assert system_id("shop") != system_id("desk")
    assert len(str(system_id("a" * 64))) <= 15  # SMPP 3.4 §5.2.1 with its final NUL: 16
