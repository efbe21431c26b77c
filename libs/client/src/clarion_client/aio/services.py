"""The services of an async client."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from datetime import datetime

from clarion.broadcast.v1 import broadcast_service_pb2
from clarion.deadletter.v1 import dead_letter_service_pb2
from clarion.notification.v1 import state_pb2
from clarion.schedule.v1 import schedule_service_pb2
from clarion.suppression.v1 import suppression_pb2
from clarion_client._rpc import AsyncService
from clarion_client.aio.importing import import_many
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


class AsyncRecipients(RecipientCalls, AsyncService):
    """`client.recipients`"""

    async def upsert_many(
        self, recipients: Iterable[RecipientLike], *, progress: Callable[[int], object] | None = None
    ) -> list[UpsertOutcome]:
        """Stores any number of recipients, 500 a call; one outcome each, in order.

        `progress` is told how many are done after each call. Raises ClarionError when a whole call fails: repeat it
        all, storing again changes nothing.
        """
        outcomes: list[UpsertOutcome] = []
        for request in upsert_chunks(recipients):
            outcomes += upsert_outcomes(request, await self._caller.call(UPSERT_MANY, request))
            if progress is not None:
                progress(len(outcomes))
        return outcomes

    def import_many(
        self, recipients: Iterable[RecipientLike] | AsyncIterable[RecipientLike], *, batches_in_flight: int = 4
    ) -> AsyncGenerator[UpsertOutcome, None]:
        """Stores any number of recipients as they come, in batches (500, 4 MiB), several at a time; one outcome each, in
        order: the contract's answer or a ClarionError.

        The source is read only as fast as outcomes are taken, so memory does not grow with it. An id that comes again
        changes its recipient again, after the first change. A bad one fails alone; a batch that fails as a whole gives its
        error for each of its recipients, and importing them again changes nothing that was stored. Close the
        generator (`contextlib.aclosing`) if you stop early.
        Raises what the source raises.
        """
        return import_many(self._caller, recipients, batches_in_flight)


class AsyncPreferences(PreferenceCalls, AsyncService):
    """`client.preferences`"""


class AsyncTemplates(TemplateCalls, AsyncService):
    """`client.templates`"""


class AsyncCategories(CategoryCalls, AsyncService):
    """`client.categories`"""


class AsyncApps(AppCalls, AsyncService):
    """`client.apps`"""


class AsyncAuditLog(AuditLogCalls, AsyncService):
    """`client.audit_log`"""


class AsyncProviders(ProviderCalls, AsyncService):
    """`client.providers`"""


class AsyncRoutes(RouteCalls, AsyncService):
    """`client.routes`"""


class AsyncBudgets(BudgetCalls, AsyncService):
    """`client.budgets`"""


class AsyncBroadcasts(BroadcastCalls, AsyncService):
    """`client.broadcasts`"""

    async def list(self, limit: int = 50) -> list[broadcast_service_pb2.Broadcast]:
        """The newest broadcasts, at most 500 of them. Raises InvalidArgument (INVALID_FIELD)."""
        request = broadcast_service_pb2.ListBroadcastsRequest(page_size=limit)
        return [*(await self._caller.call(LIST_BROADCASTS, request)).broadcasts]


class AsyncSchedules(ScheduleCalls, AsyncService):
    """`client.schedules`"""

    async def list(self) -> AsyncIterator[schedule_service_pb2.Schedule]:
        """The app's schedules by name, page after page."""
        request = schedule_service_pb2.ListSchedulesRequest()
        while True:
            page = await self._caller.call(LIST_SCHEDULES, request)
            for schedule in page.schedules:
                yield schedule
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


class AsyncTopics(TopicCalls, AsyncService):
    """`client.topics`"""


class AsyncTracking(TrackingCalls, AsyncService):
    """`client.tracking`"""


class AsyncWebhooks(WebhookCalls, AsyncService):
    """`client.webhooks`"""


class AsyncSuppressions(SuppressionCalls, AsyncService):
    """`client.suppressions`"""

    async def list(
        self,
        *,
        channel: Channel | None = None,
        reason: suppression_pb2.SuppressionReason.ValueType = suppression_pb2.SUPPRESSION_REASON_UNSPECIFIED,
        page_size: int = 100,
    ) -> AsyncIterator[suppression_pb2.Suppressed]:
        """What is on the list, latest first, page after page. Raises InvalidArgument (INVALID_FIELD)."""
        request = suppressions.list_request(channel, reason, page_size)
        while True:
            page = await self._caller.call(LIST_SUPPRESSED, request)
            for suppressed in page.suppressed:
                yield suppressed
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


class AsyncDeadLetters(DeadLetterCalls, AsyncService):
    """`client.dead_letters`"""

    async def list(
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
    ) -> AsyncIterator[dead_letter_service_pb2.DeadLetter]:
        """Dead letters that ended in [since, until), newest first, page after page; `redriven` None: either."""
        request = dead_letters.list_request(channel, reason, since, until, provider, last_code, redriven, page_size)
        while True:
            page = await self._caller.call(LIST_DEAD_LETTERS, request)
            for dead_letter in page.dead_letters:
                yield dead_letter
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
