"""What people and machines are told."""

import hashlib
import hmac
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clarion_kit.errors import Unavailable
from clarion_kit.telemetry.metrics import Metrics
from clarion_monitor.adapters.webhook import body_of, signature
from clarion_monitor.alerts import Alerts
from clarion_monitor.domain import Kind
from clarion_monitor.notices import Notice, Status, amount, fields, text
from clarion_monitor.ports import SinkFailed

from .monitor_samples import FakeIncidents

SINCE = datetime(2030, 1, 1, 12, tzinfo=UTC)
ALERT = Notice(
    "webhook",
    Status.ALERT,
    "failures/failures 7 503",
    "failures",
    "sms: attempts fail with 503",
    312,
    20,
    "",
    SINCE,
    app="shop",
    lane="smpp-main",
    runbook="https://wiki.example/runbook#failures",
)
OVER = replace(ALERT, status=Status.RESOLVED, resolved_at=SINCE + timedelta(minutes=7))


def test_text_names_what_since_value_limit_app_lane_and_runbook() -> None:
    assert text(ALERT).splitlines() == [
        "[alert] sms: attempts fail with 503",
        "since 2030-01-01 12:00:00 UTC",
        "value 312, limit 20, app shop, lane smpp-main",
        "https://wiki.example/runbook#failures",
    ]


def test_resolved_message_says_since_when_it_is_over() -> None:
    assert text(OVER).splitlines()[:2] == [
        "[resolved] sms: attempts fail with 503",
        "since 2030-01-01 12:00:00 UTC, over since 2030-01-01 12:07:00 UTC",
    ]
    assert fields(OVER)["resolved_at"] == "2030-01-01T12:07:00+00:00"


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(312, "", "312"), (73.24, "s", "73.2 s"), (12_345_678, "s", "12345678 s"), (0.9, "", "0.9")],
)
def test_amount_is_short_and_whole(value: float, unit: str, shown: str) -> None:
    assert amount(value, unit) == shown


def test_webhook_body_has_text_for_slack_and_fields_beside_it() -> None:
    document = json.loads(body_of(replace(ALERT, what="a <!channel> & b")))

    assert document["text"].startswith("[alert] a &lt;!channel&gt; &amp; b\n")
    assert {name: document[name] for name in ("status", "kind", "value", "limit", "app", "lane")} == {
        "status": "alert",
        "kind": "failures",
        "value": 312,
        "limit": 20,
        "app": "shop",
        "lane": "smpp-main",
    }


def test_signature_covers_the_moment_and_the_body() -> None:
    made = signature(b"secret", 1_700_000_000, b"{}")

    expected = hmac.new(b"secret", b"1700000000.{}", hashlib.sha256).hexdigest()
    assert made == f"t=1700000000,v1={expected}"


def test_every_kind_has_a_runbook_in_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()

    assert set(re.findall(r"^\| `([a-z-]+)` \|", readme, re.MULTILINE)) == set(Kind)


class Recording:
    """A sink that takes everything, or nothing."""

    def __init__(self, name: str, *, fails: bool = False) -> None:
        self.name = name
        self.fails = fails
        self.taken: list[Notice] = []

    async def tell(self, notice: Notice) -> None:
        if self.fails:
            raise SinkFailed("HTTP 500")
        self.taken.append(notice)


async def test_sink_that_fails_is_told_later_and_holds_up_no_other() -> None:
    incidents = FakeIncidents()
    incidents.due = [ALERT, replace(ALERT, sink="mail")]
    webhook, mail = Recording("webhook", fails=True), Recording("mail")

    await Alerts(incidents, [webhook, mail], "https://wiki.example/runbook", Metrics()).tell()

    assert [notice.runbook for notice in mail.taken] == ["https://wiki.example/runbook#failures"]
    assert [notice.sink for notice in incidents.told_to] == ["mail"]
    assert [notice.sink for notice in incidents.put_off_to] == ["webhook"]


async def test_round_ends_where_the_ledger_is_away() -> None:
    incidents = FakeIncidents()
    incidents.away = True

    with pytest.raises(Unavailable):
        await Alerts(incidents, [Recording("mail")], "", Metrics()).tell()
