import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import nats
import nats.errors
import pytest

from clarion_local.authority import Authority
from clarion_local.ports import free_ports
from clarion_local.servers.nats import NatsCluster, NatsOptions, NatsServer, NatsUser


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    options = NatsOptions(users=[NatsUser("planner", "planners-own", publish=["plan.>"], subscribe=["_INBOX.>"])])
    server = NatsServer(tmp_path / "nats", options=options)
    await server.start()
    yield server
    await server.stop()


async def test_acknowledged_messages_survive_a_kill_and_restart_on_the_same_port(server: NatsServer) -> None:
    url = server.url()
    client = await nats.connect(url)
    await client.jetstream().add_stream(name="PLAN", subjects=["plan.>"])
    await client.jetstream().publish("plan.urgent", b"1")
    await client.close()

    server.process.send_signal(signal.SIGKILL)
    await server.process.wait()
    await server.start()

    assert server.url() == url
    client = await nats.connect(url)
    state = (await client.jetstream().stream_info("PLAN")).state
    await client.close()
    assert state.messages == 1


async def test_acknowledges_only_what_is_on_disk(server: NatsServer) -> None:
    configuration = json.loads((server.folder / "nats.conf").read_text())

    assert configuration["jetstream"]["sync_interval"] == "always"


async def test_store_and_sync_interval_can_be_given(tmp_path: Path) -> None:
    options = NatsOptions(store=tmp_path / "elsewhere", sync_interval=None)
    server = NatsServer(tmp_path / "nats", options=options)
    await server.start()
    await server.stop()

    assert "sync_interval" not in json.loads((server.folder / "nats.conf").read_text())["jetstream"]
    assert server.store == tmp_path / "elsewhere"
    assert (server.store / "jetstream").is_dir()


async def test_user_may_publish_only_to_its_own_subjects(server: NatsServer) -> None:
    refused: asyncio.Queue[Exception] = asyncio.Queue()

    async def refuse(error: Exception) -> None:
        refused.put_nowait(error)

    client = await nats.connect(server.url("planner"), error_cb=refuse, allow_reconnect=False)
    await client.publish("plan.urgent", b"")
    await client.publish("dispatch.ios", b"")
    error = await asyncio.wait_for(refused.get(), 5)
    await client.close()

    assert 'publish to "dispatch.ios"' in str(error).lower()
    assert refused.empty()


async def test_connection_without_a_password_is_refused(server: NatsServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"-ERR 'Authorization Violation'")


def test_password_that_clients_could_not_read_from_a_url_is_refused() -> None:
    with pytest.raises(ValueError, match="letters"):
        NatsUser("planner", "p@ss word")


async def test_tls_asks_for_a_certificate_of_the_same_authority(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "tls")
    server = NatsServer(tmp_path / "nats", options=NatsOptions(tls=authority.issue("nats")))
    await server.start()
    try:
        files = authority.issue("planner")
        context = ssl.create_default_context(cafile=files.ca)
        context.load_cert_chain(files.cert, files.key)
        client = await nats.connect(server.url(), tls=context)
        await client.flush(timeout=5)
        await client.close()
    finally:
        await server.stop()


async def test_three_nodes_form_a_cluster_that_replicates(tmp_path: Path) -> None:
    routes = free_ports(3)
    async with AsyncExitStack() as stack:
        servers = []
        for number, port in enumerate(routes):
            cluster = NatsCluster("clarion", port, routes, password="together")
            server = NatsServer(tmp_path / str(number), name=f"nats-{number}", options=NatsOptions(cluster=cluster))
            await server.start()
            stack.push_async_callback(server.stop)
            servers.append(server)
        client = await nats.connect(servers[0].url())
        stack.push_async_callback(client.close)
        jetstream = client.jetstream(timeout=0.5)
        async with asyncio.timeout(20):
            while True:
                try:
                    stream = await jetstream.add_stream(name="PLAN", subjects=["plan.>"], num_replicas=3)
                except nats.errors.Error:
                    # No leader yet; each call is itself a bounded wait for one.
                    continue
                break

        assert stream.cluster is not None
        assert len(stream.cluster.replicas or []) == 2
