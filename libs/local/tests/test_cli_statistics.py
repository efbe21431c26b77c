"""`clarion stats` against a gateway of the real contract, over real TLS."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Never

import grpc
import pytest

from clarion.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from clarion.notification.v1 import state_pb2
from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion.tracking.v1 import tracking_service_pb2_grpc
from clarion.types.v1 import channel_pb2
from clarion_local.authority import Authority

from .scripted_stack import clarion, scripted_stack

Context = grpc.ServicerContext


class Tracker(auth_service_pb2_grpc.AuthServiceServicer, tracking_service_pb2_grpc.TrackingServiceServicer):
    """Remembers what it was asked and answers with one row."""

    def __init__(self) -> None:
        self.asked: list[pb.StatsRequest] = []

    def IssueToken(
        self, request: auth_service_pb2.IssueTokenRequest, context: Context
    ) -> auth_service_pb2.IssueTokenResponse:
        answer = auth_service_pb2.IssueTokenResponse(token="t")
        answer.expires_at.FromSeconds(4_000_000_000)
        return answer

    def Stats(self, request: pb.StatsRequest, context: Context) -> pb.StatsResponse:
        self.asked.append(request)
        row = pb.StatsRow(
            category="orders",
            channel=channel_pb2.CHANNEL_SMS,
            counts=pb.StatsCounts(planned=2_000, sent=1_500, failed=20, suppressed=480, delivered=1_200, opened=30),
            rates=pb.StatsRates(sent=0.75, delivered=0.8, opened=0.02),
            reasons=[
                pb.StatsReason(
                    state=state_pb2.DELIVERY_STATE_SUPPRESSED, reason=state_pb2.REASON_CHANNEL_OFF, count=480
                )
            ],
        )
        row.start.FromJsonString("2026-03-01T10:00:00Z")
        answer = pb.StatsResponse(rows=[row])
        answer.as_of.FromJsonString("2026-03-01T12:00:00Z")
        return answer

    def WatchDeliveries(self, request: pb.WatchDeliveriesRequest, context: Context) -> Never:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")
        raise AssertionError


@pytest.fixture
def tracker() -> Tracker:
    return Tracker()


@pytest.fixture
def stack(tmp_path: Path, tracker: Tracker, authority: Authority) -> Iterator[Path]:
    """The folder of a local stack whose gateway is ours."""
    services = (
        partial(auth_service_pb2_grpc.add_AuthServiceServicer_to_server, tracker),
        partial(tracking_service_pb2_grpc.add_TrackingServiceServicer_to_server, tracker),
    )
    with scripted_stack(tmp_path, authority, *services) as folder:
        yield folder


def test_funnel_is_shown_with_its_rates_by_what_was_asked(stack: Path, tracker: Tracker) -> None:
    shown = clarion(
        stack, "stats", "--by", "category", "--by", "channel", "--bucket", "hour", "--reasons", "--country", "KR",
        "--channel", "sms", "--since", "7d",
    )  # fmt: skip

    [request] = tracker.asked
    assert list(request.group_by) == [pb.STATS_DIMENSION_CATEGORY, pb.STATS_DIMENSION_CHANNEL]
    assert request.bucket == pb.STATS_BUCKET_HOUR
    assert (list(request.filter.countries), list(request.filter.channels)) == (["KR"], [channel_pb2.CHANNEL_SMS])
    assert request.HasField("since")
    for text in ("2026-03-01 10:00", "orders", "sms", "1,500 (75.0%)", "1,200 (80.0%)", "500", "channel_off", "480"):
        assert text in shown.stdout.lower()


def test_without_a_group_everything_is_one_row(stack: Path) -> None:
    shown = clarion(stack, "stats")

    assert "everything" in shown.stdout
    assert "not sent" in shown.stdout
    assert "channel_off" not in shown.stdout.lower()


def test_json_is_the_contracts_own(stack: Path) -> None:
    answer = json.loads(clarion(stack, "stats", "--json").stdout)

    assert answer["as_of"] == "2026-03-01T12:00:00Z"
    assert answer["rows"][0]["counts"]["planned"] == "2000"
