"""Processes that a supervisor starts, watches and ends."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol, Self

from clarion_local import exec_shim
from clarion_local.account import Account

_POLL_SECONDS = 0.005
_LOG_TAIL_BYTES = 4096
_KILL_LIMIT_SECONDS = 5.0


class ProcessError(Exception):
    """A process did not do what was asked; `log_tail` is the last it wrote."""

    def __init__(self, name: str, problem: str, log_tail: str = "") -> None:
        super().__init__(f"{name}: {problem}" + (f"\n{log_tail}" if log_tail else ""))
        self.name = name
        self.problem = problem
        self.log_tail = log_tail


class StartFailed(ProcessError):
    """The process could not be started, or ended or stayed silent before it was ready."""


class CommandFailed(ProcessError):
    """A program that runs to its end came back with an error or took too long."""


class Process(Protocol):
    """A running program, whether a child of this process or of the zygote."""

    @property
    def name(self) -> str: ...

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None:
        """None while it runs, then the exit code, or minus the signal that ended it."""
        ...

    def send_signal(self, number: signal.Signals) -> None:
        """Deliver a signal; does nothing once the process has ended."""
        ...

    async def wait(self) -> int:
        """Wait for the end; gives the `returncode`. Any number of tasks may wait."""
        ...

    async def stop(self, grace: timedelta) -> int:
        """Ask it to end, kill it when `grace` is over; gives the `returncode`. May be called again."""
        ...


@dataclass(frozen=True, slots=True)
class Command:
    """What to run and how.

    `log` receives stdout and stderr (appended, mode 0600). `env` is the whole environment; None inherits ours.
    `account` is the OS user to become; None stays who we are. `death_signal` is what the kernel sends when the thread
    that started the process ends.
    """

    name: str
    argv: Sequence[str | Path]
    log: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    pass_fds: Sequence[int] = ()


class ManagedProcess:
    """A child in a session of its own, so Ctrl-C reaches only the supervisor, that never outlives the supervisor.

    The kernel ties it to the *thread* that called `start`: start from the thread that lives as long as the program.
    """

    def __init__(self, command: Command, process: asyncio.subprocess.Process, log_start: int) -> None:
        self._command = command
        self._process = process
        self._log_start = log_start

    @classmethod
    async def start(cls, command: Command) -> Self:
        """Start the program; it runs when this returns, it need not be ready.

        Raises StartFailed when there is no such program or directory, or the log cannot be written.
        """
        program = Path(command.argv[0])
        if not os.access(program, os.X_OK):
            raise StartFailed(command.name, f"{program} is not a program that can be run")
        try:
            log = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartFailed(command.name, f"cannot write its log: {error}") from error
        try:
            log_start = os.fstat(log).st_size
            process = await asyncio.create_subprocess_exec(
                *_shimmed(command.argv, command.account, command.death_signal),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=command.env,
                cwd=command.cwd,
                pass_fds=command.pass_fds,
                start_new_session=True,
            )
        except OSError as error:
            raise StartFailed(command.name, str(error)) from error
        finally:
            os.close(log)
        return cls(command, process, log_start)

    @property
    def name(self) -> str:
        return self._command.name

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    @property
    def log_tail(self) -> str:
        """The last lines that this start of the program wrote."""
        return tail(self._command.log, self._log_start)

    def send_signal(self, number: signal.Signals) -> None:
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                # It can no longer end its own children: the whole session goes.
                os.killpg(self.pid, number)
            else:
                self._process.send_signal(number)

    async def wait(self) -> int:
        return await self._process.wait()

    async def stop(self, grace: timedelta) -> int:
        return await stop_within(self, self._command.stop_signal, grace)

    async def ready_when(self, is_ready: Callable[[], bool], limit: timedelta) -> None:
        """Wait until `is_ready` says so; it is asked every 5 ms and must not block.

        Raises StartFailed, with the process killed, when the program exits first or `limit` passes.
        """

        def ready_or_ended() -> bool:
            ended = self.returncode
            # Asked once more after the end: the last words may have come between two looks.
            if is_ready():
                return True
            if ended is not None:
                raise StartFailed(self.name, f"ended with {describe(ended)} before it was ready", self.log_tail)
            return False

        try:
            if not await becomes_true(ready_or_ended, limit):
                raise StartFailed(self.name, f"not ready within {limit.total_seconds():g} s", self.log_tail)
        except BaseException:
            await self.stop(timedelta(0))
            raise

    async def ready_when_logged(self, text: str, limit: timedelta) -> None:
        """Wait until the program writes `text` to its log; raises as `ready_when` does."""
        wanted = text.encode()
        with self._command.log.open("rb") as log:
            log.seek(self._log_start)
            seen = b""

            def has_logged() -> bool:
                nonlocal seen
                seen = seen[-len(wanted) :] + log.read()
                return wanted in seen

            await self.ready_when(has_logged, limit)


async def becomes_true(condition: Callable[[], bool], limit: timedelta) -> bool:
    """Poll what gives no event to await (a file, a foreign process); False when `limit` passes first."""
    deadline = time.monotonic() + limit.total_seconds()
    while True:
        if condition():
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)


async def stop_within(process: Process, first: signal.Signals, grace: timedelta) -> int:
    """Send `first`, wait for `grace`, then SIGKILL; also kills when the caller is cancelled meanwhile.

    Raises ProcessError when even a killed process does not end (it hangs in the kernel).
    """
    if process.returncode is not None:
        return process.returncode
    try:
        process.send_signal(first)
        async with asyncio.timeout(grace.total_seconds()):
            return await process.wait()
    except TimeoutError:
        pass
    finally:
        process.send_signal(signal.SIGKILL)
    try:
        async with asyncio.timeout(_KILL_LIMIT_SECONDS):
            return await process.wait()
    except TimeoutError:
        raise ProcessError(process.name, f"pid {process.pid} survives SIGKILL") from None


async def run_to_end(
    name: str,
    argv: Sequence[str | Path],
    *,
    limit: timedelta,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    account: Account | None = None,
    stdin: int = subprocess.DEVNULL,
) -> None:
    """Run a program to its end and expect success.

    Raises CommandFailed, with the end of what it wrote, when it fails or does not end within `limit`.
    """
    process = await asyncio.create_subprocess_exec(
        *_shimmed(argv, account, signal.SIGKILL),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    output = b""
    try:
        async with asyncio.timeout(limit.total_seconds()):
            output, _ = await process.communicate()
    except TimeoutError:
        raise CommandFailed(name, f"did not end within {limit.total_seconds():g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        ended = describe(process.returncode if process.returncode is not None else 0)
        raise CommandFailed(name, f"ended with {ended}", output[-_LOG_TAIL_BYTES:].decode(errors="replace"))


def describe(returncode: int) -> str:
    """A return code in words, such as ``code 1`` or ``SIGKILL``."""
    return f"code {returncode}" if returncode >= 0 else signal.Signals(-returncode).name


def tail(log: Path, start: int = 0) -> str:
    """The last 4 KB of a log, from byte `start` at the earliest; empty when there is no log."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def _shimmed(argv: Sequence[str | Path], account: Account | None, death_signal: signal.Signals) -> list[str]:
    become = f"{account.uid}:{account.gid}" if account else "-"
    shim = [sys.executable, "-I", "-S", exec_shim.__file__, str(int(death_signal)), str(os.getpid()), become]
    return [*shim, *(str(argument) for argument in argv)]
