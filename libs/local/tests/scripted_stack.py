"""A local stack whose gateway is scripted, and the command line run against it."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from typer.testing import CliRunner, Result

from clarion_local.authority import Authority
from clarion_local.cli.connection import STACK_FILE
from clarion_local.cli.main import build
from clarion_local.cli.remembered import AppKey, RememberedApps

KEY = AppKey("ck_test", "cs_canary_of_the_app")
_SURROUNDINGS = ("ENDPOINT", "APP_KEY", "APP_SECRET", "CA_FILE", "APP", "DATABASE_URL", "NATS_URL")

Service = Callable[[grpc.Server], object]
"""Adds a scripted service to the gateway."""


@contextmanager
def scripted_stack(folder: Path, authority: Authority, *services: Service) -> Iterator[Path]:
    """`folder` looks like that of a running stack while entered; its gateway serves `services` on loopback."""
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    for add in services:
        add(server)
    files = authority.issue("gateway", ips=["127.0.0.1"])
    credentials = grpc.ssl_server_credentials([(files.key.read_bytes(), files.cert.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    document = {
        "gateway": f"127.0.0.1:{port}",
        "ca_file": str(authority.ca),
        "admin_key": KEY.app_key,
        "admin_secret": KEY.app_secret,
        "database_url": "postgresql://nobody@127.0.0.1:9/x",
        "nats_url": "nats://127.0.0.1:9",
    }
    (folder / STACK_FILE).write_text(json.dumps(document))
    RememberedApps(folder).put("demo", KEY)
    try:
        yield folder
    finally:
        server.stop(None).wait(5)


def clarion(folder: Path, *arguments: str, text: str | None = None, env: Mapping[str, str] | None = None) -> Result:
    """What the command line does with the stack in `folder`, whatever the environment of the tests says."""
    clean = dict.fromkeys(f"CLARION_{name}" for name in _SURROUNDINGS)
    variables = {**clean, "CLARION_FOLDER": str(folder), **(env or {})}
    return CliRunner().invoke(build(), arguments, input=text, env=variables, catch_exceptions=False)
