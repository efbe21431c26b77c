"""The whole mesh on one machine: real servers, real daemons, a sandbox for providers, a certificate authority.

Servers come from the wheels unless their URLs are given. Daemons are processes of their own, forked from one that has
imported everything once, or all live in this process (all-in-one). Everything started here ends with this process.
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import urlsplit

import asyncpg

from clarion_kit import keyfiles, mesh
from clarion_kit.bus import JetStreamBus
from clarion_kit.subjects import Subjects
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing
from clarion_ledger import migrate
from clarion_ledger.keys import new_wrapper_file
from clarion_local.authority import Authority, TlsFiles
from clarion_local.daemons import AllInOne, Daemons, Forked
from clarion_local.first_admin import first_admin
from clarion_local.fleet import Fleet
from clarion_local.health import until_serving
from clarion_local.ports import LOOPBACK
from clarion_local.process import Command, ManagedProcess, Process, StartFailed
from clarion_local.replicas import arrange, target
from clarion_local.servers.nats import NatsOptions, NatsServer, bus_users
from clarion_local.servers.postgres import PostgresServer
from clarion_local.servers.valkey import ValkeyServer

STOP_GRACE = timedelta(seconds=15)
READY_LIMIT = timedelta(seconds=60)
DATABASE_ROLES = ("gateway", "preference", "template", "planner", "dispatcher", "scheduler", "tracker", "monitor")


@dataclass(frozen=True, slots=True)
class Options:
    """How to start. URLs given here replace the embedded servers; `extra` goes into every daemon's environment.

    `replicas`: processes of each daemon, for all or by name (one where a mapping is silent); all-in-one has one.
    """

    folder: Path
    all_in_one: bool = False
    replicas: int | Mapping[str, int] = 1
    database_url: str | None = None
    nats_url: str | None = None
    valkey_url: str | None = None
    otlp_endpoint: str | None = None
    trace_ratio: float = 0.01
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where everything is; written to `stack.json` (0600) for the command line.

    `gateway` and `peers` (by daemon) stand for all replicas, as gRPC targets; `metrics` is by replica.
    """

    gateway: str
    ca_file: str
    admin_key: str
    admin_secret: str = field(repr=False)
    database_url: str = field(repr=False)
    nats_url: str = field(repr=False)
    valkey_url: str = field(repr=False)
    tracker_url: str = ""
    """Of the tracker's first replica: what spreads HTTP over several stands in front of the mesh."""
    sandbox: str = ""
    """Path of the sandbox's own description (ports, credentials)."""
    peers: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    operator_tls_dir: str = ""


