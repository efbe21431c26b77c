"""For each alert a course of things on which it fires and one on which it stays silent, as promtool plays them.

Values are in promtool's notation, one a minute: `0+60x30` begins at 0 and grows by 60 thirty times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SEND = "/clarion.notification.v1.NotificationService/Send"


@dataclass(frozen=True, slots=True)
class Case:
    """`fires`: labels of each alert that is firing `after` so many minutes, beside its severity; none: it is silent."""

    alert: str
    series: Mapping[str, str]
    after: int = 10
    fires: tuple[Mapping[str, str], ...] = field(default=())


def _up(component: str, values: str) -> dict[str, str]:
    return {f'up{{app_kubernetes_io_component="{component}",pod="{component}-0"}}': values}


def _calls(errors: int, good: int, minutes: int, code: str = "UNAVAILABLE") -> dict[str, str]:
    """Sends a minute, by what came of them."""
    name = f'rpc_server_call_duration_seconds_count{{rpc_method="{SEND}",rpc_response_status_code='
    return {f'{name}"{code}"}}': f"0+{errors}x{minutes}", f'{name}"OK"}}': f"0+{good}x{minutes}"}


def _sends(quick: int, all_: int, minutes: int) -> dict[str, str]:
    """Sends a minute that took at most 250 ms, of all."""
    name, method = "rpc_server_call_duration_seconds", f'rpc_method="{SEND}"'
    return {
        f'{name}_bucket{{{method},le="0.25"}}': f"0+{quick}x{minutes}",
        f"{name}_count{{{method}}}": f"0+{all_}x{minutes}",
    }


def _deliveries(priority: str, bound: str, early: int, all_: int, minutes: int) -> dict[str, str]:
    """Deliveries a minute that reached their provider within the bound, of all."""
    name, labels = "clarion_dispatch_age_seconds", f'channel="sms",priority="{priority}"'
    return {
        f'{name}_bucket{{{labels},le="{bound}"}}': f"0+{early}x{minutes}",
        f"{name}_count{{{labels}}}": f"0+{all_}x{minutes}",
    }


def _ended(minutes: int, **states: int) -> dict[str, str]:
    """Deliveries a minute by state."""
    return {
        f'clarion_terminal_total{{channel="sms",state="{state}"}}': f"0+{count}x{minutes}"
        for state, count in states.items()
    }


def _attempts(minutes: int, **outcomes: int) -> dict[str, str]:
    """Answers a minute by outcome."""
    return {
        f'clarion_attempts_total{{channel="ios",provider="apns",outcome="{outcome}"}}': f"0+{count}x{minutes}"
        for outcome, count in outcomes.items()
    }


def _dead(minutes: int, count: int) -> dict[str, str]:
    name = 'clarion_dead_addresses_total{channel="ios",provider="apns",fate="dead"}'
    return {name: f"0+{count}x{minutes}"}


def _requests(minutes: int, **statuses: int) -> dict[str, str]:
    """Requests a minute by status."""
    name = 'http_server_request_duration_seconds_count{http_request_method="GET",http_route="/c/{token}"'
    return {
        f'{name},http_response_status_code="{status[1:]}"}}': f"0+{count}x{minutes}"
        for status, count in statuses.items()
    }


def _late(within: int, all_: int, minutes: int) -> dict[str, str]:
    """Rows a minute that a scheduler job moved within five seconds, of all."""
    name = 'clarion_scheduler_lateness_seconds_bucket{exported_job="retries",le='
    return {
        f'{name}"5.0"}}': f"0+{within}x{minutes}",
        f'{name}"15.0"}}': f"0+{all_}x{minutes}",
        f'{name}"+Inf"}}': f"0+{all_}x{minutes}",
    }


SIX_HOURS = 400
RECORDED = {"namespace": "clarion"}
"""What recorded ratios keep."""
APNS = {"channel": "ios", "provider": "apns"}

CASES = (
    Case("ClarionGatewayGone", _up("gateway", "0x10"), 5, ({},)),
    Case("ClarionGatewayGone", _up("gateway", "1x10"), 5),
    Case("ClarionDaemonGone", _up("planner", "1x2 0x20"), 10, ({"app_kubernetes_io_component": "planner"},)),
    Case("ClarionDaemonGone", _up("planner", "1x2 0x3 1x20"), 10),
    Case("ClarionTrackerErrors", _requests(20, _500=10, _200=90), 15, ({"http_route": "/c/{token}"},)),
    Case("ClarionTrackerErrors", _requests(20, _500=4, _404=50, _200=96), 15),
    Case("ClarionAcceptErrorsBurnFast", _calls(2, 98, 90), 70, (RECORDED,)),
    Case("ClarionAcceptErrorsBurnFast", _calls(1, 999, 90), 70),
    Case("ClarionAcceptErrorsBurnSlow", _calls(1, 99, SIX_HOURS), 380, (RECORDED,)),
    Case("ClarionAcceptErrorsBurnSlow", _calls(50, 50, SIX_HOURS, code="INVALID_ARGUMENT"), 380),
    Case("ClarionAcceptLatencyBurnFast", _sends(80, 100, 90), 70, (RECORDED,)),
    Case("ClarionAcceptLatencyBurnFast", _sends(99, 100, 90), 70),
    Case("ClarionAcceptLatencyBurnSlow", _sends(90, 100, SIX_HOURS), 380, (RECORDED,)),
    Case("ClarionAcceptLatencyBurnSlow", _sends(95, 100, SIX_HOURS), 380),
    Case(
        "ClarionDeliverLatencyBurnFast",
        {**_deliveries("urgent", "5.0", 80, 100, 90), **_deliveries("bulk", "3600.0", 100, 100, 90)},
        70,
        ({"priority": "urgent", **RECORDED},),
    ),
    Case("ClarionDeliverLatencyBurnFast", _deliveries("normal", "60.0", 99, 100, 90), 70),
    Case(
        "ClarionDeliverLatencyBurnSlow",
        _deliveries("normal", "60.0", 90, 100, SIX_HOURS),
        380,
        ({"priority": "normal", **RECORDED},),
    ),
    Case("ClarionDeliverLatencyBurnSlow", _deliveries("urgent", "5.0", 95, 100, SIX_HOURS), 380),
    Case("ClarionDeliverLossBurnFast", _ended(90, sent=90, dead_lettered=6, expired=4), 70, (RECORDED,)),
    Case("ClarionDeliverLossBurnFast", _ended(90, sent=90, failed=40, expired=1), 70),
    Case("ClarionDeliverLossBurnSlow", _ended(SIX_HOURS, sent=96, expired=4), 380, (RECORDED,)),
    Case("ClarionDeliverLossBurnSlow", _ended(SIX_HOURS, sent=98, expired=2), 380),
    Case(
        "ClarionUrgentQueueAge",
        {'clarion_queue_oldest_seconds{lane="dispatch-sms-urgent"}': "0+11x10"},
        5,
        ({"lane": "dispatch-sms-urgent"},),
    ),
    Case("ClarionUrgentQueueAge", {'clarion_queue_oldest_seconds{lane="dispatch-sms-bulk"}': "0+11x10"}, 5),
    Case(
        "ClarionQueueAge",
        {'clarion_queue_oldest_seconds{lane="dispatch-sms-bulk"}': "0+60x20"},
        10,
        ({"lane": "dispatch-sms-bulk"},),
    ),
    Case("ClarionQueueAge", {'clarion_queue_oldest_seconds{lane="dispatch-sms-bulk"}': "59x20"}),
    Case(
        "ClarionBacklogAge",
        {'clarion_backlog_oldest_seconds{stage="plan",state="ready"}': "0+60x20"},
        15,
        ({"stage": "plan", "state": "ready"},),
    ),
    Case("ClarionBacklogAge", {'clarion_backlog_oldest_seconds{stage="dispatch",state="retry_wait"}': "0+60x20"}, 15),
    Case("ClarionSchedulerLate", _late(50, 100, 30), 20, ({"exported_job": "retries"},)),
    Case("ClarionSchedulerLate", _late(100, 100, 30), 20),
    Case("ClarionLaneStopped", {'clarion_lane_stopped{channel="ios",provider="apns"}': "1x20"}, 15, (APNS,)),
    Case("ClarionLaneStopped", {'clarion_lane_stopped{channel="ios",provider="apns"}': "1x5 0x20"}, 15),
    Case("ClarionDeliveriesFail", _ended(40, sent=70, failed=20, dead_lettered=10), 30, ({"channel": "sms"},)),
    Case("ClarionDeliveriesFail", _ended(40, sent=90, failed=10), 30),
    Case("ClarionDeadLetters", _ended(20, sent=90, dead_lettered=1), 10, ({"channel": "sms"},)),
    Case("ClarionDeadLetters", _ended(20, sent=90, dead_lettered=0), 10),
    Case("ClarionProviderErrors", _attempts(20, accepted=4, retry=3, unknown=3), 15, (APNS,)),
    Case("ClarionProviderErrors", _attempts(20, accepted=6, retry=2, bad=10), 15),
    Case("ClarionTokenDeaths", {**_attempts(20, accepted=70, dead=30), **_dead(20, 30)}, 15, (APNS,)),
    Case("ClarionTokenDeaths", {**_attempts(20, accepted=90, dead=10), **_dead(20, 10)}, 15),
    Case(
        "ClarionLaneQuality",
        {'clarion_lane_quality_ratio{app="shop",account="carrier",country="KR"}': "0.4x60"},
        45,
        ({"app": "shop", "account": "carrier", "country": "KR"},),
    ),
    Case("ClarionLaneQuality", {'clarion_lane_quality_ratio{app="shop",account="carrier",country="KR"}': "0.5x60"}, 45),
    Case(
        "ClarionConsumerHealed",
        {'clarion_consumers_healed_total{lane="plan-urgent",fault="paused"}': "0 0 1x20"},
        10,
        ({"lane": "plan-urgent", "fault": "paused"},),
    ),
    Case("ClarionConsumerHealed", {'clarion_consumers_healed_total{lane="plan-urgent",fault="paused"}': "1x40"}, 10),
    Case(
        "ClarionWebhooksDisabled", {'clarion_webhooks_disabled{reason="failing"}': "2x10"}, 5, ({"reason": "failing"},)
    ),
    Case("ClarionWebhooksDisabled", {'clarion_webhooks_disabled{reason="gone"}': "2x10"}, 5),
    Case("ClarionWebhookGaps", {"clarion_webhook_gaps_total": "0 0 1x20"}, 10, ({},)),
    Case("ClarionWebhookGaps", {"clarion_webhook_gaps_total": "1x20"}, 10),
    Case(
        "ClarionUnknownCodes", {'clarion_unknown_codes_total{provider="fcm"}': "0 0 2x20"}, 10, ({"provider": "fcm"},)
    ),
    Case("ClarionUnknownCodes", {'clarion_unknown_codes_total{provider="fcm"}': "2x20"}, 10),
    Case(
        "ClarionSmsBudgetNear",
        {'clarion_sms_budget_near_limit{app="shop",budget="KR"}': "1x10"},
        5,
        ({"app": "shop", "budget": "KR"},),
    ),
    Case("ClarionSmsBudgetNear", {'clarion_sms_budget_near_limit{app="shop",budget="KR"}': "0x10"}, 5),
    Case("ClarionSmsBurst", {"clarion_sms_bursts_total": "0x5 1x10"}, 10, ({},)),
    Case("ClarionSmsBurst", {"clarion_sms_bursts_total": "3x30"}, 20),
    Case(
        "ClarionLedgerContradicts",
        {'clarion_ledger_unaccounted{check="sent_without_attempt"}': "0 0 3x10"},
        5,
        ({"check": "sent_without_attempt"},),
    ),
    Case("ClarionLedgerContradicts", {'clarion_ledger_unaccounted{check="sent_without_attempt"}': "0x10"}, 5),
    Case(
        "ClarionStuck",
        {'clarion_ledger_stuck_rows{app="shop",stage="plan ready"}': "4x20"},
        15,
        ({"app": "shop", "stage": "plan ready"},),
    ),
    Case("ClarionStuck", {'clarion_ledger_stuck_rows{app="shop",stage="plan ready"}': "4x5 0x20"}, 15),
    Case(
        "ClarionMonitorBlind",
        {'clarion_monitor_last_look_timestamp_seconds{source="bus"}': "0x10"},
        5,
        ({"source": "bus"},),
    ),
    Case("ClarionMonitorBlind", {'clarion_monitor_last_look_timestamp_seconds{source="bus"}': "0+60x10"}, 5),
    Case(
        "ClarionAlertsRefused",
        {'clarion_alerts_told_total{sink="mail",message="alert",result="failed"}': "0+1x20"},
        10,
        ({"sink": "mail"},),
    ),
    Case(
        "ClarionAlertsRefused", {'clarion_alerts_told_total{sink="mail",message="alert",result="told"}': "0+1x20"}, 10
    ),
    Case("ClarionLimiterFallback", {"clarion_limiter_fallback_total": "0+60x20"}, 12, ({},)),
    Case("ClarionLimiterFallback", {"clarion_limiter_fallback_total": "60x20"}, 12),
    Case("ClarionSpansDropped", {'clarion_spans_dropped_total{cause="full"}': "0+9x20"}, 10, ({},)),
    Case("ClarionSpansDropped", {'clarion_spans_dropped_total{cause="full"}': "9x20"}, 10),
)
