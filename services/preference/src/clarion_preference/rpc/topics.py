"""TopicService: who subscribes to what."""

from collections.abc import Sequence

import grpc

from clarion.topic.v1 import topic_service_pb2 as pb
from clarion.topic.v1 import topic_service_pb2_grpc as pb_grpc
from clarion_kit.rpc.caller import current_caller
from clarion_kit.validate import NAME, Faults
from clarion_preference.ports import Topics
from clarion_preference.rpc.paging import read_size, read_token, to_token
from clarion_preference.rpc.reading_recipient import read_recipient_id

Context = grpc.aio.ServicerContext[object, object]

MAX_SUBSCRIBERS = 1_000
"""Ids that one call takes."""


class TopicRpc(pb_grpc.TopicServiceServicer):
    """Answers for the app of the caller."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    async def Subscribe(self, request: pb.SubscribeRequest, context: Context) -> pb.SubscribeResponse:
        _check(request.topic, request.recipient_ids)
        added, unknown = await self._topics.subscribe(current_caller().app_id, request.topic, request.recipient_ids[:])
        return pb.SubscribeResponse(added=added, unknown=unknown)

    async def Unsubscribe(self, request: pb.UnsubscribeRequest, context: Context) -> pb.UnsubscribeResponse:
        _check(request.topic, request.recipient_ids)
        removed = await self._topics.unsubscribe(current_caller().app_id, request.topic, request.recipient_ids[:])
        return pb.UnsubscribeResponse(removed=removed)

    async def CountSubscribers(
        self, request: pb.CountSubscribersRequest, context: Context
    ) -> pb.CountSubscribersResponse:
        faults = Faults()
        faults.name("topic", request.topic)
        faults.raise_if_any()
        return pb.CountSubscribersResponse(count=await self._topics.count(current_caller().app_id, request.topic))

    async def ListTopics(self, request: pb.ListTopicsRequest, context: Context) -> pb.ListTopicsResponse:
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        size = read_size(faults, request.page_size)
        after = read_token(faults, request.page_token, _topic) or ""
        faults.raise_if_any()
        found = await self._topics.topics_of(current_caller().app_id, recipient_id, size + 1, after)
        return pb.ListTopicsResponse(
            topics=found[:size],
            next_page_token=to_token(found[size - 1].encode()) if len(found) > size else "",
        )


def _check(topic: str, recipient_ids: Sequence[str]) -> None:
    faults = Faults()
    faults.name("topic", topic)
    in_bounds = 1 <= len(recipient_ids) <= MAX_SUBSCRIBERS
    if faults.require("recipient_ids", in_bounds, f"must be 1-{MAX_SUBSCRIBERS:,}"):
        for index, recipient_id in enumerate(recipient_ids):
            read_recipient_id(faults, recipient_id, f"recipient_ids[{index}]")
    faults.raise_if_any()


def _topic(place: bytes) -> str:
    name = place.decode()
    if not NAME.fullmatch(name):
        raise ValueError("not the name of a topic")
    return name
