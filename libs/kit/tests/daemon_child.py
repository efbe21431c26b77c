"""A daemon in a process of its own: serves the echo service."""

from clarion_kit.daemon import Daemon, main
from clarion_kit.settings import Common

from .echo_service import Echo


async def build(daemon: Daemon, settings: Common) -> None:
    port = daemon.serve(Echo().add_to)
    print(port, flush=True)  # noqa: T201  # how the test learns the port


main("echo", Common, build)
