"""What a provider reports, in the order of what it was given."""

from collections.abc import Sequence
from uuid import UUID

from clarion_channels.outcome import Result
from clarion_channels.port import Message, Provider


class NoReceipts:
    """For providers that have no receipt path of their own."""

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError(f"{provider} brings no receipts")


class Receipts:
    """Keeps receipts in memory."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str, bytes]] = []

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        self.kept.append((provider, kind, body))


async def send(provider: Provider, messages: Sequence[Message]) -> list[Result]:
    """Send, and insist on one report for each message."""
    results: dict[UUID, Result] = {}

    def report(message: Message, result: Result) -> None:
        assert message.delivery_id not in results, "reported twice"
        results[message.delivery_id] = result

    await provider.send(messages, report)
    return [results[message.delivery_id] for message in messages]
