"""A gateway and a preference daemon that allow no private hosts, as in production, beside those of a practice stack."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from clarion_client import AsyncClient
from clarion_local.authority import TlsFiles
from clarion_local.daemons import AllInOne
from clarion_local.health import until_serving
from clarion_local.ports import LOOPBACK, free_ports

from .stage import Stage

_READY = timedelta(seconds=60)
_GRACE = timedelta(seconds=10)
DAEMONS = ("preference", "gateway")


class Strict:
    """Clients of the strict gateway."""

    def __init__(self, operator: AsyncClient, attacker: AsyncClient) -> None:
        self.operator = operator
        self.attacker = attacker


@asynccontextmanager
async def strict(stage: Stage) -> AsyncIterator[Strict]:
    """Runs in this process, on the stage's servers and with its keys. Raises StartFailed."""
    ends = stage.stack.endpoints
    listens = {daemon: f"{LOOPBACK}:{port}" for daemon, port in zip(DAEMONS, free_ports(len(DAEMONS)), strict=True)}
    daemons = AllInOne()
    async with AsyncExitStack() as opened:
        opened.push_async_callback(daemons.stop, _GRACE)
        for daemon in DAEMONS:
            await daemons.spawn(daemon, daemon, _environment(stage, daemon, listens), stage.folders.logs / "strict.log")
        tls = stage.folders.tls
        identity = TlsFiles(tls / "ca.crt", tls / "operator" / "tls.crt", tls / "operator" / "tls.key")
        await until_serving(listens, identity, _READY, daemons)
        operator, attacker = [
            await opened.enter_async_context(AsyncClient.connect(listens["gateway"], key, secret, ca_file=ends.ca_file))
            for key, secret in (
                (ends.admin_key, ends.admin_secret),
                (stage.attacker.app_key, stage.attacker.app_secret),
            )
        ]
        yield Strict(operator, attacker)


def _environment(stage: Stage, daemon: str, listens: Mapping[str, str]) -> dict[str, str]:
    ends, folders = stage.stack.endpoints, stage.folders
    keys = folders.keys
    return {
        "PATH": os.environ.get("PATH", ""),
        "CLARION_DATABASE_URL": _as(ends.database_url, f"clarion_{daemon}", keys / "roles.json", daemon),
        "CLARION_DATABASE_POOL": "2",
        "CLARION_NATS_URL": _as(ends.nats_url, daemon, keys / "bus.json", daemon) if daemon == "gateway" else "",
        "CLARION_VALKEY_URL": ends.valkey_url,
        "CLARION_KEK_FILE": str(keys / "kek.key"),
        "CLARION_TOKEN_KEYS_FILE": str(keys / "token_keys.key"),
        "CLARION_PEPPER_FILE": str(keys / "pepper.key"),
        "CLARION_PEERS": json.dumps({**ends.peers, **listens}),
        "CLARION_TLS_DIR": str(folders.tls / daemon),
        "CLARION_GRPC_LISTEN": listens[daemon],
        "CLARION_TRACE_RATIO": "0",
    }


def _as(url: str, user: str, passwords: Path, name: str) -> str:
    """The same server, for another user."""
    password = json.loads(passwords.read_text())[name]
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))
