"""`clarion recipients merge|export|erase|wishes|page` and `clarion topics` against a gateway of the real contract, over real TLS."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Never

import grpc
import pytest
from google.protobuf.message import Message

from clarion.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from clarion.preference.v1 import preference_service_pb2 as preference
from clarion.preference.v1 import preference_service_pb2_grpc as preference_grpc
from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion.recipient.v1 import recipient_service_pb2_grpc as recipient_grpc
from clarion.topic.v1 import topic_service_pb2 as topic
from clarion.topic.v1 import topic_service_pb2_grpc as topic_grpc
from clarion_local.authority import Authority

from .scripted_stack import clarion, scripted_stack

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

    def CreatePageLink(
        self, request: preference.CreatePageLinkRequest, context: Context
    ) -> preference.CreatePageLinkResponse:
        self.asked.append(request)
        return preference.CreatePageLinkResponse(url="https://t.example.com/p/x")

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
    GetWishes = SetWishes = Switch = _unasked


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def stack(tmp_path: Path, gateway: Gateway, authority: Authority) -> Iterator[Path]:
    """The folder of a local stack whose gateway is ours."""
    services = (
        partial(auth_service_pb2_grpc.add_AuthServiceServicer_to_server, gateway),
        partial(recipient_grpc.add_RecipientServiceServicer_to_server, gateway),
        partial(preference_grpc.add_PreferenceServiceServicer_to_server, gateway),
        partial(topic_grpc.add_TopicServiceServicer_to_server, gateway),
    )
    with scripted_stack(tmp_path, authority, *services) as folder:
        yield folder


def test_merging_names_the_one_that_stays_first(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, "recipients", "merge", "anna", "guest")

    assert result.exit_code == 0
    assert gateway.asked == [recipient.MergeRecipientsRequest(into_recipient_id="anna", from_recipient_id="guest")]


def test_export_is_json(stack: Path) -> None:
    document = json.loads(clarion(stack, "recipients", "export", "anna").stdout)

    assert document["recipient"]["recipient_id"] == "anna"
    assert document["topics"] == ["music"]


def test_erasing_asks_first(stack: Path, gateway: Gateway) -> None:
    refused = clarion(stack, "recipients", "erase", "anna", text="n\n")
    asked_after_no = list(gateway.asked)
    done = clarion(stack, "recipients", "erase", "anna", "--yes")

    assert (refused.exit_code, asked_after_no, done.exit_code) == (1, [], 0)
    assert gateway.asked == [recipient.EraseRecipientRequest(recipient_id="anna")]


def test_changes_of_wishes_say_how_and_what_and_unknown_ways_their_number(stack: Path) -> None:
    result = clarion(stack, "recipients", "wishes", "anna")

    for shown in ("STOP", "sms word", "ck_1", "opted_out: True", "77", "(erased)"):
        assert shown in result.stdout


def test_page_gives_a_link_that_lasts_as_long_as_was_said(stack: Path, gateway: Gateway) -> None:
    plain = clarion(stack, "recipients", "page", "anna")
    until = clarion(stack, "recipients", "page", "anna", "--expire", "2099-01-01T00:00Z", "--json")

    assert plain.stdout.split() == ["https://t.example.com/p/x"]
    assert json.loads(until.stdout) == {"url": "https://t.example.com/p/x"}
    first, second = gateway.asked
    assert first == preference.CreatePageLinkRequest(recipient_id="anna")
    assert isinstance(second, preference.CreatePageLinkRequest)
    assert second.expire_at.seconds == 4_070_908_800


def test_subscribing_names_ids_that_nobody_has(stack: Path, gateway: Gateway) -> None:
    result = clarion(stack, "topics", "subscribe", "music", "anna", "nobody")

    assert "1 added" in result.stdout
    assert "nobody" in result.stderr
    assert gateway.asked == [topic.SubscribeRequest(topic="music", recipient_ids=["anna", "nobody"])]


def test_topics_are_left_counted_and_listed_page_after_page(stack: Path) -> None:
    left = clarion(stack, "topics", "unsubscribe", "music", "anna", "bea")
    counted = clarion(stack, "topics", "count", "music", "--json")
    listed = clarion(stack, "topics", "of", "anna")

    assert "2 removed" in left.stdout
    assert json.loads(counted.stdout) == {"count": "7"}
    assert "music" in listed.stdout
    assert "sports" in listed.stdout
