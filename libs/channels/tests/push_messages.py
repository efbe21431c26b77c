"""Messages for the tests of the push providers, and the collector of their reports."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL, Priority
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message


def push_message(
    address: Address,
    push: PushContent | None = None,
    *,
    priority: Priority.ValueType = PRIORITY_NORMAL,
    collapse_key: str = "",
    expire_at: datetime | None = None,
) -> Message:
    return Message(
        delivery_id=uuid4(),
        address=address,
        content=Rendered(push=push or PushContent(title="Order 7", body="is on its way")),
        priority=priority,
        expire_at=expire_at or datetime.now(UTC) + timedelta(hours=1),
        collapse_key=collapse_key,
    )


def struct(keys: Mapping[str, object]) -> Struct:
    """JSON as the contract carries it."""
    return ParseDict(dict(keys), Struct())


class Reports:
    """Collects what a provider reports and insists on one report per message."""

    def __init__(self) -> None:
        self.results: dict[UUID, Result] = {}

    def __call__(self, message: Message, result: Result) -> None:
        assert message.delivery_id not in self.results, "reported twice"
        self.results[message.delivery_id] = result

    def outcomes(self) -> list[Outcome]:
        return [result.outcome for result in self.results.values()]

    def counts(self) -> Mapping[Outcome, int]:
        found = self.outcomes()
        return {outcome: found.count(outcome) for outcome in set(found)}

    def only(self) -> Result:
        (result,) = self.results.values()
        return result
