"""Unprivileged OS accounts, for programs that refuse to run as root."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An OS user to run a program as."""

    name: str
    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """The account to give root up for; None when we are not root.

    No account is ever made: the ones that every system has will do. The password database must know the user, because
    ``initdb`` looks its own name up.

    Raises LookupError when the system has none of them.
    """
    if os.geteuid() != 0:
        return None
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise LookupError(f"running as root, and the system has none of the accounts {', '.join(_CANDIDATES)}")


def can_reach(account: Account, path: Path) -> bool:
    """Whether the account may read `path` and walk through every folder above it (mode bits only, no ACLs)."""
    path = path.resolve()
    folders = path.parents if not path.is_dir() else (path, *path.parents)
    return _allows(account, path, stat.S_IROTH) and all(_allows(account, folder, stat.S_IXOTH) for folder in folders)


def _allows(account: Account, path: Path, other_bit: int) -> bool:
    status = path.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & (other_bit << 6))
    if status.st_gid == account.gid:
        return bool(status.st_mode & (other_bit << 3))
    return bool(status.st_mode & other_bit)
