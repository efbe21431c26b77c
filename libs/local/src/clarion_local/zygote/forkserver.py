"""The zygote's own loop: no threads, no event loop, nothing a fork could not carry over."""

import contextlib
import os
import selectors
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType

from clarion_local.zygote.messages import (
    MAX_LINE_BYTES,
    Exited,
    Refused,
    Report,
    Signal,
    Spawn,
    Spawned,
    decode_request,
    encode,
)

_READ_BYTES = 65536


class ForkServer:
    """Forks children on request over `control`, reports their ends, and takes them all along when it ends."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._received = b""
        # The kernel writes a byte per SIGCHLD, so that a sleeping select wakes up.
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_only)

    def serve(self) -> Spawn | None:
        """Work until the supervisor closes the control socket, then kill what still runs and give None.

        In a forked child it gives the request that the child has to carry out, with nothing of the server left open.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._wake_read:
                        self._drain_wakes()
                        self._reap()
                        continue
                    chunk = self._control.recv(_READ_BYTES)
                    if not chunk:
                        self._end()
                        return None
                    own_request = self._handle(chunk)
                    if own_request is not None:
                        self._let_go()
                        return own_request

    def _handle(self, chunk: bytes) -> Spawn | None:
        self._received += chunk
        if len(self._received) > 2 * MAX_LINE_BYTES:
            raise ValueError("the supervisor sends lines without an end")
        while (end := self._received.find(b"\n")) >= 0:
            line, self._received = self._received[:end], self._received[end + 1 :]
            match decode_request(line):
                case Signal(pid, number):
                    if pid in self._children:
                        _signal(pid, number)
                case Spawn() as request:
                    if self._fork(request):
                        return request
        return None

    def _fork(self, request: Spawn) -> bool:
        """Whether this is the child."""
        if _thread_count() > 1:
            # A lock held by a thread that the fork leaves behind would stay locked for ever.
            self._send(Refused(request.id, "a preloaded module started a thread, so nothing may be forked"))
            return False
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError as error:
            self._send(Refused(request.id, str(error)))
            return False
        if pid == 0:
            return True
        self._children.add(pid)
        self._send(Spawned(request.id, pid))
        return False

    def _send(self, report: Report) -> None:
        # A supervisor that is gone is noticed at the next read.
        with contextlib.suppress(BrokenPipeError):
            self._control.sendall(encode(report))

    def _drain_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_read.recv(_READ_BYTES):
                pass

    def _reap(self) -> None:
        for pid in tuple(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._children.discard(pid)
                self._send(Exited(pid, os.waitstatus_to_exitcode(status)))

    def _end(self) -> None:
        for pid in self._children:
            _signal(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        self._let_go()

    def _let_go(self) -> None:
        signal.set_wakeup_fd(-1)
        for end in (self._control, self._wake_read, self._wake_write):
            end.close()


def _wake_only(number: int, frame: FrameType | None) -> None:
    """A handler must exist, or the kernel would drop the signal and write no wake-up byte."""


def _signal(pid: int, number: int) -> None:
    if number == signal.SIGKILL:
        # It can no longer end its own children: the whole session goes. There is none in its first instants.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
    os.kill(pid, number)


def _thread_count() -> int:
    # Threads of C libraries count too, and only the kernel knows them.
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()
