"""Amazon SES: its events, which Amazon SNS brings."""

import asyncio
import re
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from clarion_channels.mail.receipt import Malformed, Unauthentic
from clarion_channels.providers.ses import receipts, sns
from clarion_tracker.callbacks import Call, Forged, Genuine
from clarion_tracker.inbound import Reading, Result
from clarion_tracker.ports import Fetch, Reply

REPLAY_WINDOW = timedelta(hours=24)
"""SNS repeats a message under its first timestamp for hours; repetitions are told by their id for longer than this."""
MAX_CERTIFICATES = 16
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")


class _Settings(BaseModel):
    """What callbacks need of an account's credential document."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    topic_arns: frozenset[str] = Field(min_length=1, max_length=10)


class Certificates:
    """SNS's signing certificates by URL, each fetched once; the oldest of many makes room."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: dict[str, bytes] = {}
        self._fetching = asyncio.Lock()

    async def get(self, url: str) -> bytes:
        """PEM. `url` is one of `sns.certificate_url`. Raises Unavailable."""
        async with self._fetching:
            known = self._known.get(url)
            if known is None:
                known = await self._fetch(url)
                if len(self._known) >= MAX_CERTIFICATES:
                    del self._known[next(iter(self._known))]
                self._known[url] = known
        return known


class Verifier:
    """Topics whose messages count."""

    def __init__(self, topics: frozenset[str], certificates: Certificates, fetch: Fetch) -> None:
        self._topics = topics
        self._certificates = certificates
        self._fetch = fetch

    async def check(self, call: Call, now: datetime) -> Genuine:
        """Raises Forged, and Unavailable while a certificate or a confirmation cannot be had."""
        try:
            envelope = sns.parse(call.body)
            if envelope.topic_arn not in self._topics:
                raise Forged("the topic is not the account's")
            _check_age(envelope, now)
            url = sns.certificate_url(envelope)
            if _CERTIFICATE_PATH.fullmatch(urlsplit(url).path) is None:
                raise Forged("the certificate's URL is none of SNS's")
            sns.verify(envelope, await self._certificates.get(url), now)
            if envelope.kind is sns.Kind.SUBSCRIPTION:
                await self._fetch(sns.confirmation_url(envelope, self._topics))
        except (Unauthentic, Malformed) as forged:
            raise Forged(str(forged)) from forged
        return Genuine(f"{envelope.topic_arn}\n{envelope.message_id}".encode(), envelope.kind is sns.Kind.NOTIFICATION)


def _check_age(envelope: sns.Envelope, now: datetime) -> None:
    try:
        moment = datetime.fromisoformat(envelope.timestamp)
    except ValueError as error:
        raise Forged("the timestamp cannot be read") from error
    if moment.tzinfo is None or abs(now - moment) > REPLAY_WINDOW:
        raise Forged("the timestamp is too far from now")


class Source:
    """`callbacks.Source` of SES."""

    kind = "ses"
    stored_as = "ses.sns"
    media_types = frozenset({"text/plain", "application/json"})
    max_body_bytes = 64 << 10
    accepted = Reply(200)

    def __init__(self, fetch: Fetch) -> None:
        self._certificates = Certificates(fetch)
        self._fetch = fetch
        self.decoy = Verifier(frozenset(), self._certificates, fetch)

    def verifier(self, settings: bytes) -> Verifier:
        return Verifier(_Settings.model_validate_json(settings).topic_arns, self._certificates, self._fetch)


def read(body: bytes) -> Reading:
    """Reads rows that `Source` stored."""
    try:
        return receipts.receipts(sns.parse(body))
    except (Malformed, OverflowError):
        return Result.MALFORMED
