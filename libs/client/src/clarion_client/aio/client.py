"""The async client."""

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, Unpack, overload

import grpc

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client import _trace
from clarion_client._results import SendOutcome, sent
from clarion_client._rpc import AsyncService
from clarion_client._secret import Secret
from clarion_client._target import certificate_name, channel_options, require_loopback, tls_credentials
from clarion_client.aio.bulk import send_many
from clarion_client.aio.core import AsyncCore, TimedCaller
from clarion_client.aio.deliveries import AsyncDeliveries
from clarion_client.aio.services import (
    AsyncApps,
    AsyncAuditLog,
    AsyncBroadcasts,
    AsyncBudgets,
    AsyncCategories,
    AsyncDeadLetters,
    AsyncPreferences,
    AsyncProviders,
    AsyncRecipients,
    AsyncRoutes,
    AsyncSchedules,
    AsyncSuppressions,
    AsyncTemplates,
    AsyncTopics,
    AsyncTracking,
    AsyncWebhooks,
)
from clarion_client.aio.stream import MAX_UNANSWERED, send_stream
from clarion_client.calls.notifications import LIST, SEND, NotificationCalls, list_request
from clarion_client.notification import NotificationFields, NotificationLike, Sent, one_notification
from clarion_client.retry import CLOSE_GRACE, DEFAULT_TIMEOUT, RetryPolicy


class AsyncClient(NotificationCalls, AsyncService):
    """Clarion on asyncio. Made by `connect`; use it within the event loop that made it, from any task."""

    def __init__(self, core: AsyncCore, target: str, timeout: timedelta) -> None:
        caller = TimedCaller(core, timeout)
        super().__init__(caller)
        self._core = core
        self._target = target
        self._timeout = timeout
        self.recipients = AsyncRecipients(caller)
        self.preferences = AsyncPreferences(caller)
        self.templates = AsyncTemplates(caller)
        self.categories = AsyncCategories(caller)
        self.apps = AsyncApps(caller)
        self.audit_log = AsyncAuditLog(caller)
        self.providers = AsyncProviders(caller)
        self.routes = AsyncRoutes(caller)
        self.budgets = AsyncBudgets(caller)
        self.broadcasts = AsyncBroadcasts(caller)
        self.schedules = AsyncSchedules(caller)
        self.suppressions = AsyncSuppressions(caller)
        self.dead_letters = AsyncDeadLetters(caller)
        self.topics = AsyncTopics(caller)
        self.tracking = AsyncTracking(caller)
        self.webhooks = AsyncWebhooks(caller)
        self.deliveries = AsyncDeliveries(core)

    @classmethod
    def connect(
        cls,
        target: str,
        app_key: str,
        app_secret: str,
        *,
        ca_file: str | os.PathLike[str] | bytes | None = None,
        insecure: bool = False,
        timeout: timedelta = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
    ) -> Self:
        """A client of the gateway at `target` ("host:port" or a gRPC name). Does not wait: the first call connects.

        Several gateways behind one name, or listed ("ipv4:10.0.0.1:443,10.0.0.2:443"), share the calls; one that is
        away is left out and its calls are repeated at another.
        `ca_file`: the authority to trust, a path or PEM as bytes; None: gRPC's own roots. `insecure` is for loopback
        only. `timeout` bounds each call, all its attempts together.
        Raises InsecureTarget, ValueError (`ca_file` with `insecure`), OSError (`ca_file`).
        """
        options = channel_options(insecure=insecure)
        if insecure:
            require_loopback(target)
            if ca_file is not None:
                raise ValueError("ca_file is of no use with insecure=True")
            channel = grpc.aio.insecure_channel(target, options)
        else:
            channel = grpc.aio.secure_channel(target, tls_credentials(ca_file), (*options, *certificate_name(target)))
        return cls(AsyncCore(channel, app_key, Secret(app_secret), retry or RetryPolicy()), target, timeout)

    def with_timeout(self, timeout: timedelta) -> Self:
        """The same client, its connection shared, with another timeout; closing either closes both."""
        return type(self)(self._core, self._target, timeout)

    @overload
    async def send(self, notification: NotificationLike, /, *, trace: bool = False) -> Sent: ...
    @overload
    async def send(self, *, trace: bool = False, **fields: Unpack[NotificationFields]) -> Sent: ...
    async def send(  # type: ignore[misc]  # required fields are required by the overload without a notification
        self,
        notification: NotificationLike | None = None,
        /,
        *,
        trace: bool = False,
        **fields: Unpack[NotificationFields],
    ) -> Sent:
        """Hands in one notification, given whole or by the fields of `Notification`; returns once it is durable.

        Repeated by itself under one event id, made up where none is given. `trace` has this call sampled; the trace
        id is in the result. Raises InvalidArgument, NotFound (TEMPLATE_NOT_FOUND), PermissionDenied, AlreadyExists
        (EVENT_ID_REUSED), ResourceExhausted, Unavailable, DeadlineExceeded, Unauthenticated, ValueError.
        """
        proto = one_notification(notification, fields)
        context = _trace.forced() if trace else _trace.current()
        answer = await self._core.call(SEND, pb.SendRequest(notification=proto), self._timeout, context)
        return sent(proto.event_id, answer, context)

    def send_many(
        self,
        notifications: Iterable[NotificationLike] | AsyncIterable[NotificationLike],
        *,
        batches_in_flight: int = 4,
    ) -> AsyncGenerator[SendOutcome, None]:
        """Hands in any number in batches (1,000 items, 4 MiB); one outcome each, in order: Sent or a ClarionError.

        A batch is sent when it is full or the source ends; for a source that trickles use `stream`. A batch that
        fails as a whole gives its error for each item. Close the generator (`contextlib.aclosing`) if you stop early.
        Raises what the source raises, ValueError for a notification that cannot be encoded.
        """
        return send_many(self._core, notifications, self._timeout, batches_in_flight)

    def stream(
        self,
        notifications: Iterable[NotificationLike] | AsyncIterable[NotificationLike],
        *,
        max_unanswered: int = MAX_UNANSWERED,
    ) -> AsyncGenerator[SendOutcome, None]:
        """Hands in notifications as they come, over one stream; one outcome each, in order.

        The source is read no faster than outcomes are taken: at most `max_unanswered` lie between. Lost connections
        are opened again and what was unanswered is sent again. Close the generator if you stop early.
        Raises ClarionError when the stream cannot go on, what the source raises, ValueError.
        """
        return send_stream(self._core, notifications, self._timeout, max_unanswered)

    async def list(
        self,
        *,
        recipient_id: str = "",
        category: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[pb.NotificationView]:
        """Notifications accepted in [since, until), newest first, page after page. Raises InvalidArgument."""
        request = list_request(recipient_id, category, since, until, page_size)
        while True:
            page = await self._caller.call(LIST, request)
            for view in page.notifications:
                yield view
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def close(self, grace: timedelta = CLOSE_GRACE) -> None:
        """Calls in progress get `grace` to end, then raise Cancelled. May be repeated."""
        await self._core.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(target={self._target!r}, timeout={self._timeout})"
