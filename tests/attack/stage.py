"""Where attacks happen: a running mesh with two apps that know nothing of each other."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import grpc

from clarion_client import AsyncClient
from clarion_kit.tls import TlsFiles
from clarion_ledger import db
from clarion_ledger.db import Pool
from clarion_local.stack import Stack
from clarion_testkit.otlp import Collector
from clarion_testkit.shop import Shop, open_shop

VICTIM, ATTACKER = "victim", "attacker"


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the servers of a stack keep what they keep. `logs` is empty of daemons that live in this process."""

    root: Path

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def nats(self) -> Path:
        return self.root / "nats"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    @property
    def logs(self) -> Path:
        return self.root / "log"

    @property
    def keys(self) -> Path:
        """Key-encryption, token, pepper and link keys, passwords: what no attacker has."""
        return self.root / "keys"

    @property
    def tls(self) -> Path:
        """The mesh's authority and the identity of each daemon, in a folder of its name."""
        return self.root / "tls"


@dataclass(frozen=True, slots=True)
class Stage:
    """A running mesh, a victim and an attacker with good keys of their own, and what the referee sees.

    `pool` is a superuser's. `collector` has the mesh's spans, where there is one.
    """

    stack: Stack
    pool: Pool
    operator: AsyncClient
    victim: Shop
    attacker: Shop
    victim_id: int
    attacker_id: int
    folders: Folders
    seed: int
    collector: Collector | None = None

    def random(self, attack: str) -> Random:
        """Choices of one attack; the same for the same seed, whatever ran before it."""
        return Random(f"{self.seed}:{attack}")

    def gateway_channel(self, options: list[tuple[str, int | str]] | None = None) -> grpc.aio.Channel:
        """A stranger's channel to the public port."""
        ends = self.stack.endpoints
        credentials = grpc.ssl_channel_credentials(Path(ends.ca_file).read_bytes())
        return grpc.aio.secure_channel(ends.gateway, credentials, options or [])

    def daemon_channel(self, daemon: str, identity: str | None) -> grpc.aio.Channel:
        """A channel to a daemon's own port with the certificate of `identity`; None: without any."""
        files = None if identity is None else TlsFiles.in_dir(self.folders.tls / identity)
        return self.channel_with(daemon, files)

    def channel_with(self, daemon: str, files: TlsFiles | None) -> grpc.aio.Channel:
        """As `daemon_channel`, with a certificate from wherever it is."""
        ends = self.stack.endpoints
        credentials = (
            grpc.ssl_channel_credentials(Path(ends.ca_file).read_bytes())
            if files is None
            else files.mesh_channel_credentials()
        )
        return grpc.aio.secure_channel(
            ends.peers[daemon], credentials, [("grpc.ssl_target_name_override", daemon.replace("_", "-"))]
        )

    def https_context(self) -> ssl.SSLContext:
        """Trusts the mesh's HTTP doors."""
        return ssl.create_default_context(cafile=self.stack.endpoints.ca_file)


@asynccontextmanager
async def open_stage(stack: Stack, seed: int, collector: Collector | None = None) -> AsyncIterator[Stage]:
    """A stage on a stack with embedded servers. Raises what clients and servers raise."""
    ends = stack.endpoints
    async with AsyncExitStack() as opened:
        pool = await opened.enter_async_context(db.pool(ends.database_url, size=4, application="attack"))
        operator = await opened.enter_async_context(
            AsyncClient.connect(ends.gateway, ends.admin_key, ends.admin_secret, ca_file=ends.ca_file)
        )
        victim = await opened.enter_async_context(open_shop(stack, VICTIM))
        attacker = await opened.enter_async_context(open_shop(stack, ATTACKER))
        ids = {row["name"]: row["app_id"] for row in await pool.fetch("SELECT name, app_id FROM ledger.app")}
        yield Stage(
            stack=stack,
            pool=pool,
            operator=operator,
            victim=victim,
            attacker=attacker,
            victim_id=ids[VICTIM],
            attacker_id=ids[ATTACKER],
            folders=Folders(stack.options.folder.absolute()),
            seed=seed,
            collector=collector,
        )
