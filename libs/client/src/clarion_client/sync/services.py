"""The services of a sync client."""

from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime

from clarion.broadcast.v1 import broadcast_service_pb2
from clarion.deadletter.v1 import dead_letter_service_pb2
from clarion.notification.v1 import state_pb2
from clarion.schedule.v1 import schedule_service_pb2
from clarion.suppression.v1 import suppression_pb2
from clarion_client._rpc import SyncService
from clarion_client.calls import dead_letters, suppressions
from clarion_client.calls.apps import AppCalls
from clarion_client.calls.audit_log import AuditLogCalls
from clarion_client.calls.broadcasts import LIST_BROADCASTS, BroadcastCalls
from clarion_client.calls.budgets import BudgetCalls
from clarion_client.calls.categories import CategoryCalls
from clarion_client.calls.dead_letters import LIST_DEAD_LETTERS, DeadLetterCalls
from clarion_client.calls.preferences import PreferenceCalls
from clarion_client.calls.providers import ProviderCalls
from clarion_client.calls.recipients import UPSERT_MANY, RecipientCalls, UpsertOutcome, upsert_chunks, upsert_outcomes
from clarion_client.calls.routes import RouteCalls
from clarion_client.calls.schedules import LIST_SCHEDULES, ScheduleCalls
from clarion_client.calls.suppressions import LIST_SUPPRESSED, SuppressionCalls
from clarion_client.calls.templates import TemplateCalls
from clarion_client.calls.topics import TopicCalls
from clarion_client.calls.tracking import TrackingCalls
from clarion_client.calls.webhooks import WebhookCalls
from clarion_client.enums import Channel
from clarion_client.recipient import RecipientLike
from clarion_client.sync.importing import import_many


class Recipients(RecipientCalls, SyncService):
    """`client.recipients`"""

    def upsert_many(
        self, recipients: Iterable[RecipientLike], *, progress: Callable[[int], object] | None = None
    ) -> list[UpsertOutcome]:
        """Stores any number of recipients, 500 a call; one outcome each, in order.

        `progress` is told how many are done after each call. Raises ClarionError when a whole call fails: repeat it
        all, storing again changes nothing.
        """
        outcomes: list[UpsertOutcome] = []
        for request in upsert_chunks(recipients):
            outcomes += upsert_outcomes(request, self._caller.call(UPSERT_MANY, request))
            if progress is not None:
                progress(len(outcomes))
        return outcomes

    def import_many(
        self, recipients: Iterable[RecipientLike], *, batches_in_flight: int = 4
    ) -> Generator[UpsertOutcome, None, None]:
        """Stores any number of recipients as they come, in batches (500, 4 MiB), several at a time; one outcome each, in
        order: the contract's answer or a ClarionError.

        The source is read only as fast as outcomes are taken, so memory does not grow with it. An id that comes again
        changes its recipient again, after the first change. A bad one fails alone; a batch that fails as a whole gives its
        error for each of its recipients, and importing them again changes nothing that was stored. Close the
        generator (`contextlib.closing`) if you stop early.
        Raises what the source raises.
        """
        return import_many(self._caller, recipients, batches_in_flight)


class Preferences(PreferenceCalls, SyncService):
    """`client.preferences`"""


class Templates(TemplateCalls, SyncService):
    """`client.templates`"""


class Categories(CategoryCalls, SyncService):
    """`client.categories`"""


class Apps(AppCalls, SyncService):
    """`client.apps`"""


class AuditLog(AuditLogCalls, SyncService):
    """`client.audit_log`"""


class Providers(ProviderCalls, SyncService):
    """`client.providers`"""


class Routes(RouteCalls, SyncService):
    """`client.routes`"""


class Budgets(BudgetCalls, SyncService):
    """`client.budgets`"""


class Broadcasts(BroadcastCalls, SyncService):
    """`client.broadcasts`"""

    def list(self, limit: int = 50) -> list[broadcast_service_pb2.Broadcast]:
        """The newest broadcasts, at most 500 of them. Raises InvalidArgument (INVALID_FIELD)."""
        request = broadcast_service_pb2.ListBroadcastsRequest(page_size=limit)
        return [*(self._caller.call(LIST_BROADCASTS, request)).broadcasts]


class Schedules(ScheduleCalls, SyncService):
    """`client.schedules`"""

    def list(self) -> Iterator[schedule_service_pb2.Schedule]:
        """The app's schedules by name, page after page."""
        request = schedule_service_pb2.ListSchedulesRequest()
        while True:
            page = self._caller.call(LIST_SCHEDULES, request)
            yield from page.schedules
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


class Topics(TopicCalls, SyncService):
    """`client.topics`"""


class Tracking(TrackingCalls, SyncService):
    """`client.tracking`"""


class Webhooks(WebhookCalls, SyncService):
    """`client.webhooks`"""


class Suppressions(SuppressionCalls, SyncService):
    """`client.suppressions`"""

    def list(
        self,
        *,
        channel: Channel | None = None,
        reason: suppression_pb2.SuppressionReason.ValueType = suppression_pb2.SUPPRESSION_REASON_UNSPECIFIED,
        page_size: int = 100,
    ) -> Iterator[suppression_pb2.Suppressed]:
        """What is on the list, latest first, page after page. Raises InvalidArgument (INVALID_FIELD)."""
        request = suppressions.list_request(channel, reason, page_size)
        while True:
            page = self._caller.call(LIST_SUPPRESSED, request)
            yield from page.suppressed
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


class DeadLetters(DeadLetterCalls, SyncService):
    """`client.dead_letters`"""

    def list(
        self,
        *,
        channel: Channel | None = None,
        reason: state_pb2.Reason.ValueType = state_pb2.REASON_UNSPECIFIED,
        since: datetime | None = None,
        until: datetime | None = None,
        provider: str = "",
        last_code: str = "",
        redriven: bool | None = None,
        page_size: int = 100,
    ) -> Iterator[dead_letter_service_pb2.DeadLetter]:
        """Dead letters that ended in [since, until), newest first, page after page; `redriven` None: either."""
        request = dead_letters.list_request(channel, reason, since, until, provider, last_code, redriven, page_size)
        while True:
            page = self._caller.call(LIST_DEAD_LETTERS, request)
            yield from page.dead_letters
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
