"""The dashboards of the chart; `python -m tests.helm dashboards` writes them to `helm/clarion/files/dashboards`."""

import json
from pathlib import Path

from .charts import CHART
from .grafana import Dashboard, Panel, Query, Row, Variable

FOLDER = CHART / "files" / "dashboards"
NS = 'namespace="$namespace"'
RATE = "$__rate_interval"
TROUBLED = 'state!~"works|disabled"'
URGENT = 'lane=~".+-urgent"'
SEND = 'rpc_method=~"/clarion.notification.v1.NotificationService/Send.*"'


def _rate(series: str, labels: str = "", by: str = "") -> str:
    """What happens a second, summed."""
    return f"sum{f' by ({by})' if by else ''} (rate({series}{{{_with(labels)}}}[{RATE}]))"


def _now(series: str, by: str, labels: str = "") -> str:
    """A gauge that several replicas may show: the highest."""
    return f"max by ({by}) ({series}{{{_with(labels)}}})"


def _quantiles(series: str, by: str, labels: str = "") -> list[Query]:
    """Median and 99th percentile of a histogram."""
    inner = f"sum by (le{', ' + by if by else ''}) (rate({series}_bucket{{{_with(labels)}}}[{RATE}]))"
    name = f"{{{{{by}}}}} " if by else ""
    return [(f"histogram_quantile({share}, {inner})", f"{name}p{round(100 * share)}") for share in (0.5, 0.99)]


def _stat(title: str, expression: str, *, unit: str = "short", bad_from: float | None = None, about: str = "") -> Panel:
    return Panel(title, [(expression, "")], unit, "stat", about, width=4, height=4, bad_from=bad_from)


def _with(labels: str) -> str:
    return f"{NS},{labels}" if labels else NS


def _burn(name: str, by: str = "", legend: str = "faults") -> Query:
    expression = f"clarion:{name}:ratio_rate1h{{{NS}}}"
    return (f"max by ({by}) ({expression})" if by else f"max({expression})"), legend


