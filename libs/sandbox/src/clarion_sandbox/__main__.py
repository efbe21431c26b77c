"""``python -m clarion_sandbox``: run until SIGTERM or SIGINT; exit 2 with every fault named if it cannot start."""

import asyncio
import json
import signal
import sys

import uvloop
from pydantic import ValidationError

from .parent import die_with_parent
from .server import DESCRIPTION_FILE, Sandbox
from .settings import Settings

_EXIT_BAD_SETTINGS = 2


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopping.set)
    async with Sandbox.start(settings) as sandbox:
        ready = {
            "event": "ready",
            "url": sandbox.base_url,
            "smpp_port": sandbox.ports.smpp,
            "smtp_port": sandbox.ports.smtp,
            "smtps_port": sandbox.ports.smtps,
            "file": str(settings.dir / DESCRIPTION_FILE),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await stopping.wait()


def main() -> int:
    """Run the sandbox; gives the exit status."""
    try:
        # The fields come from the environment, which the type checker cannot see.
        settings = Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]).upper()
            variable = name if name.startswith("CLARION_") else f"CLARION_SANDBOX_{name}"
            sys.stderr.write(f"{variable}: {fault['msg']}\n")
        return _EXIT_BAD_SETTINGS
    try:
        if settings.die_with_parent:
            die_with_parent()
        uvloop.run(_run(settings))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot run: {error}\n")
        return _EXIT_BAD_SETTINGS
    return 0


if __name__ == "__main__":
    sys.exit(main())
