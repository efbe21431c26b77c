"""The registry of telemetry names: metrics, span attributes. Nothing is recorded under a name that is not here.

Attributes have low cardinality; OpenTelemetry's own names are used where they exist (semantic conventions 1.45).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Attr:
    """Span attributes of our own."""

    CHANNEL: Final = "clarion.channel"
    PRIORITY: Final = "clarion.priority"
    PROVIDER: Final = "clarion.provider"
    OUTCOME: Final = "clarion.outcome"
    NOTIFICATION_ID: Final = "clarion.notification.id"
    DELIVERY_ID: Final = "clarion.delivery.id"
    ATTEMPT: Final = "clarion.attempt"
    RECEIPT: Final = "clarion.receipt"
    BATCH: Final = "messaging.batch.message_count"
    SYSTEM: Final = "messaging.system"
    OPERATION: Final = "messaging.operation.name"
    OPERATION_TYPE: Final = "messaging.operation.type"
    DESTINATION: Final = "messaging.destination.name"
    RPC_SYSTEM: Final = "rpc.system.name"
    RPC_METHOD: Final = "rpc.method"
    RPC_STATUS: Final = "rpc.response.status_code"
    ERROR_TYPE: Final = "error.type"


def messaging(operation: str, destination: str, count: int) -> dict[str, str | int]:
    """Attributes of a span over a batch of ids on the bus; `operation` is "send" or "process"."""
    return {
        Attr.SYSTEM: "nats",
        Attr.OPERATION: operation,
        Attr.OPERATION_TYPE: operation,
        Attr.DESTINATION: destination,
        Attr.BATCH: count,
    }


class MetricKind(StrEnum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: Prometheus name, help text, label names; buckets make it a histogram of seconds, the name's end a counter.
    `exemplars`: its observations carry their trace.

    Labels are closed sets, or grow with configuration: lanes, accounts, apps (at most `MOST_APPS`), countries. Nothing that
    grows with traffic or people.
    """

    name: str
    help: str
    labels: Sequence[str] = ()
    buckets: Sequence[float] = ()
    exemplars: bool = False

    @property
    def kind(self) -> MetricKind:
        if self.buckets:
            return MetricKind.HISTOGRAM
        return MetricKind.COUNTER if self.name.endswith("_total") else MetricKind.GAUGE


MOST_APPS = 200
"""Apps that a metric tells apart; those beyond share the label `OTHER`."""
OTHER = "other"

_TINY = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)

