"""Alerts to a webhook, in the form that Slack and its kin take."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from html import escape

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from clarion_kit.clock import Clock
from clarion_monitor.notices import Notice, fields, text
from clarion_monitor.ports import SinkFailed

SIGNATURE_HEADER = "x-clarion-signature"
TIMEOUT = timedelta(seconds=10)
_MAX_ANSWER_BYTES = 64 * 1024


def body_of(notice: Notice) -> bytes:
    """`{"text": …}` for people, escaped as Slack wants it, and the fields of the notice beside it."""
    document = {"text": escape(text(notice), quote=False), **fields(notice)}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def signature(secret: bytes, moment: int, body: bytes) -> str:
    """ "t=<Unix seconds>,v1=<hex>": HMAC-SHA256 over "<seconds>.<body>", so that neither can be changed or used again later."""
    digest = hmac.new(secret, b"%d." % moment + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class WebhookSink:
    """One POST a message; any 2xx means that it was taken. `secret` empty: not signed."""

    name = "webhook"

    def __init__(self, client: Client, url: str, secret: bytes, clock: Clock) -> None:
        self._client = client
        self._url = url
        self._secret = secret
        self._clock = clock

    @staticmethod
    @asynccontextmanager
    async def connect(
        url: str, secret: bytes, clock: Clock, *, timeout: timedelta = TIMEOUT
    ) -> AsyncIterator["WebhookSink"]:
        """No redirects, no proxy from the environment, no cookies; each message within `timeout`."""
        builder = ClientBuilder().timeout(timeout).connect_timeout(timeout / 2).no_proxy().follow_redirects(False)
        async with builder.build() as client:
            yield WebhookSink(client, url, secret, clock)

    async def tell(self, notice: Notice) -> None:
        body = body_of(notice)
        headers = {"content-type": "application/json"}
        if self._secret:
            headers[SIGNATURE_HEADER] = signature(self._secret, int(self._clock.now().timestamp()), body)
        request = self._client.post(self._url).headers(headers).body_bytes(body).build_streamed()
        try:
            async with request as response:
                status = response.status
                await response.body_reader.read(_MAX_ANSWER_BYTES)
        except PyreqwestError as failed:
            # Its text may hold the URL, which is a secret.
            raise SinkFailed(type(failed).__name__) from None
        if not 200 <= status < 300:
            raise SinkFailed(f"HTTP {status}")
