"""The sync client."""

import os
from collections.abc import Generator, Iterable, Iterator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, Unpack, overload

import grpc

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client import _trace
from clarion_client._results import SendOutcome, sent
from clarion_client._rpc import SyncService
from clarion_client._secret import Secret
from clarion_client._target import certificate_name, channel_options, require_loopback, tls_credentials
from clarion_client.calls.notifications import LIST, SEND, NotificationCalls, list_request
from clarion_client.notification import NotificationFields, NotificationLike, Sent, one_notification
from clarion_client.retry import CLOSE_GRACE, DEFAULT_TIMEOUT, RetryPolicy
from clarion_client.sync.bulk import send_many
from clarion_client.sync.core import SyncCore, TimedCaller
from clarion_client.sync.deliveries import Deliveries
from clarion_client.sync.services import (
    Apps,
    AuditLog,
    Broadcasts,
    Budgets,
    Categories,
    DeadLetters,
    Preferences,
    Providers,
    Recipients,
    Routes,
    Schedules,
    Suppressions,
    Templates,
    Topics,
    Tracking,
    Webhooks,
)


class Client(NotificationCalls, SyncService):
    """Clarion for threads. Made by `connect`, shared by any number of threads of one process.

    Make it after forking (in gunicorn's `post_fork`, Celery's `worker_process_init`): in a forked child an older client
    raises RuntimeError instead of hanging.
    """

    def __init__(self, core: SyncCore, target: str, timeout: timedelta) -> None:
        caller = TimedCaller(core, timeout)
        super().__init__(caller)
        self._core = core
        self._target = target
        self._timeout = timeout
        self.recipients = Recipients(caller)
        self.preferences = Preferences(caller)
        self.templates = Templates(caller)
        self.categories = Categories(caller)
        self.apps = Apps(caller)
        self.audit_log = AuditLog(caller)
        self.providers = Providers(caller)
        self.routes = Routes(caller)
        self.budgets = Budgets(caller)
        self.broadcasts = Broadcasts(caller)
        self.schedules = Schedules(caller)
        self.suppressions = Suppressions(caller)
        self.dead_letters = DeadLetters(caller)
        self.topics = Topics(caller)
        self.tracking = Tracking(caller)
        self.webhooks = Webhooks(caller)
        self.deliveries = Deliveries(core)

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
            channel = grpc.insecure_channel(target, options)
        else:
            channel = grpc.secure_channel(target, tls_credentials(ca_file), (*options, *certificate_name(target)))
        return cls(SyncCore(channel, app_key, Secret(app_secret), retry or RetryPolicy()), target, timeout)

    def with_timeout(self, timeout: timedelta) -> Self:
        """The same client, its connection shared, with another timeout; closing either closes both."""
        return type(self)(self._core, self._target, timeout)

    @overload
    def send(self, notification: NotificationLike, /, *, trace: bool = False) -> Sent: ...
    @overload
    def send(self, *, trace: bool = False, **fields: Unpack[NotificationFields]) -> Sent: ...
    def send(  # type: ignore[misc]  # required fields are required by the overload without a notification
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
        answer = self._core.call(SEND, pb.SendRequest(notification=proto), self._timeout, context)
        return sent(proto.event_id, answer, context)

    def send_many(
        self, notifications: Iterable[NotificationLike], *, batches_in_flight: int = 4
    ) -> Generator[SendOutcome, None, None]:
        """Hands in any number in batches (1,000 items, 4 MiB); one outcome each, in order: Sent or a ClarionError.

        A batch is sent when it is full or the source ends. A batch that fails as a whole gives its error for each
        item. Nothing is sent before the first outcome is asked for. Raises what the source raises, ValueError for a
        notification that cannot be encoded.
        """
        return send_many(self._core, notifications, self._timeout, batches_in_flight)

    def list(
        self,
        *,
        recipient_id: str = "",
        category: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int = 100,
    ) -> Iterator[pb.NotificationView]:
        """Notifications accepted in [since, until), newest first, page after page. Raises InvalidArgument."""
        request = list_request(recipient_id, category, since, until, page_size)
        while True:
            page = self._caller.call(LIST, request)
            yield from page.notifications
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def close(self, grace: timedelta = CLOSE_GRACE) -> None:
        """Calls in progress get `grace` to end, then raise Cancelled. May be repeated."""
        self._core.close(grace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(target={self._target!r}, timeout={self._timeout})"
