"""Secrets that only their owner may read."""

import os
import secrets
from pathlib import Path

_SECRET_BYTES = 32


def write_private(path: Path, content: str | bytes) -> None:
    """Replace a file of mode 0600 in one step; whoever reads it sees the old or the new, never a part.

    Raises OSError.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def password_kept_in(path: Path) -> str:
    """The password in `path`, or a new one of 256 random bits that is kept there from now on.

    Raises OSError.
    """
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    password = secrets.token_urlsafe(_SECRET_BYTES)
    write_private(path, password + "\n")
    return password
