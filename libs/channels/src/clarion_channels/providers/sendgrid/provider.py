"""The SendGrid provider behind the port."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from clarion.types.v1.channel_pb2 import CHANNEL_EMAIL, Channel
from clarion_channels.errortable import ErrorTable
from clarion_channels.http import Attempt, HttpPool, NoAnswer, NotSent, PoolOptions
from clarion_channels.mail.attachments import check_attachment
from clarion_channels.mail.compose import FrameMismatch
from clarion_channels.mail.frame import CorruptFrame
from clarion_channels.mail.frames_source import FrameSource, FrameUnavailable
from clarion_channels.mail.headers import HeaderError, Mailbox, render
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable, Report
from clarion_channels.providers.mailing import NotForMail, attachments_of, frame_of, headers_of
from clarion_channels.providers.sendgrid.answer import MESSAGE_ID, RATE_LIMIT_RESET, Answer, classify
from clarion_channels.providers.sendgrid.mails import Mail, Template, groups
from clarion_channels.providers.sendgrid.payload import MAX_REQUEST_BYTES, build_body
from clarion_channels.providers.sendgrid.settings import SendGridSettings

_PROBE = b"{}"
"""Refused for its content, but only after the key was accepted."""
_CREDENTIALS_WORK = frozenset({Outcome.ACCEPTED, Outcome.BAD})
_TOO_LARGE = Answer(Result(Outcome.BAD, code="local:mail_too_large", detail=f"over {MAX_REQUEST_BYTES} bytes"))


class SendGridProvider:
    """One SendGrid account. Made by `Factory`, inside a running loop."""

    name = "sendgrid"
    channel: Channel.ValueType = CHANNEL_EMAIL

    def __init__(self, settings: SendGridSettings, frames: FrameSource, table: ErrorTable) -> None:
        self.max_batch = settings.max_personalizations
        self.max_in_flight = max(settings.connections * settings.streams, settings.max_personalizations)
        self.timeout = timedelta(seconds=settings.timeout_seconds)
        self._settings = settings
        self._headers = {
            "authorization": f"Bearer {settings.api_key.get_secret_value()}",
            "content-type": "application/json",
        }
        self._sender = Mailbox(settings.from_address, settings.from_name)
        self._frames = frames
        self._table = table
        self._http = HttpPool(
            PoolOptions(
                clients=settings.connections,
                streams=settings.streams,
                connect_timeout=timedelta(seconds=settings.connect_timeout_seconds),
                ca_file=settings.ca_file,
                kept_headers=frozenset({"retry-after", MESSAGE_ID, RATE_LIMIT_RESET}),
            )
        )

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        """One request for the mails of one frame, side by side with those of others."""
        waiting = _Waiting(batch, report)
        try:
            mails = await self._prepare(batch, waiting)
            async with asyncio.TaskGroup() as tasks:
                for group in groups(mails, self._settings.max_personalizations):
                    tasks.create_task(self._send_group(group, waiting))
        finally:
            waiting.end()

    async def probe(self) -> None:
        """Have SendGrid refuse an empty request, which it does only for a key that it knows."""
        try:
            answer = await self._post(_PROBE, self.timeout, Attempt())
        except (NotSent, NoAnswer) as error:
            raise ProviderUnavailable(f"no answer from SendGrid: {error}") from error
        if answer.result.outcome not in _CREDENTIALS_WORK:
            raise ProviderUnavailable(f"{answer.result.code}: {answer.result.detail}")

    async def close(self) -> None:
        await self._http.close(self.timeout)

    async def _prepare(self, batch: Sequence[Message], waiting: "_Waiting") -> list[Mail]:
        templates: dict[bytes, Template] = {}
        mails: list[Mail] = []
        for message in batch:
            try:
                mails.append(await self._mail(message, templates))
            except FrameUnavailable:
                waiting.settle(message, Result(Outcome.RETRY, code="local:frame_unavailable"))
            except NotForMail as error:
                waiting.settle(message, Result(Outcome.BAD, code="local:not_for_mail", detail=str(error)))
            except (HeaderError, FrameMismatch, CorruptFrame) as error:
                waiting.settle(message, Result(Outcome.BAD, code=f"local:{type(error).__name__}", detail=str(error)))
        return mails

    async def _mail(self, message: Message, templates: dict[bytes, Template]) -> Mail:
        headers = headers_of(message, self._sender, datetime.now(UTC), self._settings.inbound_domain)
        content = message.content.mail
        render(headers, content.subject)  # refuses what would break a header
        template = templates.get(content.frame_sha256) if content.frame_sha256 else None
        if template is None:
            template = Template(await frame_of(content, self._frames))
            templates[template.name] = template
        attachments = attachments_of(content)
        for attachment in attachments:
            check_attachment(attachment)
        return Mail(message, headers, template, template.values(content), attachments)

    async def _send_group(self, group: list[Mail], waiting: "_Waiting") -> None:
        """Send one request; where it is refused for its content, the mails that are not to blame go again."""
        deadline = asyncio.get_running_loop().time() + self.timeout.total_seconds()
        requests = deque([group])
        while requests:
            mails = requests.popleft()
            attempt = waiting.depart(mails)
            body = build_body(mails, self._sender, self._settings.categories, sandbox=self._settings.sandbox_mode)
            try:
                answer = _TOO_LARGE if len(body) > MAX_REQUEST_BYTES else await self._post_by(deadline, body, attempt)
            except NotSent as error:
                answer = Answer(Result(Outcome.RETRY, code=error.code, detail=str(error)[:256]))
            except NoAnswer as error:
                answer = Answer(Result(Outcome.UNKNOWN, code="local:no_answer", detail=str(error)[:256]))
            if answer.by_content and len(mails) > 1:
                attempt.handed_over = False  # a refused request was not acted on
                requests.extend(_again(mails, answer, waiting))
            else:
                for index, mail in enumerate(mails):
                    waiting.settle(mail.message, answer.of(index))

    async def _post_by(self, deadline: float, body: bytes, attempt: Attempt) -> Answer:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise NotSent("local:timeout", "no time left for the request")
        return await self._post(body, timedelta(seconds=left), attempt)

    async def _post(self, body: bytes, timeout: timedelta, attempt: Attempt) -> Answer:
        answer = await self._http.post(self._settings.send_url, self._headers, body, timeout, attempt)
        return classify(self._table, answer, datetime.now(UTC))


def _again(mails: list[Mail], answer: Answer, waiting: "_Waiting") -> list[list[Mail]]:
    """What is left to be sent of a refused request: all but the named culprits, or, where none is named, two halves."""
    culprits = {index for index in answer.culprits if index < len(mails)}
    if not culprits:
        middle = len(mails) // 2
        return [mails[:middle], mails[middle:]]
    for index in culprits:
        waiting.settle(mails[index].message, answer.of(index))
    innocent = [mail for index, mail in enumerate(mails) if index not in culprits]
    return [innocent] if innocent else []


class _Waiting:
    """The messages of one call that were not reported yet, each with the request that it went out with last."""

    def __init__(self, batch: Sequence[Message], report: Report) -> None:
        self._report = report
        self._open: dict[UUID, tuple[Message, Attempt]] = {each.delivery_id: (each, Attempt()) for each in batch}

    def depart(self, mails: Sequence[Mail]) -> Attempt:
        """These mails go out together now."""
        attempt = Attempt()
        for mail in mails:
            self._open[mail.message.delivery_id] = (mail.message, attempt)
        return attempt

    def settle(self, message: Message, result: Result) -> None:
        del self._open[message.delivery_id]
        self._report(message, result)

    def end(self) -> None:
        """Report what is left, which is nothing unless the call was cancelled."""
        for message, attempt in self._open.values():
            outcome = Outcome.UNKNOWN if attempt.handed_over else Outcome.RETRY
            self._report(message, Result(outcome, code="local:cancelled"))
        self._open.clear()
