"""`clarion up`."""

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType

from clarion_local.cli.command import FolderOption, command
from clarion_local.cli.connection import DEFAULT_FOLDER
from clarion_local.cli.output import Output, facts, table
from clarion_local.cli.remembered import FILE_NAME
from clarion_local.cli.signals import until_signalled

if TYPE_CHECKING:
    from clarion_local.cli.running import Ready


@command
def up(
    out: Output,
    folder: FolderOption = DEFAULT_FOLDER,
    all_in_one: Annotated[bool, typer.Option("--all-in-one", help="All daemons in this one process.")] = False,
    otlp: Annotated[str, typer.Option(metavar="URL", help="OTLP/gRPC collector, e.g. http://localhost:4317.")] = "",
    demo_app: Annotated[bool, typer.Option(help="Set up the app demo with keys and the sandbox's accounts.")] = True,
) -> None:
    """Start the whole mesh on this machine and keep it until Ctrl-C. State stays in the folder for the next start.

    CLARION_DATABASE_URL, CLARION_NATS_URL and CLARION_VALKEY_URL, where set, replace the servers that come along.
    """
    # Imported here: it costs more than a second that other commands need not pay (measured).
    from clarion_local.cli import running
    from clarion_local.stack import Options

    options = Options(
        folder,
        all_in_one=all_in_one,
        database_url=os.environ.get("CLARION_DATABASE_URL") or None,
        nats_url=os.environ.get("CLARION_NATS_URL") or None,
        valkey_url=os.environ.get("CLARION_VALKEY_URL") or None,
        otlp_endpoint=otlp or None,
    )

    def ready(stack: "Ready") -> None:
        if out.as_json:
            out.document(_to_json(stack))
        else:
            out.show(_welcome(stack))

    if not out.as_json:
        out.note(f"starting in {folder}, logs in {folder / 'log'} …")
    asyncio.run(until_signalled(running.run(options, first_app=demo_app, ready=ready)))
    if not out.as_json:
        out.note("stopped")


def _to_json(stack: "Ready") -> dict[str, object]:
    endpoints = stack.endpoints
    document: dict[str, object] = {
        "folder": str(stack.folder),
        "ready_seconds": round(stack.seconds, 2),
        "endpoint": endpoints.gateway,
        "ca_file": endpoints.ca_file,
        "tracker_url": endpoints.tracker_url,
        "console_url": f"{endpoints.tracker_url}/console",
        "sandbox": {"url": stack.sandbox_url, "api_token": stack.sandbox_token, "inbox_url": stack.inbox_url},
        "metrics": endpoints.metrics,
    }
    if stack.app is not None:
        secret = {"app_secret": stack.app.key.app_secret} if stack.app.new_key else {}
        document["app"] = {"name": stack.app.name, "app_key": stack.app.key.app_key, **secret}
    return document


def _welcome(stack: "Ready") -> RenderableType:
    endpoints = stack.endpoints
    parts: list[RenderableType] = [
        facts(
            f"ready after {stack.seconds:.1f} s; Ctrl-C stops everything",
            {
                "gateway": endpoints.gateway,
                "authority": endpoints.ca_file,
                "tracker": endpoints.tracker_url,
                "console": f"{endpoints.tracker_url}/console",
                "sandbox": stack.sandbox_url,
                "sandbox token": stack.sandbox_token,
                "inbox": stack.inbox_url,
                "logs": str(stack.folder / "log"),
            },
        )
    ]
    if stack.app is not None:
        kept = f"kept in {stack.folder / FILE_NAME}"
        secret = f"{stack.app.key.app_secret} (shown this once, {kept})" if stack.app.new_key else kept
        parts.append(
            facts("an app to begin with", {"app": stack.app.name, "key": stack.app.key.app_key, "secret": secret})
        )
    parts.append(table("metrics", ("daemon", "URL"), sorted(endpoints.metrics.items())))
    if stack.app is not None:
        parts.append(_next_steps(stack.folder))
    return Group(*parts)


def _next_steps(folder: Path) -> RenderableType:
    place = "" if folder == DEFAULT_FOLDER else f" --folder {folder}"
    clarion = sys.argv[0] if shutil.which("clarion") is None else "clarion"
    recipient = '{"recipient_id": "u1", "addresses": [{"sms": {"e164": "+821012345678"}}, {"email": {"address": "u1@example.com"}}]}'
    steps = (
        f"echo '{recipient}' | {clarion} recipients import -{place}",
        f"{clarion} send --to u1 --category transactional --sms 'Hello' --subject 'Hello' --text 'Hello' --wait{place}",
        f"{clarion} queues --watch{place}",
        f"{clarion} audit{place}",
    )
    return "\n".join(("to try, from another terminal:", *(f"  {step}" for step in steps)))