RPC_DURATION = Metric(
    "rpc_server_call_duration_seconds",
    "Duration of answered calls.",
    ("rpc_method", "rpc_response_status_code"),
    _FAST,
    exemplars=True,
)
RPC_IN_FLIGHT = Metric("clarion_rpc_in_flight", "Calls being answered.")
BUS_PUBLISHED = Metric("messaging_client_sent_messages_total", "Messages the bus confirmed.", ("lane",))
BUS_PUBLISH_FAILED = Metric("clarion_bus_publish_failed_total", "Messages the bus did not confirm in time.", ("lane",))
BUS_CONSUMED = Metric("messaging_client_consumed_messages_total", "Messages taken from the bus.", ("lane",))
BUS_PROCESS = Metric("messaging_process_duration_seconds", "Time to settle a batch of messages.", ("lane",), _FAST)
ACCEPTED = Metric("clarion_accepted_total", "Notifications accepted, duplicates excluded.", ("priority",))
ACCEPT_BATCH = Metric("clarion_accept_commit_seconds", "Duration of a grouped accept.", (), _FAST)
ACCEPTED_BY_APP = Metric("clarion_app_accepted_total", "Notifications accepted, by app.", ("app",))
PLANNED = Metric("clarion_planned_total", "Deliveries planned.", ("channel", "state"))
PLAN_AGE = Metric("clarion_plan_age_seconds", "Accepted to planned.", ("priority",), _SLOW, exemplars=True)
ATTEMPTS = Metric("clarion_attempts_total", "Provider answers.", ("channel", "provider", "outcome"))
PROVIDER_CALL = Metric(
    "clarion_provider_call_seconds",
    "Hand-over to a provider to its answer.",
    ("channel", "provider"),
    _FAST,
    exemplars=True,
)
RETRIES = Metric(
    "clarion_retries_total",
    "Attempts that are repeated, by what the last one came to.",
    ("channel", "provider", "outcome"),
)
DEAD_ADDRESSES = Metric(
    "clarion_dead_addresses_total",
    "Addresses that a provider called dead, or whose owner opted out there.",
    ("channel", "provider", "fate"),
)
TERMINAL = Metric("clarion_terminal_total", "Deliveries that reached a terminal state.", ("channel", "state"))
TERMINAL_BY_APP = Metric(
    "clarion_app_terminal_total", "Deliveries that reached a terminal state, by app.", ("app", "channel", "state")
)
DELIVERY_AGE = Metric(
    "clarion_delivery_age_seconds",
    "Accepted to taken by a provider.",
    ("channel", "priority"),
    _SLOW,
    exemplars=True,
)
DISPATCH_AGE = Metric(
    "clarion_dispatch_age_seconds",
    "Planned to taken by a provider, of what did not rest by intention.",
    ("channel", "priority"),
    _SLOW,
    exemplars=True,
)
LANE_IN_FLIGHT = Metric("clarion_lane_in_flight", "Messages open with a provider.", ("channel", "provider"))
LANE_LIMIT = Metric("clarion_lane_in_flight_limit", "Messages that may be open now.", ("channel", "provider"))
LANE_STOPPED = Metric("clarion_lane_stopped", "Accounts that take no work.", ("channel", "provider"))
PACING_LOCAL = Metric("clarion_pacing_unchecked_total", "Messages paced without the rate limiter.", ("channel",))
UNKNOWN_CODES = Metric("clarion_unknown_codes_total", "Provider codes missing from the tables.", ("provider",))
QUEUE_DEPTH = Metric("clarion_queue_depth", "Messages waiting on the bus.", ("lane",))
QUEUE_PENDING = Metric("clarion_queue_ack_pending", "Messages taken and not settled.", ("lane",))
QUEUE_AGE = Metric("clarion_queue_oldest_seconds", "Age of the oldest message on the bus.", ("lane",))
BACKLOG = Metric("clarion_backlog_rows", "Rows that rest in the ledger.", ("stage", "state"))
BACKLOG_AGE = Metric("clarion_backlog_oldest_seconds", "Age of the oldest row that is in flight.", ("stage", "state"))
OUTBOX_AGE = Metric("clarion_outbox_oldest_seconds", "Age of the oldest row that is committed and not published.")
APP_BACKLOG = Metric("clarion_app_backlog_rows", "Rows that rest in the ledger, by app.", ("app",))
APP_BACKLOG_AGE = Metric("clarion_app_backlog_oldest_seconds", "Age of the oldest of them.", ("app",))
ACCOUNT_STATE = Metric(
    "clarion_account_state",
    "1: how a provider account stands: works, or why it takes no work.",
    ("app", "account", "channel", "provider", "state"),
)
ACCOUNT_ANSWERS = Metric(
    "clarion_account_recent_answers",
    "Answers that the monitor looked at last, by what they were: good, failed, dead.",
    ("app", "account", "answer"),
)
LANE_QUALITY = Metric(
    "clarion_lane_quality_ratio", "Share of its weight that an SMS account keeps.", ("app", "account", "country")
)
INVARIANT = Metric("clarion_ledger_unaccounted", "What the audit finds.", ("check",))
DEAD_LETTERS = Metric("clarion_dead_letters", "Dead letters not redriven.", ("channel",))
SCHEDULER_MOVED = Metric("clarion_scheduler_moved_total", "Rows moved by a scheduler job.", ("job",))
BROADCAST_CHILDREN = Metric("clarion_broadcast_children_total", "Recipients of broadcasts planned.")
SCHEDULER_LATENESS = Metric("clarion_scheduler_lateness_seconds", "Due to moved.", ("job",), _SLOW)
LIMITER_DECISIONS = Metric("clarion_limiter_decisions_total", "Grants and refusals.", ("verdict",))
LIMITER_FALLBACK = Metric("clarion_limiter_fallback_total", "Decisions made without Valkey.")
RENDERED = Metric("clarion_rendered_total", "Rendered contents.", ("channel", "result"))
RENDER_DURATION = Metric("clarion_render_item_seconds", "Time to render one item, all its channels.", (), _TINY)
HTTP_DURATION = Metric(
    "http_server_request_duration_seconds",
    "Duration of answered HTTP requests.",
    ("http_request_method", "http_route", "http_response_status_code"),
    _FAST,
)
TRACKED = Metric("clarion_tracked_total", "Receipts, opens and clicks.", ("kind", "result"))
ROLLED = Metric("clarion_stats_events_total", "Events counted into statistics.")
ROLLUP_LAG = Metric(
    "clarion_stats_lag_seconds", "Age of what statistics are complete up to; 0 where another tracker counts."
)
EXPORT_DROPPED = Metric("clarion_spans_dropped_total", "Spans that no collector took.", ("cause",))
STUCK = Metric("clarion_ledger_stuck_rows", "Rows in flight that are overdue by minutes.", ("app", "stage"))
LAST_LOOK = Metric("clarion_monitor_last_look_timestamp_seconds", "When a source was last read whole.", ("source",))
INCIDENTS = Metric("clarion_incidents_open", "Incidents that are not over.", ("kind",))
ALERTS_TOLD = Metric(
    "clarion_alerts_told_total", "Messages about incidents, told or refused.", ("sink", "message", "result")
)
CONSUMERS_HEALED = Metric("clarion_consumers_healed_total", "Consumers resumed or made anew.", ("lane", "fault"))
SMS_BUDGET_USED = Metric("clarion_sms_budget_used_segments", "Segments used in the period.", ("app", "budget"))
SMS_BUDGET_REMAINING = Metric("clarion_sms_budget_remaining_segments", "Segments left.", ("app", "budget"))
SMS_BUDGET_NEAR = Metric("clarion_sms_budget_near_limit", "1: its near-limit share is reached.", ("app", "budget"))
SMS_BUDGET_VERDICTS = Metric("clarion_sms_budget_verdicts_total", "Segments by what budgets said.", ("verdict",))
CAP_VERDICTS = Metric("clarion_cap_verdicts_total", "Deliveries by what their caps said.", ("verdict",))
SMS_BURSTS = Metric("clarion_sms_bursts_total", "Bursts of SMS to numbers of one prefix.")
FEED_STREAMS = Metric("clarion_feed_streams", "Open streams of state changes.")
FEED_LOOKED = Metric(
    "clarion_feed_looked_timestamp_seconds",
    "When the feed of events was last read to its end; only while it is followed.",
)
WEBHOOK_POSTS = Metric("clarion_webhook_posts_total", "Posts to webhooks, by what became of them.", ("result",))
WEBHOOK_CHANGES = Metric("clarion_webhook_changes_total", "State changes that webhooks took.")
WEBHOOK_GAPS = Metric("clarion_webhook_gaps_total", "Webhooks found behind what is still kept: changes were lost.")
WEBHOOKS_HELD = Metric("clarion_webhooks_held", "Webhooks that this tracker posts to.")
WEBHOOKS_FAILING = Metric("clarion_webhooks_failing", "Webhooks of this tracker whose last try failed.")
WEBHOOKS_DISABLED = Metric(
    "clarion_webhooks_disabled", "Webhooks that were switched off, all apps together.", ("reason",)
)