class Stack:
    """A running mesh."""

    def __init__(
        self,
        options: Options,
        endpoints: Endpoints,
        daemons: Daemons,
        servers: Sequence[Process],
        ready_seconds: float,
        fleet: Fleet | None = None,
    ) -> None:
        self.options = options
        self.endpoints = endpoints
        self.daemons = daemons
        self.ready_seconds = ready_seconds
        self._servers = servers
        self._fleet = fleet

    @property
    def fleet(self) -> Fleet:
        """Its replicas, one by one. Raises RuntimeError for a stack that lives in this process (all-in-one)."""
        if self._fleet is None:
            raise RuntimeError("an all-in-one stack has no processes of its own")
        return self._fleet

    def check(self) -> None:
        """Raise StartFailed if a daemon or one of the embedded servers has ended by itself."""
        self.daemons.check()
        for server in self._servers:
            if server.returncode is not None:
                raise StartFailed(server.name, f"ended with status {server.returncode}")

    @staticmethod
    @asynccontextmanager
    async def start(options: Options) -> AsyncIterator["Stack"]:
        """Start everything, ready for traffic on entry, stopped on exit. Raises StartFailed, what servers raise, and
        ValueError or KeyError for replicas that cannot be."""
        began = time.monotonic()
        if options.all_in_one and options.replicas != 1:
            raise ValueError("an all-in-one stack has one replica of each daemon")
        folder = options.folder.absolute()
        (folder / "log").mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            authority = _authority(folder / "tls")
            key_files = _key_files(folder / "keys")
            daemons: Daemons = (
                AllInOne()
                if options.all_in_one
                else await stack.enter_async_context(Forked.start(folder / "log" / "zygote.log"))
            )
            places = arrange(options.replicas, folder / "log")
            by_daemon = {daemon: [place for place in places if place.daemon == daemon] for daemon in mesh.DAEMONS}
            servers: list[Process] = []
            async with asyncio.TaskGroup() as group:
                database = group.create_task(_database(options, folder, stack, servers))
                bus = group.create_task(_nats(options, folder, stack, servers))
                cache = group.create_task(_valkey(options, folder, stack, servers))
                sandbox = group.create_task(
                    _sandbox(folder, authority, by_daemon["tracker"][0].bounce_url, stack, servers)
                )
            urls = await _roles(database.result(), folder)
            nats_url, nats_urls = bus.result()
            await _topology(nats_url)
            admin_key, admin_secret = await first_admin(database.result(), key_files, folder / "keys" / "admin.json")
            operator = _issue(authority, "operator")
            endpoints = Endpoints(
                gateway=target(by_daemon[mesh.GATEWAY]),
                ca_file=str(authority.ca),
                admin_key=admin_key,
                admin_secret=admin_secret,
                database_url=database.result(),
                nats_url=nats_url,
                valkey_url=cache.result(),
                tracker_url=by_daemon["tracker"][0].http_url,
                sandbox=str(sandbox.result()),
                peers={daemon: target(replicas) for daemon, replicas in by_daemon.items()},
                metrics={place.name: place.metrics_url for place in places},
                operator_tls_dir=str(operator.cert.parent),
            )
            common = _common(options, endpoints, key_files)
            stack.push_async_callback(daemons.stop, STOP_GRACE)
            tls_dirs = {daemon: _issue(authority, daemon).cert.parent for daemon in mesh.DAEMONS}
            replicas = [
                replace(
                    place,
                    env={
                        **common,
                        "CLARION_TLS_DIR": str(tls_dirs[place.daemon]),
                        "CLARION_GRPC_LISTEN": place.listen,
                        "CLARION_METRICS_LISTEN": f"{LOOPBACK}:{place.metrics_port}",
                        **({"CLARION_HTTP_LISTEN": f"{LOOPBACK}:{place.http_port}"} if place.http_port else {}),
                        **({"CLARION_BOUNCE_LISTEN": f"{LOOPBACK}:{place.bounce_port}"} if place.bounce_port else {}),
                        **_database_env(place.daemon, urls),
                        **_bus_env(place.daemon, nats_urls),
                        **options.extra,
                    },
                )
                for place in places
            ]
            for replica in replicas:
                await daemons.spawn(replica.name, replica.daemon, replica.env, replica.log)
            await until_serving({replica.name: replica.listen for replica in replicas}, operator, READY_LIMIT, daemons)
            fleet = Fleet(replicas, daemons, operator) if isinstance(daemons, Forked) else None
            description = folder / "stack.json"
            _write_private(description, json.dumps(asdict(endpoints), indent=1))
            stack.callback(description.unlink, missing_ok=True)
            yield Stack(options, endpoints, daemons, servers, time.monotonic() - began, fleet)


def _authority(folder: Path) -> Authority:
    return Authority.load(folder) if (folder / "ca.crt").exists() else Authority.create(folder)


def _issue(authority: Authority, daemon: str) -> TlsFiles:
    return authority.issue(daemon, dns=[daemon.replace("_", "-"), "localhost"], ips=[LOOPBACK])


def _key_files(folder: Path) -> dict[str, Path]:
    """Key-encryption, token, pepper and link keys, made at the first start."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    makers = {
        "kek": new_wrapper_file,
        "token_keys": keyfiles.new_token_key_file,
        "pepper": keyfiles.new_secret_file,
        "link_key": keyfiles.new_secret_file,
    }
    paths = {name: folder / f"{name}.key" for name in makers}
    for name, make in makers.items():
        if not paths[name].exists():
            make(paths[name])
    return paths


async def _database(options: Options, folder: Path, stack: AsyncExitStack, servers: list[Process]) -> str:
    """A migrated database; its owner's URL."""
    url = options.database_url
    if url is None:
        server = PostgresServer(folder / "postgres")
        await server.start()
        stack.push_async_callback(server.stop, STOP_GRACE)
        servers.append(server.process)
        url = server.url()
    await asyncio.to_thread(migrate.upgrade, url)
    return url


async def _nats(
    options: Options, folder: Path, stack: AsyncExitStack, servers: list[Process]
) -> tuple[str, dict[str, str]]:
    """The administrator's URL, and the URL of each daemon that has business on the bus; of a given server there is one for
    all."""
    if options.nats_url is not None:
        return options.nats_url, {}
    users = bus_users(_kept_passwords(folder / "keys" / "bus.json", mesh.DAEMONS))
    server = NatsServer(folder / "nats", options=NatsOptions(users=users))
    await server.start()
    stack.push_async_callback(server.stop, STOP_GRACE)
    servers.append(server.process)
    return server.url(), {user.name: server.url(user.name) for user in users}


async def _valkey(options: Options, folder: Path, stack: AsyncExitStack, servers: list[Process]) -> str:
    if options.valkey_url is not None:
        return options.valkey_url
    server = ValkeyServer(folder / "valkey")
    await server.start()
    stack.push_async_callback(server.stop, STOP_GRACE)
    servers.append(server.process)
    return server.url()


