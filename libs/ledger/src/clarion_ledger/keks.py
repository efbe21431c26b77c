"""Where key-encryption keys come from: a file, the environment, or an installed key management service.

`CLARION_KEK_FILE` is a path, `env:VARIABLE`, or `<name>:<key>` with the name of an entry point of the group `ENTRY_POINTS`.
File and variable hold `{"active": id, "keys": {id: base64 of 32 bytes}}`: the active key wraps, all of them unwrap.
"""

import base64
import json
import os
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from clarion_kit.keyfiles import replace_private, write_private
from clarion_kit.sealing import HeldKeys, KeyWrapper, UnknownKek, Wrapped

ENTRY_POINTS = "clarion.key_wrappers"
"""Each gives, for what stands behind the colon, a KeyWrapper; it raises ValueError that names the fault without a key."""
_KEK_BYTES = 32


def load_wrapper(place: Path) -> KeyWrapper:
    """The key-encryption keys of `CLARION_KEK_FILE`. Raises ValueError that names the fault without the key."""
    scheme, colon, rest = str(place).partition(":")
    if not colon or os.sep in scheme:
        return KekFile(place)
    if scheme == "env":
        return _held(os.environ.get(rest, ""), f"the variable {rest}")
    found = entry_points(group=ENTRY_POINTS, name=scheme)
    if not found:
        raise ValueError(f"no key management service {scheme!r} is installed ({ENTRY_POINTS})")
    make: Callable[[str], KeyWrapper] = next(iter(found)).load()
    return make(rest)


class KekFile:
    """The keys of a file, read again when it has changed and a key is wrapped or one is met that was not in it."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError that names the fault without the key."""
        self._path = path
        self._stamp = _stamp(path)
        self._held = _read(path)

    @property
    def active(self) -> str:
        self._look_again()
        return self._held.active

    async def wrap(self, app_id: int, key_id: int, key: bytes) -> Wrapped:
        self._look_again()
        return await self._held.wrap(app_id, key_id, key)

    async def unwrap(self, app_id: int, key_id: int, kek_id: str, wrapped: bytes) -> bytes:
        try:
            return await self._held.unwrap(app_id, key_id, kek_id, wrapped)
        except UnknownKek:
            self._look_again()
            return await self._held.unwrap(app_id, key_id, kek_id, wrapped)

    def _look_again(self) -> None:
        """A file that cannot be read at the moment changes nothing: what was read goes on."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            try:
                self._held, self._stamp = _read(self._path), stamp
            except ValueError:
                return


def new_wrapper_file(path: Path) -> None:
    """Write a key file with one fresh random key, readable by its owner only. Raises FileExistsError."""
    write_private(path, json.dumps({"active": "k1", "keys": {"k1": _fresh()}}))


def add_kek(path: Path) -> str:
    """Put a fresh key into a key file, active from now on; gives its id. Raises ValueError, OSError."""
    active, keys = _document(path)
    number = 1 + max((int(id_[1:]) for id_ in keys if id_[:1] == "k" and id_[1:].isdigit()), default=0)
    active = f"k{number}"
    replace_private(path, json.dumps({"active": active, "keys": {**keys, active: _fresh()}}))
    return active


def drop_kek(path: Path, kek_id: str) -> None:
    """Take a key that nothing is wrapped under any more out of a key file. Raises ValueError for the active one or one that is
    not there, OSError."""
    active, keys = _document(path)
    if kek_id == active:
        raise ValueError(f"{kek_id} is the active key-encryption key")
    if kek_id not in keys:
        raise ValueError(f"the file holds no key-encryption key {kek_id!r}")
    left = {id_: key for id_, key in keys.items() if id_ != kek_id}
    replace_private(path, json.dumps({"active": active, "keys": left}))


def _fresh() -> str:
    return base64.b64encode(os.urandom(_KEK_BYTES)).decode()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(path: Path) -> HeldKeys:
    try:
        text = path.read_text()
    except OSError as fault:
        raise ValueError(f"the key-encryption key file is unreadable: {type(fault).__name__}") from None
    return _held(text, "the key-encryption key file")


def _held(text: str, what: str) -> HeldKeys:
    active, keys = _parsed(text, what)
    try:
        return HeldKeys(active, {id_: base64.b64decode(key, validate=True) for id_, key in keys.items()})
    except (TypeError, AttributeError) as fault:
        raise ValueError(f"{what} is unreadable: {type(fault).__name__}") from None


def _document(path: Path) -> tuple[str, Mapping[str, str]]:
    _read(path)
    return _parsed(path.read_text(), "the key-encryption key file")


def _parsed(text: str, what: str) -> tuple[str, Mapping[str, str]]:
    try:
        document = json.loads(text)
        return str(document["active"]), {str(id_): key for id_, key in document["keys"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ValueError(f"{what} is unreadable: {type(fault).__name__}") from None
