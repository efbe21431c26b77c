"""Replacing the key that signs tokens, in two steps, so that no gateway ever meets a token whose key it does not know.

First a new key is added that verifies only; when every gateway has read the file, it is made the one that signs, and the
former one goes on verifying until the next rotation. So at most two keys are live, and each step is one new content of the
file.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clarion_kit.keyfiles import load_token_keys, replace_private


class CannotRotate(Exception):
    """The step does not fit what the file holds."""


def add_key(path: Path) -> str:
    """A new key beside the one that signs, in place of a former one; gives its id. Raises CannotRotate where one waits to be
    activated, ValueError for a faulty file, OSError."""

    def add(active: str, keys: dict[str, str]) -> tuple[str, dict[str, str]]:
        if _standby(active, keys) is not None:
            raise CannotRotate("a new key waits to be activated")
        new = f"t{max(_number(id_) for id_ in keys) + 1}"
        raw = base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
        return active, {active: keys[active], new: raw}

    _, keys = _rewrite(path, add)
    return max(keys, key=_number)


def activate_key(path: Path) -> str:
    """The key that was added signs from now on; gives its id. Raises CannotRotate where there is none, ValueError for a
    faulty file, OSError."""

    def activate(active: str, keys: dict[str, str]) -> tuple[str, dict[str, str]]:
        standby = _standby(active, keys)
        if standby is None:
            raise CannotRotate("no new key waits: add one first")
        return standby, {active: keys[active], standby: keys[standby]}

    return _rewrite(path, activate)[0]


def _rewrite(
    path: Path, change: Callable[[str, dict[str, str]], tuple[str, dict[str, str]]]
) -> tuple[str, dict[str, str]]:
    load_token_keys(path)  # names every fault of the file
    document = json.loads(path.read_text())
    active, keys = change(str(document["active"]), dict(document["keys"]))
    replace_private(path, json.dumps({"active": active, "keys": keys}))
    return active, keys


def _standby(active: str, keys: dict[str, str]) -> str | None:
    """The newest key, if that is not the one that signs."""
    newest = max(keys, key=_number)
    return newest if _number(newest) > _number(active) else None


def _number(id_: str) -> int:
    """Ids made here are t1, t2, …; one that somebody else gave is older than all of them."""
    return int(id_[1:]) if id_.startswith("t") and id_[1:].isdecimal() else 0