async def _sandbox(
    folder: Path, authority: Authority, bounce_url: str, stack: AsyncExitStack, servers: list[Process]
) -> Path:
    """A running sandbox, whose mail relay brings bounces to `bounce_url`; the path of its description."""
    state = folder / "sandbox"
    state.mkdir(parents=True, exist_ok=True)
    description = state / "sandbox.json"
    port = _port_before(description)
    description.unlink(missing_ok=True)
    files = authority.issue("sandbox")
    env = {
        **os.environ,
        "CLARION_SANDBOX_DIR": str(state),
        "CLARION_SANDBOX_TLS_CERT": str(files.cert),
        "CLARION_SANDBOX_TLS_KEY": str(files.key),
        "CLARION_SANDBOX_HTTPS_PORT": str(port),
        "CLARION_SANDBOX_CALLBACK_URLS": json.dumps({"smtp": bounce_url}),
        "CLARION_SANDBOX_CALLBACK_CA": str(files.ca),
        "CLARION_DIE_WITH_PARENT": "1",
    }
    process = await ManagedProcess.start(
        Command("sandbox", [sys.executable, "-m", "clarion_sandbox"], log=folder / "log" / "sandbox.log", env=env)
    )
    stack.push_async_callback(process.stop, STOP_GRACE)
    servers.append(process)
    await process.ready_when(description.exists, READY_LIMIT)
    return description


def _port_before(description: Path) -> int:
    """The HTTPS port of the sandbox's last run, if it is free: browser subscriptions name it for good. Else 0."""
    if not description.exists():
        return 0
    port = urlsplit(json.loads(description.read_text())["url"]).port or 0
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return 0
    return port


async def _roles(owner_url: str, folder: Path) -> dict[str, str]:
    """Login and password for the role of each daemon; URLs by role."""
    passwords = _kept_passwords(folder / "keys" / "roles.json", DATABASE_ROLES)
    connection = await asyncpg.connect(owner_url)
    try:
        for role, password in passwords.items():
            # The password is token_urlsafe: nothing in it needs quoting.
            await connection.execute(f"ALTER ROLE clarion_{role} LOGIN PASSWORD '{password}'")
    finally:
        await connection.close()
    after_host = owner_url.partition("@")[2]
    return {role: f"postgresql://clarion_{role}:{password}@{after_host}" for role, password in passwords.items()}


def _kept_passwords(path: Path, names: Sequence[str]) -> dict[str, str]:
    """A password for each name, made when it is first asked for."""
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if lacking := [name for name in names if name not in kept]:
        kept |= {name: token_urlsafe(24) for name in lacking}
        _write_private(path, json.dumps(kept))
    return {name: kept[name] for name in names}


async def _topology(nats_url: str) -> None:
    async with Tracing("clarion-local", 0.0, None) as tracing:
        telemetry = Telemetry(tracing, Metrics())
        async with JetStreamBus.connect(nats_url, "local", Subjects(), telemetry) as bus:
            await bus.ensure_topology()


def _common(options: Options, endpoints: Endpoints, key_files: Mapping[str, Path]) -> dict[str, str]:
    env = {
        "PATH": os.environ.get("PATH", ""),
        "CLARION_NATS_URL": endpoints.nats_url,
        "CLARION_VALKEY_URL": endpoints.valkey_url,
        "CLARION_KEK_FILE": str(key_files["kek"]),
        "CLARION_TOKEN_KEYS_FILE": str(key_files["token_keys"]),
        "CLARION_PEPPER_FILE": str(key_files["pepper"]),
        "CLARION_LINK_KEY_FILE": str(key_files["link_key"]),
        "CLARION_LINK_BASE_URL": endpoints.tracker_url,
        "CLARION_CONSOLE": "1",
        "CLARION_PEERS": json.dumps(endpoints.peers),
        "CLARION_TRACE_RATIO": str(options.trace_ratio),
        "CLARION_STOP_GRACE_SECONDS": "12",
        # In practice nobody waits half a minute for a mail server that said "later", as policies.toml would have it.
        "CLARION_RETRY_BASE_SECONDS": "1",
        "CLARION_RETRY_CAP_SECONDS": "60",
        "CLARION_PROBE_AFTER_SECONDS": "1",
        # Receivers of webhooks and a push service on this machine are what one practises with.
        "CLARION_WEBHOOK_PRIVATE_HOSTS": "1",
        "CLARION_PUSH_PRIVATE_HOSTS": "1",
    }
    if options.otlp_endpoint:
        env["CLARION_OTLP_ENDPOINT"] = options.otlp_endpoint
    return env


def _database_env(daemon: str, urls: Mapping[str, str]) -> dict[str, str]:
    role = "dispatcher" if daemon in mesh.DISPATCHERS else daemon
    return {"CLARION_DATABASE_URL": urls[role]} if role in urls else {}


def _bus_env(daemon: str, urls: Mapping[str, str]) -> dict[str, str]:
    """A daemon's own user; one without business on the bus keeps no URL of it."""
    return {"CLARION_NATS_URL": urls.get(daemon, "")} if urls else {}


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    keyfiles.write_private(path, text)
