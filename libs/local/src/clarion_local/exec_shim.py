"""The last step before a server's own program: give up root, ask to die with the supervisor, exec.

Runs as a script under ``python -I -S`` (standard library only, about 30 ms), because neither step can be left to
``subprocess``: the kernel forgets the parent-death signal when credentials change (prctl(2)), so it must be asked for
after ``setuid``, and a ``preexec_fn`` would run Python between fork and exec of a process that has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(death_signal: signal.Signals, parent_pid: int) -> None:
    """Have the kernel send `death_signal` to this process when the thread that started it ends.

    Survives exec of an ordinary program. Ends this process at once when `parent_pid` is already gone. Does nothing
    where the kernel has no such call (anything but Linux): there only an orderly stop ends the child.

    Raises OSError when the kernel refuses.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl(PR_SET_PDEATHSIG): {os.strerror(error)}")
    # The parent may have ended before the request; then no signal will ever come.
    if os.getppid() != parent_pid:
        os._exit(128 + int(death_signal))


def main(arguments: list[str]) -> None:
    """``exec_shim.py DEATH_SIGNAL PARENT_PID UID:GID|- PROGRAM [ARGUMENT…]``; does not return."""
    death_signal, parent_pid, account, *command = arguments
    if account != "-":
        uid, gid = (int(part) for part in account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    die_with_parent(signal.Signals(int(death_signal)), int(parent_pid))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
