"""A NATS cluster of three whose nodes pause, die, lose their files and each other."""

import asyncio
import secrets
import signal
from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from clarion_local.ports import LOOPBACK, free_ports
from clarion_local.private_file import write_private
from clarion_local.servers.nats import ADMIN, NatsCluster, NatsOptions, NatsServer, NatsUser
from clarion_testkit.faults.asking import until
from clarion_testkit.faults.natsstore import wipe_store
from clarion_testkit.faults.proxy import FaultProxy
from clarion_testkit.faults.signals import Signals
from clarion_testkit.faults.tool import Tool

_NODES: Final = 3
_STOP_GRACE: Final = timedelta(seconds=3)
_READY_LIMIT: Final = timedelta(seconds=30)
_LOOK_SECONDS: Final = 1.0
# Nodes tell each other where a third one is, which would lead around the proxies: to a port that nobody listens on.
_NOWHERE: Final = f"{LOOPBACK}:1"


class NatsNodes(Tool):
    """Three nodes, `nats-0` to `nats-2`, on loopback under `folder`; all share users and the administrator's password.

    With `proxied`, each route from one node to another goes through a fault proxy of its own, so that `partition` can
    cut a node off from its peers; its clients reach it all the same.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: Sequence[NatsUser] = (),
        sync_interval: str | None = "always",
        proxied: bool = False,
    ) -> None:
        self._signals = Signals()
        ports = free_ports(_NODES)
        self._routes = {
            (source, target): FaultProxy(ports[target]) for source, target in permutations(range(_NODES), 2) if proxied
        }
        self._ports = ports
        self._folder = folder
        self._users = users
        self._sync_interval = sync_interval
        self._nodes: list[NatsServer] = []

    @property
    def nodes(self) -> Sequence[NatsServer]:
        """Empty before the start."""
        return tuple(self._nodes)

    @property
    def routes(self) -> Sequence[FaultProxy]:
        """The proxies between the nodes; empty unless proxied."""
        return tuple(self._routes.values())

    def url(self, user: str = ADMIN) -> str:
        """All nodes, comma-separated, as a bus takes them."""
        return ",".join(node.url(user) for node in self._nodes)

    def node(self, name: str) -> NatsServer:
        """The node of a name, such as the leader that ``stream_info`` tells. Raises KeyError."""
        return {node.name: node for node in self._nodes}[name]

    async def start(self) -> None:
        """Start all three; returns when JetStream is healthy on each. Raises StartFailed, OSError, TimeoutError."""
        for route in self._routes.values():
            await route.start()
        cluster_password, password = secrets.token_urlsafe(), secrets.token_urlsafe()
        for number in range(_NODES):
            folder = self._folder / f"nats-{number}"
            folder.mkdir(parents=True)
            write_private(folder / "password", password)
            options = NatsOptions(
                users=self._users, cluster=self._membership(number, cluster_password), sync_interval=self._sync_interval
            )
            self._nodes.append(NatsServer(folder, name=folder.name, options=options))
        async with asyncio.TaskGroup() as group:
            for node in self._nodes:
                group.create_task(node.start())
        await self.ready()

    async def stop(self) -> None:
        await self._signals.stop()
        await asyncio.gather(*(node.stop(_STOP_GRACE) for node in self._nodes))
        for route in self._routes.values():
            await route.stop()

    async def ready(self, limit: timedelta = _READY_LIMIT) -> None:
        """Return when every running node says that its JetStream is current. Raises TimeoutError."""

        async def all_are() -> bool:
            running = [node for node in self._nodes if node.process.returncode is None]
            return all(await asyncio.gather(*(_is_healthy(node) for node in running)))

        await until(all_are, limit)

    async def pause(self, node: NatsServer) -> None:
        """SIGSTOP; the node keeps its connections and answers nothing."""
        await self._signals.freeze(node.process.pid)

    def resume(self, node: NatsServer) -> None:
        """SIGCONT."""
        self._signals.thaw(node.process.pid)

    async def kill(self, node: NatsServer) -> None:
        """SIGKILL; gives back when it has ended."""
        node.process.send_signal(signal.SIGKILL)
        await asyncio.wait_for(node.process.wait(), _STOP_GRACE.total_seconds())

    async def restart(self, node: NatsServer) -> None:
        """Start a node that has ended, on its port and with its files; `ready` tells when it has caught up."""
        await node.start()

    async def wipe(self, node: NatsServer) -> None:
        """Kill the node and remove its files; `restart` then has it fetch everything from its peers."""
        await self.kill(node)
        await asyncio.to_thread(wipe_store, node)

    def partition(self, node: NatsServer) -> None:
        """Nothing passes between the node and its peers any more. Raises ValueError unless proxied."""
        for route in self._routes_of(node):
            route.blackhole()

    def heal(self, node: NatsServer) -> None:
        """The node and its peers reach each other again. Raises ValueError unless proxied."""
        for route in self._routes_of(node):
            route.heal()

    def _routes_of(self, node: NatsServer) -> list[FaultProxy]:
        if not self._routes:
            raise ValueError("only nodes whose routes are proxied can be cut off from each other")
        number = self._nodes.index(node)
        return [route for ends, route in self._routes.items() if number in ends]

    def _membership(self, number: int, password: str) -> NatsCluster:
        if not self._routes:
            return NatsCluster("clarion", self._ports[number], self._ports, password)
        routes = [route.port for (source, _), route in self._routes.items() if source == number]
        return NatsCluster("clarion", self._ports[number], routes, password, advertise=_NOWHERE)


async def _is_healthy(node: NatsServer) -> bool:
    address = urlsplit(node.monitor_url)
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split()[1:2] == [b"200"]
