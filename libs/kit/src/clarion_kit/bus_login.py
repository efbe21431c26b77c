"""How a daemon proves itself to the bus: a password from a file that may be replaced while the daemon runs."""

import logging
from pathlib import Path

from clarion_kit.bus_rights import read_credentials

log = logging.getLogger(__name__)


class CredentialFile:
    """User and password of a file `user:password`, read at each connection. What cannot be read changes nothing."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError that names the fault without the password."""
        self._path = path
        self._user, self._password = read_credentials(path)

    def user(self) -> str:
        """The client asks for this first, so both are of one reading."""
        try:
            self._user, self._password = read_credentials(self._path)
        except ValueError as fault:
            log.warning("the bus's password stays as it was: %s", fault)
        return self._user

    def password(self) -> str:
        return self._password
