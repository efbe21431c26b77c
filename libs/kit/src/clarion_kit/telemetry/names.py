"""The registry of telemetry names: metrics, span attributes. Nothing is recorded under a name that is not here.

Attributes have low cardinality; OpenTelemetry's own names are used where they exist (semantic conventions 1.45).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


class Attr:
    """Span attributes of our own."""

    CHANNEL: Final = "clarion.channel"
    PRIORITY: Final = "clarion.priority"
    PROVIDER: Final = "clarion.provider"
    OUTCOME: Final = "clarion.outcome"
    NOTIFICATION_ID: Final = "clarion.notification.id"
    DELIVERY_ID: Final = "clarion.delivery.id"
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


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: Prometheus name, help text, label names; buckets make it a histogram of seconds."""

    name: str
    help: str
    labels: Sequence[str] = ()
    buckets: Sequence[float] = ()


_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)

RPC_DURATION = Metric(
    "rpc_server_call_duration_seconds", "Duration of answered calls.", ("rpc_method", "rpc_response_status_code"), _FAST
)
RPC_IN_FLIGHT = Metric("clarion_rpc_in_flight", "Calls being answered.")
BUS_PUBLISHED = Metric("messaging_client_sent_messages_total", "Messages the bus confirmed.", ("lane",))
BUS_PUBLISH_FAILED = Metric("clarion_bus_publish_failed_total", "Messages the bus did not confirm in time.", ("lane",))
BUS_CONSUMED = Metric("messaging_client_consumed_messages_total", "Messages taken from the bus.", ("lane",))
BUS_PROCESS = Metric("messaging_process_duration_seconds", "Time to settle a batch of messages.", ("lane",), _FAST)
ACCEPTED = Metric("clarion_accepted_total", "Notifications accepted, duplicates excluded.", ("priority",))
ACCEPT_BATCH = Metric("clarion_accept_commit_seconds", "Duration of a grouped accept.", (), _FAST)
PLANNED = Metric("clarion_planned_total", "Deliveries planned.", ("channel", "state"))
PLAN_AGE = Metric("clarion_plan_age_seconds", "Accepted to planned.", ("priority",), _SLOW)
ATTEMPTS = Metric("clarion_attempts_total", "Provider answers.", ("channel", "provider", "outcome"))
TERMINAL = Metric("clarion_terminal_total", "Deliveries that reached a terminal state.", ("channel", "state"))
DELIVERY_AGE = Metric(
    "clarion_delivery_age_seconds", "Accepted to taken by a provider.", ("channel", "priority"), _SLOW
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
INVARIANT = Metric("clarion_ledger_unaccounted", "What the audit finds.", ("check",))
DEAD_LETTERS = Metric("clarion_dead_letters", "Dead letters not redriven.", ("channel",))
SCHEDULER_MOVED = Metric("clarion_scheduler_moved_total", "Rows moved by a scheduler job.", ("job",))
BROADCAST_CHILDREN = Metric("clarion_broadcast_children_total", "Recipients of broadcasts planned.")
SCHEDULER_LATENESS = Metric("clarion_scheduler_lateness_seconds", "Due to moved.", ("job",), _SLOW)
LIMITER_DECISIONS = Metric("clarion_limiter_decisions_total", "Grants and refusals.", ("verdict",))
LIMITER_FALLBACK = Metric("clarion_limiter_fallback_total", "Decisions made without Valkey.")
RENDERED = Metric("clarion_rendered_total", "Rendered contents.", ("channel", "result"))
TRACKED = Metric("clarion_tracked_total", "Receipts, opens and clicks.", ("kind", "result"))
EXPORT_DROPPED = Metric("clarion_spans_dropped_total", "Spans that could not be queued for export.")
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
