"""`clarion watch` and `clarion webhooks` against a gateway of the real contract, over real TLS."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Never

import grpc
import pytest
from google.protobuf.message import Message

from clarion.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from clarion.notification.v1 import notification_service_pb2, state_pb2
from clarion.tracking.v1 import tracking_service_pb2, tracking_service_pb2_grpc
from clarion.types.v1 import channel_pb2
from clarion.webhook.v1 import webhook_service_pb2 as pb
from clarion.webhook.v1 import webhook_service_pb2_grpc
from clarion_local.authority import Authority
from clarion_local.cli.watching import KindName, StateName

from .scripted_stack import clarion, scripted_stack

Context = grpc.ServicerContext
URL = "https://hooks.example.com/x"


class Gateway(
    auth_service_pb2_grpc.AuthServiceServicer,
    tracking_service_pb2_grpc.TrackingServiceServicer,
    webhook_service_pb2_grpc.WebhookServiceServicer,
):
    """Tells of three changes without end, has one webhook, and remembers what it was asked."""

    def __init__(self) -> None:
        self.watched: list[tracking_service_pb2.WatchDeliveriesRequest] = []
        self.put: list[pb.PutWebhookRequest] = []
        self.rotated: list[pb.RotateWebhookSecretRequest] = []
        self.test = pb.TestWebhookResponse(delivered=True, http_status=200, duration_ms=12)
        self.status = pb.WebhookStatus()
        self.status.reached.FromSeconds(1_900_000_000)

    def IssueToken(
        self, request: auth_service_pb2.IssueTokenRequest, context: Context
    ) -> auth_service_pb2.IssueTokenResponse:
        answer = auth_service_pb2.IssueTokenResponse(token="t")
        answer.expires_at.FromSeconds(4_000_000_000)
        return answer

    def WatchDeliveries(
        self, request: tracking_service_pb2.WatchDeliveriesRequest, context: Context
    ) -> Iterator[tracking_service_pb2.WatchDeliveriesResponse]:
        self.watched.append(tracking_service_pb2.WatchDeliveriesRequest.FromString(request.SerializeToString()))
        yield tracking_service_pb2.WatchDeliveriesResponse(cursor="c0")
        for number in range(1, 4):
            change = tracking_service_pb2.WatchDeliveriesResponse(
                cursor=f"c{number}",
                notification_id=f"n{number}",
                channel=channel_pb2.CHANNEL_SMS,
                category="orders",
                event_id=f"e{number}\x1b[2J",
                receipt=state_pb2.RECEIPT_DELIVERED,
            )
            change.entry.kind = notification_service_pb2.EVENT_KIND_RECEIPT
            change.entry.state = state_pb2.DELIVERY_STATE_SENT
            change.entry.at.FromSeconds(1_900_000_000)
            yield change

    def Stats(self, request: Message, context: Context) -> Never:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")

    def PutWebhook(self, request: pb.PutWebhookRequest, context: Context) -> pb.PutWebhookResponse:
        self.put.append(request)
        request.webhook.status.CopyFrom(self.status)
        return pb.PutWebhookResponse(webhook=request.webhook, signing_secret="whsec_canary")

    def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Context) -> pb.ListWebhooksResponse:
        return pb.ListWebhooksResponse(webhooks=[pb.Webhook(name="orders", url=URL, enabled=True, status=self.status)])

    def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Context) -> pb.DeleteWebhookResponse:
        return pb.DeleteWebhookResponse()

    def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: Context
    ) -> pb.RotateWebhookSecretResponse:
        self.rotated.append(request)
        return pb.RotateWebhookSecretResponse(signing_secret="whsec_new")

    def TestWebhook(self, request: pb.TestWebhookRequest, context: Context) -> pb.TestWebhookResponse:
        return self.test

    def ListWebhookFailures(
        self, request: pb.ListWebhookFailuresRequest, context: Context
    ) -> pb.ListWebhookFailuresResponse:
        return pb.ListWebhookFailuresResponse(
            failures=[pb.WebhookFailure(attempt=2, changes=7, error="HTTP 503", message_id="msg_1")]
        )


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def stack(tmp_path: Path, gateway: Gateway) -> Iterator[Path]:
    authority = Authority.create(tmp_path / "authority")
    with scripted_stack(
        tmp_path,
        authority,
        partial(auth_service_pb2_grpc.add_AuthServiceServicer_to_server, gateway),
        partial(tracking_service_pb2_grpc.add_TrackingServiceServicer_to_server, gateway),
        partial(webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server, gateway),
    ) as folder:
        yield folder


def test_watch_passes_its_filters_and_shows_no_control(stack: Path, gateway: Gateway) -> None:
    filters = ("--cursor", "here", "--channel", "sms", "--kind", "receipt", "--state", "dead-lettered")
    more = ("--category", "orders", "--id", "n1", "--recipient", "anna")

    result = clarion(stack, "watch", *filters, *more, "--limit", "3")

    assert result.exit_code == 0
    [request] = gateway.watched
    assert request == tracking_service_pb2.WatchDeliveriesRequest(
        cursor="here",
        channels=[channel_pb2.CHANNEL_SMS],
        kinds=[notification_service_pb2.EVENT_KIND_RECEIPT],
        states=[state_pb2.DELIVERY_STATE_DEAD_LETTERED],
        categories=["orders"],
        notification_ids=["n1"],
        recipient_id="anna",
    )
    first, *_ = result.stdout.splitlines()
    assert "receipt  sms  sent  delivered  orders" in first
    assert "\x1b" not in result.stdout


def test_watch_for_machines_is_a_change_a_line_and_goes_on_where_a_stream_ended(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, "watch", "--limit", "5", "--json")

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["cursor"] for line in lines] == ["c1", "c2", "c3", "c1", "c2"]
    assert [request.cursor for request in gateway.watched] == ["", "c3"]


def test_every_kind_and_state_of_the_contract_can_be_typed() -> None:
    assert {name.kind for name in KindName} == set(notification_service_pb2.EventKind.values()) - {0}
    assert {name.state for name in StateName} <= set(state_pb2.DeliveryState.values())


def test_webhook_is_put_and_its_secret_shown(stack: Path, gateway: Gateway) -> None:
    result = clarion(
        stack, "webhooks", "put", "shop", "orders", URL, "--channel", "email", "--kind", "terminal", "--disabled"
    )

    assert result.exit_code == 0
    [request] = gateway.put
    assert (request.app, request.webhook.name, request.webhook.url) == ("shop", "orders", URL)
    assert not request.webhook.enabled
    assert list(request.webhook.channels) == [channel_pb2.CHANNEL_EMAIL]
    assert "whsec_canary" in result.stdout


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [("tries", 3, "failing, 3 tries"), ("disabled_reason", "gone", "switched off: gone"), ("gaps", 0, "on")],
)
def test_list_shows_how_each_fares(stack: Path, gateway: Gateway, field: str, value: object, shown: str) -> None:
    setattr(gateway.status, field, value)
    if field == "tries":
        gateway.status.failing_since.FromSeconds(1)
    if field == "disabled_reason":
        gateway.status.disabled_at.FromSeconds(1)

    assert shown in clarion(stack, "webhooks", "list", "shop").stdout


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("delete", "shop", "orders"), "removed"),
        (("rotate-secret", "shop", "orders", "--former", "2h"), "whsec_new"),
        (("failures", "shop", "orders"), "HTTP 503"),
        (("test", "shop", "orders"), "taken (12 ms)"),
    ],
)
def test_other_commands_say_what_came_of_it(
    stack: Path, gateway: Gateway, arguments: tuple[str, ...], shown: str
) -> None:
    result = clarion(stack, "webhooks", *arguments)

    assert (result.exit_code, shown in result.stdout) == (0, True)


def test_former_secret_lives_as_long_as_is_said(stack: Path, gateway: Gateway) -> None:
    clarion(stack, "webhooks", "rotate-secret", "shop", "orders", "--former", "2h")
    wrong = clarion(stack, "webhooks", "rotate-secret", "shop", "orders", "--former", "soon")

    assert [request.former_valid_for.seconds for request in gateway.rotated] == [7_200]
    assert wrong.exit_code == 2


def test_test_that_was_not_taken_is_exit_1(stack: Path, gateway: Gateway) -> None:
    gateway.test = pb.TestWebhookResponse(error="refused_address")

    result = clarion(stack, "webhooks", "test", "shop", "orders")

    assert (result.exit_code, "refused_address" in result.stdout) == (1, True)
