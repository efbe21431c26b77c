"""Keys of apps that were created against a local stack, kept beside it so that nobody copies secrets by hand."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from clarion_local.cli.failures import UsageFault
from clarion_local.private_file import write_private

FILE_NAME = "apps.json"


@dataclass(frozen=True, slots=True)
class AppKey:
    """A key and its secret."""

    app_key: str
    app_secret: str = field(repr=False)


class RememberedApps:
    """The newest key of each app, in `apps.json` (mode 0600) of the stack's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def all(self) -> dict[str, AppKey]:
        """Keys by app. Raises UsageFault when the file cannot be read."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UsageFault(f"{self._path}: {error.strerror}") from None
        try:
            return {str(name): AppKey(kept["app_key"], kept["app_secret"]) for name, kept in json.loads(text).items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UsageFault(f"{self._path} is damaged; remove it and create keys again") from None

    def put(self, app: str, key: AppKey) -> None:
        """Keep a key, instead of the app's older one."""
        self._write({**self.all(), app: key})

    def forget(self, app_key: str) -> None:
        """Drop a key, if it is here."""
        kept = self.all()
        left = {name: key for name, key in kept.items() if key.app_key != app_key}
        if len(left) < len(kept):
            self._write(left)

    def _write(self, keys: dict[str, AppKey]) -> None:
        document = {name: {"app_key": key.app_key, "app_secret": key.app_secret} for name, key in keys.items()}
        write_private(self._path, json.dumps(document, indent=1))
