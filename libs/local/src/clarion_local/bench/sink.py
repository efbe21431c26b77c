"""``python -m clarion_local.bench.sink``: an OTLP/gRPC receiver that counts and forgets, so that traces really leave the daemons.

Prints `{"endpoint": …}` when it listens, and what it received when its stdin ends.
"""

import asyncio
import json
import sys

import grpc
import uvloop
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc


class Sink(rpc.TraceServiceServicer):
    """Counts spans and bytes."""

    def __init__(self) -> None:
        self.exports = self.spans = self.bytes = 0

    async def Export(self, request: pb.ExportTraceServiceRequest, context: object) -> pb.ExportTraceServiceResponse:
        self.exports += 1
        self.bytes += request.ByteSize()
        self.spans += sum(len(scope.spans) for part in request.resource_spans for scope in part.scope_spans)
        return pb.ExportTraceServiceResponse()


def _say(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


async def serve() -> None:
    sink = Sink()
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    rpc.add_TraceServiceServicer_to_server(sink, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _say({"endpoint": f"http://127.0.0.1:{port}"})
    loop = asyncio.get_running_loop()
    ended = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
    await ended.read()
    await server.stop(1.0)
    _say({"exports": sink.exports, "spans": sink.spans, "bytes": sink.bytes})


if __name__ == "__main__":
    uvloop.run(serve())