OVERVIEW = Dashboard(
    "overview",
    "Clarion: overview",
    "Is it well, how much comes, how long does it take, what waits.",
    [
        Row(
            "Now",
            [
                _stat(
                    "Contradictions in the ledger", f"sum({_now('clarion_ledger_unaccounted', 'check')})", bad_from=1
                ),
                _stat("Incidents open", f"sum({_now('clarion_incidents_open', 'kind')})", bad_from=1),
                _stat("Dead letters", f"sum({_now('clarion_dead_letters', 'channel')})", about="Not redriven."),
                _stat(
                    "Accounts that take no work",
                    f"count({_now('clarion_account_state', 'app, account', TROUBLED)}) or vector(0)",
                    bad_from=1,
                ),
                _stat(
                    "Oldest urgent message",
                    f"max({_now('clarion_queue_oldest_seconds', 'lane', URGENT)})",
                    unit="s",
                    bad_from=10,
                ),
                _stat("Daemons that answer", f'count(up{{{NS},app_kubernetes_io_component!=""}} == 1)'),
            ],
        ),
        Row(
            "Promises, the last hour",
            [
                Panel("Send calls that fail", [_burn("accept_errors")], "percentunit", width=6, bad_from=0.001),
                Panel("Sends over 250 ms", [_burn("accept_slow")], "percentunit", width=6, bad_from=0.01),
                Panel(
                    "Deliveries late for their priority",
                    [_burn("deliver_slow", "priority", "{{priority}}")],
                    "percentunit",
                    width=6,
                    bad_from=0.01,
                ),
                Panel("Deliveries dead or expired", [_burn("deliver_lost")], "percentunit", width=6, bad_from=0.005),
            ],
        ),
        Row(
            "Flow",
            [
                Panel(
                    "Accepted, planned, ended",
                    [
                        (_rate("clarion_accepted_total"), "accepted"),
                        (_rate("clarion_planned_total"), "planned"),
                        (_rate("clarion_terminal_total", by="state"), "{{state}}"),
                    ],
                    "cps",
                ),
                Panel(
                    "Answers of providers",
                    [(_rate("clarion_attempts_total", by="provider, outcome"), "{{provider}} {{outcome}}")],
                    "cps",
                ),
                Panel(
                    "Recipients of broadcasts planned",
                    [(_rate("clarion_broadcast_children_total"), "recipients")],
                    "cps",
                ),
                Panel(
                    "What came back",
                    [(_rate("clarion_tracked_total", by="kind, result"), "{{kind}} {{result}}")],
                    "cps",
                ),
            ],
        ),
        Row(
            "Latency",
            [
                Panel(
                    "Send",
                    _quantiles("rpc_server_call_duration_seconds", "rpc_method", SEND),
                    "s",
                    exemplars=True,
                ),
                Panel(
                    "Accepted to taken by a provider",
                    _quantiles("clarion_delivery_age_seconds", "priority"),
                    "s",
                    description="What was scheduled or deferred counts its rest.",
                    exemplars=True,
                ),
                Panel("Accepted to planned", _quantiles("clarion_plan_age_seconds", "priority"), "s", exemplars=True),
                Panel("Rendering an item", _quantiles("clarion_render_item_seconds", ""), "s"),
            ],
        ),
        Row(
            "What waits",
            [
                Panel("Oldest message by lane", [(_now("clarion_queue_oldest_seconds", "lane"), "{{lane}}")], "s"),
                Panel("Messages waiting by lane", [(_now("clarion_queue_depth", "lane"), "{{lane}}")]),
                Panel("Messages taken and not settled", [(_now("clarion_queue_ack_pending", "lane"), "{{lane}}")]),
                Panel("Committed and not published", [(f"max(clarion_outbox_oldest_seconds{{{NS}}})", "oldest")], "s"),
            ],
        ),
        Row(
            "Limits",
            [
                Panel(
                    "Caps and quotas",
                    [
                        (_rate("clarion_limiter_decisions_total", by="verdict"), "{{verdict}}"),
                        (_rate("clarion_limiter_fallback_total"), "without Valkey"),
                        (_rate("clarion_pacing_unchecked_total", by="channel"), "{{channel}} paced alone"),
                    ],
                    "cps",
                ),
                Panel(
                    "Caps of recipients, budgets of SMS",
                    [
                        (_rate("clarion_cap_verdicts_total", by="verdict"), "caps: {{verdict}}"),
                        (_rate("clarion_sms_budget_verdicts_total", by="verdict"), "segments: {{verdict}}"),
                        (_rate("clarion_sms_bursts_total"), "bursts to one prefix"),
                    ],
                    "cps",
                ),
            ],
        ),
        Row(
            "Tracker",
            [
                Panel(
                    "Requests by route",
                    [
                        (
                            _rate(
                                "http_server_request_duration_seconds_count", by="http_route, http_response_status_code"
                            ),
                            "{{http_route}} {{http_response_status_code}}",
                        )
                    ],
                    "reqps",
                ),
                Panel("Duration of requests", _quantiles("http_server_request_duration_seconds", "http_route"), "s"),
            ],
        ),
        Row(
            "State changes for apps",
            [
                Panel(
                    "Posts to webhooks",
                    [
                        (_rate("clarion_webhook_posts_total", by="result"), "{{result}}"),
                        (_rate("clarion_webhook_changes_total"), "changes taken"),
                    ],
                    "cps",
                ),
                Panel(
                    "Webhooks",
                    [
                        (f"sum(clarion_webhooks_held{{{NS}}})", "held"),
                        (f"sum(clarion_webhooks_failing{{{NS}}})", "failing"),
                        (_now("clarion_webhooks_disabled", "reason"), "switched off: {{reason}}"),
                        (f"sum(increase(clarion_webhook_gaps_total{{{NS}}}[1h]))", "gaps in an hour"),
                    ],
                ),
                Panel("Open streams", [(f"sum(clarion_feed_streams{{{NS}}})", "streams")]),
                Panel(
                    "Since the feed was read to its end",
                    [(f"time() - min by (pod) (clarion_feed_looked_timestamp_seconds{{{NS}}})", "{{pod}}")],
                    "s",
                ),
            ],
        ),
        Row(
            "Daemons",
            [
                Panel(
                    "CPU",
                    [
                        (
                            _rate("process_cpu_seconds_total", by="app_kubernetes_io_component"),
                            "{{app_kubernetes_io_component}}",
                        )
                    ],
                    "percentunit",
                ),
                Panel(
                    "Memory, the largest pod",
                    [
                        (
                            _now("process_resident_memory_bytes", "app_kubernetes_io_component"),
                            "{{app_kubernetes_io_component}}",
                        )
                    ],
                    "bytes",
                ),
                Panel("Calls being answered", [(_now("clarion_rpc_in_flight", "pod"), "{{pod}}")]),
                Panel(
                    "Messages of the bus, spans dropped",
                    [
                        (_rate("messaging_client_sent_messages_total"), "published"),
                        (_rate("messaging_client_consumed_messages_total"), "consumed"),
                        (_rate("clarion_bus_publish_failed_total"), "not confirmed"),
                        (_rate("clarion_spans_dropped_total", by="cause"), "spans dropped: {{cause}}"),
                    ],
                    "cps",
                ),
            ],
        ),
    ],
)

