"""What a freshly forked child does before it is a daemon."""

import ctypes
import gc
import importlib
import os
import signal
import sys
from pathlib import Path

from clarion_local.exec_shim import die_with_parent
from clarion_local.zygote.messages import Spawn

_PR_SET_NAME = 15
_KERNEL_NAME_BYTES = 15


def become(request: Spawn, zygote_pid: int) -> None:
    """Turn this fork into a process like any other: own session, streams, signals and environment.

    Python seeds its random generator anew in every fork; the cryptographic ones ask the kernel.
    Raises OSError when the log cannot be written.
    """
    os.setsid()
    die_with_parent(signal.SIGKILL, zygote_pid)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _redirect(request.log)
    os.environ.clear()
    os.environ.update(request.env)
    os.umask(0o077)
    sys.argv = [request.name]
    _name_process(request.name)
    gc.enable()


def run(request: Spawn) -> int | str | None:
    """Import the module and call its function; gives what that returns, for `sys.exit`."""
    status: int | str | None = getattr(importlib.import_module(request.module), request.function)()
    return status


def _redirect(log: str) -> None:
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _name_process(name: str) -> None:
    """Show the daemon's own name in ``top`` and ``ps``, where the kernel can (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:_KERNEL_NAME_BYTES], 0, 0, 0)
