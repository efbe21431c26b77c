"""Where to connect and as whom: options, else the environment, else the local stack."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from clarion_local.cli.failures import UsageFault
from clarion_local.cli.remembered import AppKey, RememberedApps

STACK_FILE = "stack.json"
DEFAULT_FOLDER = Path("build/stack")
"""Of a local stack, under the current directory."""
DEFAULT_APP = "demo"
"""The app that `clarion up` makes, and the one commands act for when several are remembered."""
SECRET_VARIABLE = "CLARION_APP_SECRET"
"""Secrets come from the environment or a file: a process list shows what is typed as an option."""


class Identity(Enum):
    """As whom a command acts on a local stack: for an app, or as its operator."""

    APP = "app"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Given:
    """What options say; empty: not given. Typer has put the environment's values in where options have variables."""

    folder: Path = DEFAULT_FOLDER
    endpoint: str = ""
    app_key: str = ""
    ca_file: Path | None = None
    app: str = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """A gateway and a key for it. `stack` is the folder of the local stack, None for any other gateway."""

    endpoint: str
    key: AppKey
    ca_file: Path | None
    stack: Path | None


@dataclass(frozen=True, slots=True)
class StackFile:
    """What the command line needs of a local stack's own description."""

    gateway: str
    ca_file: str
    admin_key: str
    admin_secret: str = field(repr=False)
    database_url: str = field(repr=False)
    nats_url: str = field(repr=False)


def read_stack(folder: Path) -> StackFile:
    """The stack that was last started in `folder`. Raises UsageFault when there is none."""
    path = folder / STACK_FILE
    try:
        document = json.loads(path.read_text())
        return StackFile(**{name: str(document[name]) for name in StackFile.__slots__})
    except OSError:
        raise UsageFault(
            f"no gateway is named (CLARION_ENDPOINT) and no local stack was started in {folder} (clarion up)"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UsageFault(f"{path} is no description of a local stack") from None


def resolve(given: Given, env: Mapping[str, str], identity: Identity) -> Connection:
    """The gateway to call and the key to use.

    A local stack's keys are never used for a gateway that was named otherwise. Raises UsageFault.
    """
    own = _own_key(given, env)
    if given.endpoint:
        if own is None:
            raise UsageFault(f"a gateway is named but no key for it: set CLARION_APP_KEY and {SECRET_VARIABLE}")
        return Connection(given.endpoint, own, given.ca_file, None)
    stack = read_stack(given.folder)
    ca_file = given.ca_file or Path(stack.ca_file)
    if own is not None:
        key = own
    elif identity is Identity.OPERATOR:
        key = AppKey(stack.admin_key, stack.admin_secret)
    else:
        key = _remembered(RememberedApps(given.folder), given.app)
    return Connection(stack.gateway, key, ca_file, given.folder)


def server_url(given: Given, env: Mapping[str, str], variable: str) -> str:
    """The URL of Postgres or NATS, for operators: from `variable`, else of the local stack. Raises UsageFault."""
    if url := env.get(variable):
        return url
    stack = read_stack(given.folder)
    return {"CLARION_DATABASE_URL": stack.database_url, "CLARION_NATS_URL": stack.nats_url}[variable]


def _own_key(given: Given, env: Mapping[str, str]) -> AppKey | None:
    secret = env.get(SECRET_VARIABLE, "")
    if bool(given.app_key) != bool(secret):
        raise UsageFault(f"CLARION_APP_KEY (or --app-key) and {SECRET_VARIABLE} belong together; one is missing")
    return AppKey(given.app_key, secret) if secret else None


def _remembered(apps: RememberedApps, wanted: str) -> AppKey:
    keys = apps.all()
    if not wanted:
        wanted = next(iter(keys)) if len(keys) == 1 else DEFAULT_APP
    if wanted not in keys:
        known = f"remembered: {', '.join(sorted(keys))}" if keys else "none is remembered"
        raise UsageFault(f"no key of the app {wanted!r} ({known}); make one: clarion keys create {wanted} --scope …")
    return keys[wanted]
