"""JetStream: publish ids with bounded waits, pull them in batches, settle by verdict.

Nothing on the bus is precious: it carries ids, and the ledger brings back whatever it loses.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from uuid import uuid4

from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext, api
from nats.js.api import RawStreamMsg
from nats.js.errors import APIError, NotFoundError
from opentelemetry.trace import SpanKind

from clarion.bus.v1.work_pb2 import Kind, Work
from clarion_kit.bus_login import CredentialFile
from clarion_kit.bus_rights import inbox
from clarion_kit.errors import Unavailable
from clarion_kit.pulling import Puller
from clarion_kit.settings import Common, from_file
from clarion_kit.steady_nats import SteadyClient
from clarion_kit.subjects import ACK_WAIT, Lane, Stream, StreamSpec, Subjects, all_lanes
from clarion_kit.telemetry import names
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.tls import RenewingContext, TlsFiles

log = logging.getLogger(__name__)

PROBE_BYTES = 8 << 10

_AWAY = (NatsError, TimeoutError, OSError, RuntimeError)
"""What the client lets out when its server is away. A RuntimeError is uvloop's, of a transport that has just been closed."""

MAX_IDS = 100
"""Ids per message."""
MAX_ACK_PENDING = 1_000
"""Messages that a lane's readers may hold unsettled; it gives out no more until they are."""
PUBLISH_TIMEOUT = timedelta(seconds=5)
FIRST_CONNECTION = timedelta(seconds=2)
"""How long a start waits for the bus before it goes on without."""
DUPLICATE_WINDOW_SECONDS = 120
_NO_CONSUMER_STORE = {10_012, 10_104}
"""What a server answers that cannot read or make a consumer's files (JSConsumerCreateErrF, JSConsumerStoreFailedErrF)."""
_PUBLISH_CONCURRENCY = 32


class Verdict(Enum):
    """What becomes of the messages of a batch."""

    ACK = "ack"
    """Done, or safe in the ledger."""
    LATER = "later"
    """Deliver again after a pause: a dependency is away."""


class BusUnavailable(Unavailable):
    """The bus did not confirm in time; the ids stay in the ledger and come again."""

    dependency = "bus"


@dataclass(frozen=True, slots=True)
class Batch:
    """Ids of some messages of one lane, merged; `link` is the trace context of the first sampled message."""

    ids: list[bytes]
    link: str