CHANNEL_IS = 'channel="$channel"'
CHANNEL = Dashboard(
    "channel",
    "Clarion: one channel",
    "What its providers answer, how long they take, what waits for them, how its accounts stand.",
    [
        Row(
            "What becomes of deliveries",
            [
                Panel("Ended", [(_rate("clarion_terminal_total", CHANNEL_IS, "state"), "{{state}}")], "cps"),
                Panel("Planned", [(_rate("clarion_planned_total", CHANNEL_IS, "state"), "{{state}}")], "cps"),
                Panel(
                    "Answers",
                    [(_rate("clarion_attempts_total", CHANNEL_IS, "provider, outcome"), "{{provider}} {{outcome}}")],
                    "cps",
                ),
                Panel(
                    "Repeated attempts",
                    [
                        (
                            _rate("clarion_retries_total", CHANNEL_IS, "provider, outcome"),
                            "{{provider}} after {{outcome}}",
                        )
                    ],
                    "cps",
                ),
            ],
        ),
        Row(
            "Latency",
            [
                Panel(
                    "Accepted to taken by a provider",
                    _quantiles("clarion_delivery_age_seconds", "priority", CHANNEL_IS),
                    "s",
                    exemplars=True,
                ),
                Panel(
                    "Planned to taken by a provider, without intended rest",
                    _quantiles("clarion_dispatch_age_seconds", "priority", CHANNEL_IS),
                    "s",
                    exemplars=True,
                ),
                Panel(
                    "Answer of the provider",
                    _quantiles("clarion_provider_call_seconds", "provider", CHANNEL_IS),
                    "s",
                    exemplars=True,
                ),
                Panel(
                    "Open with providers, and the limit",
                    [
                        (f"sum by (provider) (clarion_lane_in_flight{{{_with(CHANNEL_IS)}}})", "{{provider}}"),
                        (
                            f"sum by (provider) (clarion_lane_in_flight_limit{{{_with(CHANNEL_IS)}}})",
                            "{{provider}} limit",
                        ),
                    ],
                ),
            ],
        ),
        Row(
            "What waits",
            [
                Panel(
                    "Oldest message",
                    [(_now("clarion_queue_oldest_seconds", "lane", 'lane=~".+-$channel-.+"'), "{{lane}}")],
                    "s",
                ),
                Panel(
                    "Messages waiting", [(_now("clarion_queue_depth", "lane", 'lane=~".+-$channel-.+"'), "{{lane}}")]
                ),
            ],
        ),
        Row(
            "Addresses and codes",
            [
                Panel(
                    "Addresses that died or opted out",
                    [(_rate("clarion_dead_addresses_total", CHANNEL_IS, "provider, fate"), "{{provider}} {{fate}}")],
                    "cps",
                ),
                Panel(
                    "Codes that no table lists, any channel",
                    [(f"sum by (provider) (increase(clarion_unknown_codes_total{{{NS}}}[1h]))", "{{provider}}")],
                ),
                Panel(
                    "Dead letters, not redriven", [(_now("clarion_dead_letters", "channel", CHANNEL_IS), "{{channel}}")]
                ),
                Panel(
                    "Contents rendered", [(_rate("clarion_rendered_total", CHANNEL_IS, "result"), "{{result}}")], "cps"
                ),
            ],
        ),
        Row(
            "Accounts",
            [
                Panel(
                    "How they stand",
                    [(_now("clarion_account_state", "app, account, provider, state", CHANNEL_IS), "")],
                    kind="table",
                ),
                Panel(
                    "Take no work",
                    [(f"max by (provider) (clarion_lane_stopped{{{_with(CHANNEL_IS)}}})", "{{provider}}")],
                ),
            ],
        ),
    ],
    [Variable("channel", "clarion_terminal_total", "channel")],
)

APP_IS = 'app="$app"'
APP = Dashboard(
    "app",
    "Clarion: one app",
    "What an app sends, what becomes of it, how its accounts and budgets stand.",
    [
        Row(
            "Flow",
            [
                Panel("Accepted", [(_rate("clarion_app_accepted_total", APP_IS), "accepted")], "cps"),
                Panel(
                    "Ended",
                    [(_rate("clarion_app_terminal_total", APP_IS, "channel, state"), "{{channel}} {{state}}")],
                    "cps",
                ),
            ],
        ),
        Row(
            "What waits",
            [
                Panel("Rows in flight", [(_now("clarion_app_backlog_rows", "app", APP_IS), "{{app}}")]),
                Panel("Oldest of them", [(_now("clarion_app_backlog_oldest_seconds", "app", APP_IS), "{{app}}")], "s"),
                Panel(
                    "Overdue by minutes",
                    [(_now("clarion_ledger_stuck_rows", "stage", APP_IS), "{{stage}}")],
                    bad_from=1,
                ),
            ],
        ),
        Row(
            "Accounts",
            [
                Panel(
                    "How they stand",
                    [(_now("clarion_account_state", "account, channel, provider, state", APP_IS), "")],
                    kind="table",
                ),
                Panel(
                    "Their latest answers",
                    [(_now("clarion_account_recent_answers", "account, answer", APP_IS), "{{account}} {{answer}}")],
                ),
                Panel(
                    "Weight that SMS accounts keep by how they deliver",
                    [
                        (
                            f"min by (account, country) (clarion_lane_quality_ratio{{{_with(APP_IS)}}})",
                            "{{account}} {{country}}",
                        )
                    ],
                    "percentunit",
                ),
            ],
        ),
        Row(
            "SMS budgets",
            [
                Panel("Segments used", [(_now("clarion_sms_budget_used_segments", "budget", APP_IS), "{{budget}}")]),
                Panel(
                    "Segments left", [(_now("clarion_sms_budget_remaining_segments", "budget", APP_IS), "{{budget}}")]
                ),
                Panel(
                    "Near the limit",
                    [(_now("clarion_sms_budget_near_limit", "budget", APP_IS), "{{budget}}")],
                    bad_from=1,
                ),
            ],
        ),
    ],
    [Variable("app", "clarion_app_accepted_total", "app")],
)

