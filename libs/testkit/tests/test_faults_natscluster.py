"""One cluster for all tests of the module: an election costs seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import nats
import nats.errors
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import StreamInfo

from clarion_local.servers.nats import NatsServer
from clarion_testkit.faults.natscluster import NatsNodes

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_SECONDS = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsNodes]:
    async with NatsNodes(tmp_path_factory.mktemp("cluster"), proxied=True) as cluster:
        async with client(*cluster.nodes) as connected:
            # A cluster that elects its leader just then drops a request, or refuses it while it lacks nodes.
            async with asyncio.timeout(LIMIT_SECONDS * 2):
                while True:
                    with suppress(nats.errors.Error):
                        await connected.jetstream(timeout=5).add_stream(
                            name="PLAN", subjects=["plan.>"], num_replicas=3
                        )
                        break
                    await asyncio.sleep(0.2)
        yield cluster


@asynccontextmanager
async def client(*nodes: NatsServer) -> AsyncIterator[Client]:
    """Connected to one of these nodes, and never to another that it hears of."""

    async def ignore(error: Exception) -> None:
        """What breaks is what the test breaks."""

    connected = await nats.connect([node.url() for node in nodes], allow_reconnect=False, error_cb=ignore)
    try:
        yield connected
    finally:
        await connected.close()


async def stored(jetstream: JetStreamContext, body: bytes) -> int:
    """The sequence of a message, offered until a leader takes it."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            try:
                return (await jetstream.publish("plan.urgent", body, headers={"Nats-Msg-Id": body.decode()})).seq
            except nats.errors.Error:
                await asyncio.sleep(0.05)


async def info(jetstream: JetStreamContext) -> StreamInfo:
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            try:
                found = await jetstream.stream_info("PLAN")
            except nats.errors.Error:
                await asyncio.sleep(0.05)
                continue
            if found.cluster and found.cluster.leader:
                return found


async def roles(cluster: NatsNodes) -> tuple[NatsServer, list[NatsServer]]:
    """The stream's leader and the others."""
    async with client(*cluster.nodes) as connected:
        found = (await info(connected.jetstream(timeout=1))).cluster
    assert found is not None
    assert found.leader is not None
    leader = cluster.node(found.leader)
    return leader, [node for node in cluster.nodes if node is not leader]


async def held_by(node: NatsServer, cluster: NatsNodes, last_sequence: int) -> None:
    """Return when the node's own copy of the stream is complete."""
    await cluster.ready()
    async with client(*cluster.nodes) as connected, asyncio.timeout(LIMIT_SECONDS):
        while True:
            found = await info(connected.jetstream(timeout=1))
            assert found.cluster is not None
            followers = {peer.name for peer in found.cluster.replicas or [] if peer.current and not peer.lag}
            current = followers | {found.cluster.leader}
            if node.name in current and found.state.last_seq >= last_sequence:
                return
            await asyncio.sleep(0.05)


async def test_routes_of_a_proxied_cluster_lead_through_the_proxies(cluster: NatsNodes) -> None:
    assert len(cluster.routes) == 6
    assert sum(route.open_connections for route in cluster.routes) >= 3


async def test_leader_cut_off_from_its_peers_is_replaced_and_catches_up_when_healed(cluster: NatsNodes) -> None:
    leader, others = await roles(cluster)
    cluster.partition(leader)
    async with client(*others) as connected:
        sequence = await stored(connected.jetstream(timeout=1), b"while apart")
    async with client(*others) as connected:
        found = (await info(connected.jetstream(timeout=1))).cluster
        assert found is not None
        assert found.leader != leader.name

    cluster.heal(leader)

    await held_by(leader, cluster, sequence)


async def test_cluster_goes_on_without_a_paused_node(cluster: NatsNodes) -> None:
    _, (follower, other) = await roles(cluster)
    await cluster.pause(follower)
    async with client(other) as connected:
        sequence = await stored(connected.jetstream(timeout=1), b"while paused")

    cluster.resume(follower)

    await held_by(follower, cluster, sequence)


async def test_killed_node_keeps_its_address_and_fetches_its_wiped_files_from_its_peers(cluster: NatsNodes) -> None:
    _, (follower, other) = await roles(cluster)
    url = follower.url()
    await cluster.wipe(follower)
    assert not follower.store.exists()
    async with client(other) as connected:
        sequence = await stored(connected.jetstream(timeout=1), b"while away")

    await cluster.restart(follower)

    assert follower.url() == url
    await held_by(follower, cluster, sequence)


async def test_nodes_without_proxies_cannot_be_partitioned(tmp_path: Path, cluster: NatsNodes) -> None:
    with pytest.raises(ValueError, match="proxied"):
        NatsNodes(tmp_path).partition(cluster.nodes[0])
