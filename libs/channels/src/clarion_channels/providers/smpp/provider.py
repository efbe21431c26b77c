"""Text messages through one account of an SMSC."""

import asyncio
import ssl
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from clarion.types.v1.channel_pb2 import Channel
from clarion_channels.errortable import ErrorTable
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable, Receipts, Report
from clarion_channels.providers.smpp.codec import CodecError, GenericNack, ShortMessage, Status
from clarion_channels.providers.smpp.pool import DialFailed, SessionPool
from clarion_channels.providers.smpp.session import (
    BindRefused,
    Limits,
    NoAnswer,
    NotWritten,
    Session,
    open_session,
)
from clarion_channels.providers.smpp.settings import SmppSettings
from clarion_channels.providers.smpp.submit import Unsendable, build_segments
from clarion_channels.providers.spread import Progress, spread
from clarion_channels.text.references import References
from clarion_channels.text.segments import TooManyParts

RECEIPT_KIND = "smpp.deliver_sm"
"""The kind under which `Receipts.store` gets the bytes of each deliver_sm."""


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)


def classify(table: ErrorTable, status: int, message_id: str = "", opted_out: Collection[int] = ()) -> Result:
    """The result of an answer's command_status; `opted_out`: those that mean so at this carrier."""
    if status == Status.OK:
        return Result(Outcome.ACCEPTED, code="0x00", provider_message_id=message_id)
    if status in opted_out:
        return Result(Outcome.DEAD, code=f"0x{status:02X}", opted_out=True)
    verdict = table.lookup(status)
    return Result(verdict.outcome, code=verdict.code(f"0x{status:02X}"))


class SmppProvider:
    """A lane of text messages. `start` binds, `close` unbinds.

    The segments of a message go out one after the other, each after the answer to the one before. The first that is
    not accepted decides: its class is the message's, with the ids accepted so far. A phone shows nothing whole until
    all parts are there, and a second try by this process carries the same reference, so RETRY after some were accepted
    shows nothing twice.
    """

    def __init__(
        self,
        settings: SmppSettings,
        tls: ssl.SSLContext | None,
        receipts: Receipts,
        table: ErrorTable,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = "smpp"
        self.channel = Channel.CHANNEL_SMS
        self.max_in_flight = settings.binds * settings.window
        self.max_batch = self.max_in_flight
        self.timeout: timedelta = settings.timeout
        self._settings = settings
        self._tls = tls
        self._receipts = receipts
        self._table = table
        self._now = now
        self._references = References(settings.reference_bits)
        self._pool = SessionPool(
            self._dial,
            size=settings.binds,
            reconnect_base=settings.reconnect_base,
            reconnect_cap=settings.reconnect_cap,
            bind_wait=settings.bind_wait,
        )

    def start(self) -> None:
        """Begin to bind, in the running loop."""
        self._pool.start()

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        await spread(batch, report, self._send, width=self.max_in_flight, timeout=self.timeout)

    async def probe(self) -> None:
        bound = self._pool.any_bound()
        try:
            if bound is not None:
                await bound.enquire()
            else:
                await self._bind_and_leave()
        except (DialFailed, NotWritten, NoAnswer) as error:
            raise ProviderUnavailable(f"smpp {self._settings.host}: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        await self._pool.close()

    async def _send(self, message: Message, progress: Progress) -> Result:
        now = self._now()
        if message.expire_at <= now:
            return Result(Outcome.RETRY, code="expired")
        try:
            submission = build_segments(message, self._settings, self._references, now)
        except (Unsendable, TooManyParts) as error:
            return Result(Outcome.BAD, code=type(error).__name__, detail=str(error))
        accepted: list[str] = []
        finished = False
        try:
            for segment in submission.segments:
                result = await self._submit(segment, progress)
                if result.outcome is not Outcome.ACCEPTED:
                    return _partly(result, accepted, len(submission.segments))
                accepted.append(result.provider_message_id)
            finished = True
        finally:
            if not finished and submission.reference is not None:
                self._references.keep(message.delivery_id, submission.reference)
        return Result(
            Outcome.ACCEPTED, code="0x00", provider_message_id=",".join(accepted), receipt_ids=tuple(accepted)
        )

    async def _submit(self, segment: ShortMessage, progress: Progress) -> Result:
        for _ in range(self._settings.binds + 1):
            try:
                session = await self._pool.session()
                response = await session.submit(segment, progress.written)
            except DialFailed as failure:
                return failure.result
            except NotWritten:
                continue
            except NoAnswer:
                return progress.cut_off("no_answer")
            except CodecError as error:
                return Result(Outcome.BAD, code="CodecError", detail=str(error))
            progress.answered()
            if isinstance(response, GenericNack):
                return classify(self._table, response.status or Status.INVALID_COMMAND_ID)
            return classify(self._table, response.status, response.message_id, self._settings.opted_out_statuses)
        return Result(Outcome.RETRY, code="not_written")

    async def _dial(self) -> Session:
        settings = self._settings
        try:
            return await open_session(
                settings.host,
                settings.port,
                self._tls,
                Limits(settings.window, settings.timeout, settings.enquire_link_interval),
                self._store,
                system_id=settings.system_id,
                password=settings.password.get_secret_value(),
                system_type=settings.system_type,
            )
        except BindRefused as refusal:
            raise DialFailed(replace(classify(self._table, refusal.status), detail="bind refused")) from refusal
        except ssl.SSLCertVerificationError as error:
            raise DialFailed(Result(Outcome.CRED, code="certificate", detail=type(error).__name__)) from error
        except (OSError, NotWritten, NoAnswer) as error:
            raise DialFailed(Result(Outcome.RETRY, code="connection", detail=type(error).__name__)) from error

    async def _store(self, pdu: bytes) -> None:
        await self._receipts.store(self.name, RECEIPT_KIND, pdu)

    async def _bind_and_leave(self) -> None:
        session = await self._dial()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(session.run())
            await session.unbind()


def _partly(result: Result, accepted: Sequence[str], total: int) -> Result:
    if not accepted:
        return result
    return replace(
        result,
        provider_message_id=",".join(accepted),
        receipt_ids=(*accepted, *[""] * (total - len(accepted))),
        detail=f"{len(accepted)} of {total} segments accepted",
    )