Handler = Callable[[Batch], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """A lane at one moment: messages waiting, taken and not settled, and settled so far."""

    waiting: int
    pending: int
    settled: int


class LaneMissing(BusUnavailable):
    """The bus answers that the lane has no consumer, or that it has no such stream."""


@dataclass(frozen=True, slots=True)
class ConsumerLook:
    """A lane's consumer at one moment: messages waiting, taken and not settled, handed out so far (counts up from its
    creation); whether somebody waits for messages, and whether it is paused."""

    waiting: int
    pending: int
    delivered: int
    asked: bool
    paused: bool


@dataclass(frozen=True, slots=True)
class StreamLook:
    """A stream at one moment: its creation, last sequence, messages it found damaged, and how full it is (0-1)."""

    created: datetime
    last_seq: int
    lost: int
    fill: float


class JetStreamBus:
    """One connection of one daemon."""

    def __init__(self, client: Client, subjects: Subjects, telemetry: Telemetry, replicas: int) -> None:
        self._client = client
        self._jetstream: JetStreamContext = client.jetstream(timeout=PUBLISH_TIMEOUT.total_seconds())
        self._subjects = subjects
        self._replicas = replicas
        self._tracing = telemetry.tracing
        self._published = telemetry.metrics.counter(names.BUS_PUBLISHED)
        self._failed = telemetry.metrics.counter(names.BUS_PUBLISH_FAILED)
        self._consumed = telemetry.metrics.counter(names.BUS_CONSUMED)
        self._process = telemetry.metrics.histogram(names.BUS_PROCESS)
        self._slots = asyncio.Semaphore(_PUBLISH_CONCURRENCY)
        self._pullers: set[Puller] = set()

    @staticmethod
    @asynccontextmanager
    async def connect(
        url: str,
        daemon: str,
        subjects: Subjects,
        telemetry: Telemetry,
        *,
        replicas: int = 1,
        tls: RenewingContext | None = None,
        credentials: CredentialFile | None = None,
    ) -> AsyncIterator["JetStreamBus"]:
        """A connection that is tried until it stands, and again for ever when it breaks. `credentials`: user and password,
        where the URL names none. Each new connection proves itself by what the files hold then.

        Comes back without it after `FIRST_CONNECTION`: a daemon may start before its bus.
        """
        client = SteadyClient(tls.latest if tls is not None else None)
        bus = JetStreamBus(client, subjects, telemetry, replicas)
        closing = False

        async def on_error(error: Exception) -> None:
            log.warning("bus: %s", type(error).__name__)

        async def on_disconnect() -> None:
            if not closing:
                log.warning("bus: disconnected")

        async def on_reconnect() -> None:
            log.info("bus: connected again")
            bus._read_anew()

        async def connect() -> None:
            await client.connect(
                servers=url.split(","),
                name=f"clarion-{daemon}",
                user=credentials.user if credentials is not None else None,
                password=credentials.password if credentials is not None else None,
                inbox_prefix=inbox(daemon),
                tls=tls.latest() if tls is not None else None,
                max_reconnect_attempts=-1,
                reconnect_time_wait=1,
                connect_timeout=5,
                ping_interval=10,
                max_outstanding_pings=2,
                allow_reconnect=True,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
            )
            bus._read_anew()

        connecting = asyncio.create_task(connect())
        try:
            done, _ = await asyncio.wait({connecting}, timeout=FIRST_CONNECTION.total_seconds())
            for ended in done:
                ended.result()
            yield bus
        finally:
            closing = True
            connecting.cancel()
            await asyncio.wait({connecting})
            with suppress(*_AWAY):
                await asyncio.wait_for(client.close(), 5)

    @staticmethod
    def for_daemon(daemon: str, settings: Common, telemetry: Telemetry) -> AbstractAsyncContextManager["JetStreamBus"]:
        """Connect as the settings say. Raises FaultySettings."""
        if settings.nats_url is None:
            raise ValueError("nats_url is required")
        url = settings.nats_url.get_secret_value()
        tls = (
            RenewingContext(TlsFiles.in_dir(settings.tls_dir), TlsFiles.client_context)
            if settings.tls_dir and url.startswith("tls://")
            else None
        )
        subjects = Subjects(settings.subject_prefix)
        file = settings.nats_credentials_file
        return JetStreamBus.connect(
            url,
            daemon,
            subjects,
            telemetry,
            replicas=settings.stream_replicas,
            tls=tls,
            credentials=from_file("CLARION_NATS_CREDENTIALS_FILE", CredentialFile, file) if file else None,
        )

    async def ping(self) -> None:
        """Raise BusUnavailable unless the server answers within a second."""
        if not self._client.is_connected:
            raise BusUnavailable("not connected")  # a flush without a connection gives no error
        try:
            await asyncio.wait_for(self._client.flush(1), 1.5)
        except _AWAY as away:
            raise BusUnavailable(type(away).__name__) from away

    async def publish(self, lane: Lane, ids: Sequence[bytes], traceparents: Sequence[str | None] = ()) -> None:
        """Put ids on a lane, `MAX_IDS` a message, each confirmed by its stream. Raises BusUnavailable with nothing
        known about the ids not confirmed: they may arrive or not."""
        kind = Kind.KIND_NOTIFICATION if lane.stream is Stream.PLAN else Kind.KIND_DELIVERY
        with self._tracing.batch(
            f"send {lane.destination}",
            SpanKind.PRODUCER,
            traceparents,
            names.messaging("send", lane.destination, len(ids)),
        ) as spans:
            header = next(iter(spans.contexts.values()), "")
            chunks = [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._publish_one(lane, kind, chunk, header)) for chunk in chunks]
        if not all(task.result() for task in tasks):
            raise BusUnavailable(lane.name)

    async def _publish_one(self, lane: Lane, kind: Kind.ValueType, ids: Sequence[bytes], traceparent: str) -> bool:
        headers = {api.Header.MSG_ID.value: uuid4().hex}
        if traceparent:
            headers["traceparent"] = traceparent
        payload = Work(ids=ids, kind=kind).SerializeToString()
        async with self._slots:
            try:
                ack = await asyncio.wait_for(
                    self._jetstream.publish(self._subjects.subject(lane), payload, headers=headers),
                    PUBLISH_TIMEOUT.total_seconds() + 1,
                )
            except _AWAY as lost:
                self._failed.labels(lane.name).inc()
                log.warning("bus: %s not confirmed: %s", lane.name, type(lost).__name__)
                return False
        if ack.stream != self._subjects.stream_name(lane.stream):
            self._failed.labels(lane.name).inc()
            return False
        self._published.labels(lane.name).inc()
        return True

    async def consume(self, lane: Lane, handler: Handler, stopping: asyncio.Event, *, max_messages: int) -> None:
        """Pull and handle, one batch at a time, until `stopping` is set; run it several times for more width.

        Never cancel it to stop it: a cancelled fetch keeps its messages until ACK_WAIT. Bad messages end here.
        """
        while not stopping.is_set():
            puller = Puller(self._client, self._subjects.stream_name(lane.stream), lane.name)
            waking = asyncio.create_task(_stop_with(puller, stopping))
            self._pullers.add(puller)
            try:
                await puller.open()
                while not stopping.is_set():
                    messages = await puller.fetch(max_messages)
                    if messages is None:
                        break
                    if messages:
                        await self._handle(lane, handler, messages)
            except _AWAY as away:
                log.warning("bus: %s cannot be read: %s", lane.name, type(away).__name__)
                await asyncio.sleep(0.5)
            finally:
                self._pullers.discard(puller)
                waking.cancel()
                await puller.close()

    def _read_anew(self) -> None:
        """On a new connection, where the server knows nothing of what was asked on the former."""
        for puller in self._pullers:
            puller.ask_anew()

    async def _handle(self, lane: Lane, handler: Handler, messages: list[Msg]) -> None:
        started = time.monotonic()
        ids: list[bytes] = []
        good: list[Msg] = []
        link = ""
        for message in messages:
            work = decode(message.data)
            if work is None:
                log.error("bus: unreadable message on %s dropped; the ledger brings its ids back", lane.name)
                with suppress(*_AWAY):
                    await message.term()
                continue
            ids.extend(work.ids)
            good.append(message)
            link = link or (message.headers or {}).get("traceparent", "")
        if not good:
            return
        self._consumed.labels(lane.name).inc(len(good))
        heartbeat = asyncio.create_task(_heartbeat(good))
        try:
            verdict = await handler(Batch(list(dict.fromkeys(ids)), link))
        except Exception:
            log.exception("handler of %s failed", lane.name)
            verdict = Verdict.LATER
        finally:
            heartbeat.cancel()
        for message in good:
            with suppress(*_AWAY):
                await (message.ack() if verdict is Verdict.ACK else message.nak(delay=1.0))
        self._process.labels(lane.name).observe(time.monotonic() - started)

    async def depth(self, lane: Lane) -> LaneDepth:
        """Raises BusUnavailable."""
        try:
            info = await self._jetstream.consumer_info(self._subjects.stream_name(lane.stream), lane.name)
        except _AWAY as away:
            raise BusUnavailable(lane.name) from away
        settled = info.ack_floor.consumer_seq if info.ack_floor else 0
        return LaneDepth(info.num_pending or 0, info.num_ack_pending or 0, settled)

    async def oldest(self, lane: Lane) -> datetime | None:
        """When the oldest message of a lane was stored (server clock), None if there is none. Raises BusUnavailable.

        A server that lost its last writes may hold messages again that its consumer has settled: they are never handed out
        any more, and would look like the oldest for ever. They are purged.
        """
        stream, subject = self._subjects.stream_name(lane.stream), self._subjects.subject(lane)
        try:
            message = await self._first(stream, subject)
            if message is None:
                return None
            settled = await self._settled(stream, lane)
            if (message.seq or 0) <= settled:
                log.warning(
                    "messages of a lane came back that were settled; they are purged", extra={"lane": lane.name}
                )
                await self._jetstream.purge_stream(stream, seq=settled + 1, subject=subject)
                message = await self._first(stream, subject)
        except _AWAY as away:
            raise BusUnavailable(lane.name) from away
        return message.time.astimezone(UTC) if message is not None and message.time else None

    async def _first(self, stream: str, subject: str) -> RawStreamMsg | None:
        try:
            return await self._jetstream.get_msg(stream, seq=1, subject=subject, next=True)
        except NotFoundError:
            return None

    async def _settled(self, stream: str, lane: Lane) -> int:
        """Sequence up to which the lane's consumer has settled everything; 0 where there is no consumer."""
        try:
            info = await self._jetstream.consumer_info(stream, lane.name)
        except NotFoundError:
            return 0
        return (info.ack_floor.stream_seq if info.ack_floor else 0) or 0

    async def stream_identity(self, stream: Stream) -> tuple[datetime, int]:
        """When the stream was created and its last sequence: a change backwards means that it lost its content."""
        try:
            info = await self._jetstream.stream_info(self._subjects.stream_name(stream))
        except _AWAY as away:
            raise BusUnavailable(stream) from away
        return info.created or datetime.fromtimestamp(0, UTC), info.state.last_seq

    async def consumer(self, lane: Lane) -> ConsumerLook:
        """Raises LaneMissing, BusUnavailable."""
        try:
            info = await self._jetstream.consumer_info(self._subjects.stream_name(lane.stream), lane.name)
        except NotFoundError as missing:
            raise LaneMissing(lane.name) from missing
        except _AWAY as away:
            raise BusUnavailable(lane.name) from away
        return ConsumerLook(
            waiting=info.num_pending or 0,
            pending=info.num_ack_pending or 0,
            delivered=info.delivered.consumer_seq if info.delivered else 0,
            asked=bool(info.num_waiting),
            paused=bool(info.paused),
        )

    async def resume(self, lane: Lane) -> None:
        """Let a paused consumer go on; idempotent. Raises BusUnavailable."""
        try:
            await self._jetstream.resume_consumer(self._subjects.stream_name(lane.stream), lane.name)
        except _AWAY as away:
            raise BusUnavailable(lane.name) from away

    async def recreate(self, lane: Lane) -> None:
        """Make a consumer anew, also where there is none. What it had handed out and not settled comes again, which the
        claims turn into nothing; its readers bind again by themselves. Raises BusUnavailable."""
        try:
            with suppress(NotFoundError):
                await self._jetstream.delete_consumer(self._subjects.stream_name(lane.stream), lane.name)
            await self._ensure_consumer(lane)
        except _AWAY as away:
            raise BusUnavailable(lane.name) from away

    async def stream(self, spec: StreamSpec) -> StreamLook:
        """Raises LaneMissing (no such stream), BusUnavailable."""
        try:
            info = await self._jetstream.stream_info(self._subjects.stream_name(spec.stream))
        except NotFoundError as missing:
            raise LaneMissing(spec.stream) from missing
        except _AWAY as away:
            raise BusUnavailable(spec.stream) from away
        lost = info.state.lost
        return StreamLook(
            created=info.created or datetime.fromtimestamp(0, UTC),
            last_seq=info.state.last_seq,
            lost=len(lost.msgs or ()) if lost else 0,
            fill=info.state.bytes / spec.max_bytes,
        )

    async def probe(self) -> None:
        """Store a message for nobody, as proof that the bus still stores. It is larger than what a full disk still has room
        for in pages that are begun. Raises BusUnavailable with its answer."""
        try:
            await asyncio.wait_for(
                self._jetstream.publish(self._subjects.probe, bytes(PROBE_BYTES)), PUBLISH_TIMEOUT.total_seconds() + 1
            )
        except _AWAY as refused:
            raise BusUnavailable(type(refused).__name__) from refused

    async def ensure_topology(self) -> None:
        """Create or update every stream and consumer; idempotent. Raises BusUnavailable."""
        try:
            for spec in self._subjects.streams():
                await self._ensure_stream(spec)
            for lane in all_lanes():
                try:
                    await self._ensure_consumer(lane)
                except APIError as refused:
                    if refused.err_code not in _NO_CONSUMER_STORE:
                        raise
                    await self._replace_stream(lane.stream)
        except _AWAY as away:
            raise BusUnavailable(f"topology: {away}") from away

    async def _replace_stream(self, stream: Stream) -> None:
        """Make a stream anew with its consumers. A server that lost its power may find a consumer's state in pieces: it then
        serves no such consumer, makes none of that name, and has none to delete. Only the stream takes the pieces with
        it, and the ledger brings back what it held."""
        log.error("bus: a consumer's files cannot be used, its stream is made anew", extra={"stream": stream})
        with suppress(NotFoundError):
            await self._jetstream.delete_stream(self._subjects.stream_name(stream))
        for spec in self._subjects.streams():
            if spec.stream is stream:
                await self._ensure_stream(spec)
        for lane in all_lanes():
            if lane.stream is stream:
                await self._ensure_consumer(lane)

    async def _ensure_consumer(self, lane: Lane) -> None:
        await self._jetstream.add_consumer(
            self._subjects.stream_name(lane.stream),
            api.ConsumerConfig(
                durable_name=lane.name,
                filter_subject=self._subjects.subject(lane),
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT.total_seconds(),
                max_deliver=-1,
                max_ack_pending=MAX_ACK_PENDING,
            ),
        )

    async def _ensure_stream(self, spec: StreamSpec) -> None:
        work_queue = spec.max_age is None
        config = api.StreamConfig(
            name=self._subjects.stream_name(spec.stream),
            subjects=list(spec.subjects),
            retention=api.RetentionPolicy.WORK_QUEUE if work_queue else api.RetentionPolicy.LIMITS,
            storage=api.StorageType.FILE,
            discard=api.DiscardPolicy.NEW if work_queue else api.DiscardPolicy.OLD,
            max_bytes=spec.max_bytes,
            max_age=0 if spec.max_age is None else spec.max_age.total_seconds(),
            num_replicas=self._replicas,
            duplicate_window=DUPLICATE_WINDOW_SECONDS,
        )
        try:
            await self._jetstream.stream_info(config.name or "")
        except NotFoundError:
            await self._jetstream.add_stream(config)
        else:
            await self._jetstream.update_stream(config)


def decode(payload: bytes) -> Work | None:
    """A message's ids, None if it is not one of ours."""
    try:
        work = Work.FromString(payload)
    except DecodeError:
        return None
    whole = 0 < len(work.ids) <= MAX_IDS and all(len(id_) == 16 for id_ in work.ids)
    return work if whole else None


async def _stop_with(puller: Puller, stopping: asyncio.Event) -> None:
    await stopping.wait()
    puller.stop()


async def _heartbeat(messages: Sequence[Msg]) -> None:
    while True:
        await asyncio.sleep(ACK_WAIT.total_seconds() / 3)
        for message in messages:
            with suppress(*_AWAY):
                await message.in_progress()