LEDGER = Dashboard(
    "ledger",
    "Clarion: ledger",
    "Do the accounts agree, does what rests move, is anybody looking.",
    [
        Row(
            "Audit",
            [
                Panel("Contradictions", [(_now("clarion_ledger_unaccounted", "check"), "{{check}}")], bad_from=1),
                Panel(
                    "Rows overdue by minutes",
                    [(_now("clarion_ledger_stuck_rows", "app, stage"), "{{app}} {{stage}}")],
                    bad_from=1,
                ),
                Panel(
                    "Since the monitor's last look",
                    [(f"time() - {_now('clarion_monitor_last_look_timestamp_seconds', 'source')}", "{{source}}")],
                    "s",
                    bad_from=120,
                ),
                Panel("Dead letters, not redriven", [(_now("clarion_dead_letters", "channel"), "{{channel}}")]),
            ],
        ),
        Row(
            "What rests",
            [
                Panel("Rows", [(_now("clarion_backlog_rows", "stage, state"), "{{stage}} {{state}}")]),
                Panel(
                    "Oldest row", [(_now("clarion_backlog_oldest_seconds", "stage, state"), "{{stage}} {{state}}")], "s"
                ),
                Panel("Committed and not published", [(f"max(clarion_outbox_oldest_seconds{{{NS}}})", "oldest")], "s"),
                Panel("Statistics are behind", [(f"max(clarion_stats_lag_seconds{{{NS}}})", "lag")], "s"),
                Panel("Events counted", [(_rate("clarion_stats_events_total"), "events")], "cps"),
                Panel("Largest apps", [(f"topk(5, {_now('clarion_app_backlog_rows', 'app')})", "{{app}}")]),
            ],
        ),
        Row(
            "Writing",
            [
                Panel("Duration of a grouped accept", _quantiles("clarion_accept_commit_seconds", ""), "s"),
                Panel(
                    "Notifications in a commit",
                    [(f"{_rate('clarion_accepted_total')} / {_rate('clarion_accept_commit_seconds_count')}", "mean")],
                ),
                Panel("Settling a batch of the bus", _quantiles("messaging_process_duration_seconds", "lane"), "s"),
            ],
        ),
        Row(
            "Scheduler",
            [
                Panel(
                    "Rows moved",
                    [(_rate("clarion_scheduler_moved_total", by="exported_job"), "{{exported_job}}")],
                    "cps",
                ),
                Panel("Lateness of due work", _quantiles("clarion_scheduler_lateness_seconds", "exported_job"), "s"),
            ],
        ),
        Row(
            "Incidents",
            [
                Panel("Open", [(_now("clarion_incidents_open", "kind"), "{{kind}}")]),
                Panel(
                    "Messages about them",
                    [
                        (
                            f"sum by (sink, message, result) (increase(clarion_alerts_told_total{{{NS}}}[1h]))",
                            "{{sink}} {{message}} {{result}}",
                        )
                    ],
                ),
                Panel(
                    "Consumers healed",
                    [
                        (
                            f"sum by (lane, fault) (increase(clarion_consumers_healed_total{{{NS}}}[1h]))",
                            "{{lane}} {{fault}}",
                        )
                    ],
                ),
            ],
        ),
    ],
)

ALL = (OVERVIEW, CHANNEL, APP, LEDGER)


def text_of(dashboard: Dashboard) -> str:
    return json.dumps(dashboard.to_json(), indent=1) + "\n"


def path_of(dashboard: Dashboard) -> Path:
    return FOLDER / f"{dashboard.name}.json"


def write() -> None:
    """Replace what lies in the chart."""
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for dashboard in ALL:
        path_of(dashboard).write_text(text_of(dashboard))
