"""A secure server in a process of its own: gRPC reads its cipher suites once in a process."""

import asyncio
import sys
from pathlib import Path

from clarion_kit.rpc.server import MeshAuthenticator, RpcServer
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing
from clarion_kit.tls import TlsFiles, restrict_cipher_suites


async def main(folder: Path) -> None:
    """Serve until stdin ends; the port is the first line of stdout."""
    async with Tracing("test", 0.0, None) as tracing:
        credentials = TlsFiles.in_dir(folder).public_server_credentials()
        telemetry = Telemetry(tracing, Metrics())
        server = RpcServer("template", "127.0.0.1:0", credentials, MeshAuthenticator(insecure=False), telemetry, [])
        await server.start()
        print(server.port, flush=True)  # noqa: T201  # how the test learns the port
        await asyncio.to_thread(sys.stdin.read)


restrict_cipher_suites()
asyncio.run(main(Path(sys.argv[1])))
