"""An OTLP/gRPC collector in the test's process, and what a test wants to know of the spans it received."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

_PASS_ON_SECONDS = 5


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span: ids in hex, `parent_id` empty for a root, links as (trace id, span id)."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: frozenset[tuple[str, str]]
    attributes: dict[str, str] = field(repr=False)

    def told(self, attribute: str) -> str:
        """The bare value of an attribute, empty where there is none."""
        return self.attributes.get(attribute, "").partition(": ")[2].strip().strip('"')


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span it is sent."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.endpoint = ""
        self._onward: trace_service_pb2_grpc.TraceServiceStub | None = None
        self._arrived = asyncio.Event()

    @staticmethod
    @asynccontextmanager
    async def start() -> AsyncIterator["Collector"]:
        """Listening on a free loopback port while entered; `endpoint` is for CLARION_OTLP_ENDPOINT."""
        collector = Collector()
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
        collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield collector
        finally:
            await server.stop(1.0)

    async def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            service = next((a.value.string_value for a in resource.resource.attributes if a.key == "service.name"), "")
            for scope in resource.scope_spans:
                self.spans += [_received(service, span) for span in scope.spans]
        if self._onward is not None:
            await self._onward.Export(request, timeout=_PASS_ON_SECONDS)
        self._arrived.set()
        return trace_service_pb2.ExportTraceServiceResponse()

    @asynccontextmanager
    async def passing_on(self, target: str) -> AsyncIterator[None]:
        """While entered, every export is passed on to another collector (host:port) before it is answered."""
        async with grpc.aio.insecure_channel(target) as channel:
            self._onward = trace_service_pb2_grpc.TraceServiceStub(channel)  # type: ignore[no-untyped-call]
            try:
                yield
            finally:
                self._onward = None

    def tree(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    async def until(self, trace_id: str, *names: str, count: int = 1, within: float = 20.0) -> list[ReceivedSpan]:
        """The spans of a trace once `count` spans of each of these names are among them. Raises TimeoutError that lists the
        missing."""
        missing: set[str] = set()
        try:
            async with asyncio.timeout(within):
                while missing := self._missing(trace_id, names, count):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise TimeoutError(f"never came: {sorted(missing)}") from None
        return self.tree(trace_id)

    async def one(self, trace_id: str, name: str, service: str, within: float = 20.0) -> ReceivedSpan:
        """The only span of this name that this service sent for the trace, waited for: both ends of a call have its name, and
        each service exports when it likes. Raises TimeoutError when there is none, ValueError when there are more."""
        try:
            async with asyncio.timeout(within):
                while not (found := self._sent_by(trace_id, name, service)):
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise TimeoutError(f"{service} never sent {name}, there are {self.tree(trace_id)}") from None
        if len(found) > 1:
            raise ValueError(f"{service} sent {name} {len(found)} times: {found}")
        return found[0]

    def _sent_by(self, trace_id: str, name: str, service: str) -> list[ReceivedSpan]:
        return [span for span in self.tree(trace_id) if (span.name, span.service) == (name, service)]

    def _missing(self, trace_id: str, names: Sequence[str], count: int) -> set[str]:
        found = Counter(span.name for span in self.tree(trace_id))
        return {name for name in names if found[name] < count}


def children(spans: list[ReceivedSpan], parent: ReceivedSpan) -> Iterator[ReceivedSpan]:
    """Spans directly below one."""
    return (span for span in spans if span.parent_id == parent.span_id)


def _received(service: str, span: trace_pb2.Span) -> ReceivedSpan:
    return ReceivedSpan(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=frozenset((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes={a.key: str(a.value) for a in span.attributes},
    )
