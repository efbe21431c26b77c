"""`clarion recipients merge|export|erase|wishes` and `clarion topics` against a gateway of the real contract, over real TLS."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Never

import grpc
import pytest
from google.protobuf.message import Message
from typer.testing import CliRunner, Result

from clarion.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from clarion.preference.v1 import preference_service_pb2 as preference
from clarion.preference.v1 import preference_service_pb2_grpc as preference_grpc
from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion.recipient.v1 import recipient_service_pb2_grpc as recipient_grpc
from clarion.topic.v1 import topic_service_pb2 as topic
from clarion.topic.v1 import topic_service_pb2_grpc as topic_grpc
from clarion_local.authority import Authority
from clarion_local.cli.connection import STACK_FILE
from clarion_local.cli.main import build
from clarion_local.cli.remembered import AppKey, RememberedApps

Context = grpc.ServicerContext


class Gateway(
    auth_service_pb2_grpc.AuthServiceServicer,
    recipient_grpc.RecipientServiceServicer,
    preference_grpc.PreferenceServiceServicer,
    topic_grpc.TopicServiceServicer,
):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Message] = []

    def IssueToken(
        self, request: auth_service_pb2.IssueTokenRequest, context: Context
    ) -> auth_service_pb2.IssueTokenResponse:
        answer = auth_service_pb2.IssueTokenResponse(token="t")
        answer.expires_at.FromSeconds(4_000_000_000)
        return answer

    def MergeRecipients(
        self, request: recipient.MergeRecipientsRequest, context: Context
    ) -> recipient.MergeRecipientsResponse:
        self.asked.append(request)
        return recipient.MergeRecipientsResponse(revision=3)

    def ExportRecipient(
        self, request: recipient.ExportRecipientRequest, context: Context
    ) -> recipient.ExportRecipientResponse:
        return recipient.ExportRecipientResponse(
            recipient=recipient.Recipient(recipient_id=request.recipient_id), topics=["music"]
        )

    def EraseRecipient(
        self, request: recipient.EraseRecipientRequest, context: Context
    ) -> recipient.EraseRecipientResponse:
        self.asked.append(request)
        return recipient.EraseRecipientResponse()

    def ListWishChanges(
        self, request: preference.ListWishChangesRequest, context: Context
    ) -> preference.ListWishChangesResponse:
        answer = preference.ListWishChangesResponse()
        answer.changes.add(way=recipient.WISH_CHANGE_WAY_SMS_WORD, stopped=True)
        answer.changes.add(way=recipient.WISH_CHANGE_WAY_API, who="ck_1", after=recipient.Wishes(opted_out=True))
        answer.changes.add(way=recipient.WishChangeWay.ValueType(77))
        return answer

    def Subscribe(self, request: topic.SubscribeRequest, context: Context) -> topic.SubscribeResponse:
        self.asked.append(request)
        return topic.SubscribeResponse(added=1, unknown=[1])

    def Unsubscribe(self, request: topic.UnsubscribeRequest, context: Context) -> topic.UnsubscribeResponse:
        self.asked.append(request)
        return topic.UnsubscribeResponse(removed=2)

    def CountSubscribers(
        self, request: topic.CountSubscribersRequest, context: Context
    ) -> topic.CountSubscribersResponse:
        return topic.CountSubscribersResponse(count=7)

    def ListTopics(self, request: topic.ListTopicsRequest, context: Context) -> topic.ListTopicsResponse:
        if request.page_token:
            return topic.ListTopicsResponse(topics=["sports"])
        return topic.ListTopicsResponse(topics=["music"], next_page_token="more")

    def _unasked(self, request: Message, context: Context) -> Never:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")
        raise AssertionError

    def ImportRecipients(self, request_iterator: object, context: Context) -> Never:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")
        raise AssertionError

    UpsertRecipient = UpsertRecipients = GetRecipient = RegisterAddress = RemoveAddress = _unasked
    GetWishes = SetWishes = Switch = CreatePageLink = _unasked


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def stack(tmp_path: Path, gateway: Gateway, authority: Authority) -> Iterator[Path]:
    """The folder of a local stack whose gateway is ours."""
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    auth_service_pb2_grpc.add_AuthServiceServicer_to_server(gateway, server)
    recipient_grpc.add_RecipientServiceServicer_to_server(gateway, server)
    preference_grpc.add_PreferenceServiceServicer_to_server(gateway, server)
    topic_grpc.add_TopicServiceServicer_to_server(gateway, server)
    files = authority.issue("gateway", ips=["127.0.0.1"])
    credentials = grpc.ssl_server_credentials([(files.key.read_bytes(), files.cert.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    names = ("admin_key", "admin_secret", "database_url", "nats_url")
    document = {"gateway": f"127.0.0.1:{port}", "ca_file": str(authority.ca), **dict.fromkeys(names, "none")}
    (tmp_path / STACK_FILE).write_text(json.dumps(document))
    RememberedApps(tmp_path).put("demo", AppKey("ck_test", "cs_test"))
    try:
        yield tmp_path
    finally:
        server.stop(None).wait(5)


def run(folder: Path, *arguments: str, text: str = "") -> Result:
    clean = dict.fromkeys(
        ("CLARION_ENDPOINT", "CLARION_APP_KEY", "CLARION_APP_SECRET", "CLARION_CA_FILE", "CLARION_APP")
    )
    env = {**clean, "CLARION_FOLDER": str(folder)}
    return CliRunner().invoke(build(), arguments, env=env, input=text, catch_exceptions=False)


def test_merging_names_the_one_that_stays_first(stack: Path, gateway: Gateway) -> None:
    result = run(stack, "recipients", "merge", "anna", "guest")

    assert result.exit_code == 0
    assert gateway.asked == [recipient.MergeRecipientsRequest(into_recipient_id="anna", from_recipient_id="guest")]


def test_export_is_json(stack: Path) -> None:
    document = json.loads(run(stack, "recipients", "export", "anna").stdout)

    assert document["recipient"]["recipient_id"] == "anna"
    assert document["topics"] == ["music"]


def test_erasing_asks_first(stack: Path, gateway: Gateway) -> None:
    refused = run(stack, "recipients", "erase", "anna", text="n\n")
    asked_after_no = list(gateway.asked)
    done = run(stack, "recipients", "erase", "anna", "--yes")

    assert (refused.exit_code, asked_after_no, done.exit_code) == (1, [], 0)
    assert gateway.asked == [recipient.EraseRecipientRequest(recipient_id="anna")]


def test_changes_of_wishes_say_how_and_what_and_unknown_ways_their_number(stack: Path) -> None:
    result = run(stack, "recipients", "wishes", "anna")

    for shown in ("STOP", "sms word", "ck_1", "opted_out: True", "77", "(erased)"):
        assert shown in result.stdout


def test_subscribing_names_ids_that_nobody_has(stack: Path, gateway: Gateway) -> None:
    result = run(stack, "topics", "subscribe", "music", "anna", "nobody")

    assert "1 added" in result.stdout
    assert "nobody" in result.stderr
    assert gateway.asked == [topic.SubscribeRequest(topic="music", recipient_ids=["anna", "nobody"])]


def test_topics_are_left_counted_and_listed_page_after_page(stack: Path) -> None:
    left = run(stack, "topics", "unsubscribe", "music", "anna", "bea")
    counted = run(stack, "topics", "count", "music", "--json")
    listed = run(stack, "topics", "of", "anna")

    assert "2 removed" in left.stdout
    assert json.loads(counted.stdout) == {"count": "7"}
    assert "music" in listed.stdout
    assert "sports" in listed.stdout
