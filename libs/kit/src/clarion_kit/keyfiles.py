"""Key material in files: made once by whoever installs the mesh, readable by their owner only."""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """Ed25519 keys by id: `active` signs, all of them verify, so that two are live while one is replaced."""

    active: str
    private: Ed25519PrivateKey = field(repr=False)
    public: Mapping[str, Ed25519PublicKey]


def new_secret_file(path: Path) -> None:
    """32 random bytes, base64, mode 0600. Raises FileExistsError."""
    write_private(path, base64.b64encode(os.urandom(SECRET_BYTES)).decode() + "\n")


def load_secret(path: Path) -> bytes:
    """Raises ValueError that names the fault without the secret."""
    try:
        secret = base64.b64decode(path.read_text().strip(), validate=True)
    except (OSError, ValueError) as fault:
        raise ValueError(f"{path.name} cannot be read as base64: {type(fault).__name__}") from None
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"{path.name} holds fewer than {SECRET_BYTES} bytes")
    return secret


def new_token_key_file(path: Path) -> None:
    """A JSON file with one fresh signing key: `{"active": id, "keys": {id: base64 of the raw key}}`."""
    raw = Ed25519PrivateKey.generate().private_bytes_raw()
    write_private(path, json.dumps({"active": "t1", "keys": {"t1": base64.b64encode(raw).decode()}}))


def load_token_keys(path: Path) -> TokenKeys:
    """Raises ValueError that names the fault without the key."""
    try:
        document = json.loads(path.read_text())
        keys = {
            str(id_): Ed25519PrivateKey.from_private_bytes(base64.b64decode(raw, validate=True))
            for id_, raw in document["keys"].items()
        }
        active = str(document["active"])
        return TokenKeys(active, keys[active], {id_: key.public_key() for id_, key in keys.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ValueError(f"{path.name} is no token key file: {type(fault).__name__}") from None


def write_private(path: Path, text: str) -> None:
    """Create a file that only its owner may read. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def replace_private(path: Path, text: str) -> None:
    """Put a whole new text into a private file in one step, on disk when this returns: who reads meanwhile sees the old or
    the new. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
