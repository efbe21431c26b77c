"""The sync client against a real server."""

import asyncio
import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import grpc
import pytest

from clarion_client import (
    Cancelled,
    ClarionError,
    Client,
    DeadlineExceeded,
    InvalidArgument,
    Notification,
    Recipient,
    RetryPolicy,
    Sent,
    Unavailable,
)
from clarion_client._secret import Secret
from clarion_client._token import Token
from clarion_client.sync.tokens import SyncTokens

from .scripted_gateway import APP_KEY, APP_SECRET, UNAVAILABLE, Context, Gateway, refuse_with, status


@pytest.fixture
def sync_client(gateway: Gateway, quick_retry: RetryPolicy) -> Iterator[Client]:
    client = Client.connect(
        gateway.target, APP_KEY, APP_SECRET, ca_file=gateway.ca, retry=quick_retry, timeout=timedelta(seconds=5)
    )
    yield client
    client.close(timedelta())


def send(client: Client, event_id: str = "e1") -> Sent:
    return client.send(recipients=["u"], category="c", template="t", event_id=event_id)


async def hang(context: Context) -> None:
    await asyncio.Event().wait()


async def test_threads_share_one_client_and_one_token(sync_client: Client, gateway: Gateway) -> None:
    def work() -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            return [sent.notification_id for sent in pool.map(lambda n: send(sync_client, f"e{n}"), range(80))]

    ids = await asyncio.to_thread(work)

    assert ids == [f"n-e{n}" for n in range(80)]
    assert gateway.tokens_issued == 1


async def test_sync_retry_keeps_the_event_id(sync_client: Client, gateway: Gateway) -> None:
    gateway.steps.extend([UNAVAILABLE, UNAVAILABLE])

    await asyncio.to_thread(send, sync_client)

    assert [notification.event_id for notification in gateway.notifications] == ["e1"] * 3


async def test_sync_call_that_is_not_idempotent_is_not_repeated(sync_client: Client, gateway: Gateway) -> None:
    gateway.steps.append(UNAVAILABLE)

    with pytest.raises(Unavailable):
        await asyncio.to_thread(sync_client.apps.create, "shop")

    assert len(gateway.requests) == 1


async def test_sync_error_carries_its_faults(sync_client: Client, gateway: Gateway) -> None:
    refusal = status(grpc.StatusCode.INVALID_ARGUMENT, "no", reason="INVALID_FIELD", faults=[("category", "required")])
    gateway.steps.append(refuse_with(refusal))

    with pytest.raises(InvalidArgument) as refused:
        await asyncio.to_thread(send, sync_client)

    assert [fault.field for fault in refused.value.field_faults] == ["category"]


async def test_sync_deadline_is_kept(sync_client: Client, gateway: Gateway) -> None:
    gateway.steps.append(hang)

    with pytest.raises(DeadlineExceeded):
        await asyncio.to_thread(send, sync_client.with_timeout(timedelta(milliseconds=100)))


async def test_sync_refused_token_is_renewed(sync_client: Client, gateway: Gateway) -> None:
    await asyncio.to_thread(send, sync_client)
    gateway.valid_tokens.clear()

    await asyncio.to_thread(send, sync_client)

    assert gateway.tokens_issued == 2


async def test_sync_bulk_keeps_the_order(sync_client: Client, gateway: Gateway) -> None:
    items = [Notification(recipients=["u"], category="c", template="t", event_id=f"e{n}") for n in range(2_100)]

    outcomes = await asyncio.to_thread(lambda: list(sync_client.send_many(items)))

    assert [outcome.event_id for outcome in outcomes] == [f"e{n}" for n in range(2_100)]
    assert sorted(len(batch.notifications) for batch in gateway.batches) == [100, 1_000, 1_000]


async def test_sync_import_keeps_the_order_and_reads_its_source_as_it_goes(
    sync_client: Client, gateway: Gateway
) -> None:
    def people() -> Iterator[Recipient]:
        for number in range(1_100):
            yield Recipient(recipient_id=f"u{number}")
        yield Recipient(recipient_id="u0")

    outcomes = await asyncio.to_thread(lambda: list(sync_client.recipients.import_many(people(), batches_in_flight=2)))

    ids = [outcome.address_ids[0] for outcome in outcomes if not isinstance(outcome, ClarionError)]
    assert ids == [*(f"u{number}" for number in range(1_100)), "u0"]
    assert sorted(len(batch) for batch in gateway.upserts) == [101, 500, 500]


async def test_sync_import_that_is_stopped_early_leaves_nothing_behind(sync_client: Client, gateway: Gateway) -> None:
    def first() -> str:
        with closing(
            sync_client.recipients.import_many(Recipient(recipient_id=f"u{n}") for n in range(10_000))
        ) as all_:
            outcome = next(all_)
        return "" if isinstance(outcome, ClarionError) else outcome.address_ids[0]

    assert await asyncio.to_thread(first) == "u0"
    assert len(gateway.upserts) <= 5


async def test_sync_list_gives_every_page(sync_client: Client) -> None:
    ids = await asyncio.to_thread(lambda: [view.notification_id for view in sync_client.list(page_size=1)])

    assert ids == ["0-0", "1-0", "2-0"]


async def test_sync_close_is_bounded_and_ends_what_hangs(sync_client: Client, gateway: Gateway) -> None:
    gateway.steps.append(hang)
    sending = asyncio.ensure_future(asyncio.to_thread(send, sync_client))
    await gateway.wait_for_requests(1)

    async with asyncio.timeout(3):
        await asyncio.to_thread(sync_client.close, timedelta(milliseconds=50))

    with pytest.raises(Cancelled):
        await sending
    with pytest.raises(RuntimeError, match="closed"):
        await asyncio.to_thread(send, sync_client)


def test_client_from_before_a_fork_refuses_to_work(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client.connect("127.0.0.1:1", APP_KEY, APP_SECRET, insecure=True)
    monkeypatch.setattr(os, "getpid", lambda: -1)

    with pytest.raises(RuntimeError, match="fork"):
        send(client)

    client.close(timedelta())


def test_nobody_listening_is_unavailable(quick_retry: RetryPolicy) -> None:
    with Client.connect("127.0.0.1:1", APP_KEY, APP_SECRET, insecure=True, retry=quick_retry) as client:
        with pytest.raises(Unavailable):
            send(client)

        assert APP_SECRET not in repr(client) + repr(vars(client._core))


def test_thread_with_more_time_asks_again_when_the_asking_one_ran_out() -> None:
    first_asks, may_fail = threading.Event(), threading.Event()
    asked: list[float] = []

    def issue(timeout_seconds: float) -> Token:
        asked.append(timeout_seconds)
        if len(asked) > 1:
            return Token(Secret("t"), refresh_at=math.inf, ends_at=math.inf)
        first_asks.set()
        may_fail.wait(5)
        raise DeadlineExceeded("short", code=grpc.StatusCode.DEADLINE_EXCEEDED)

    tokens = SyncTokens(issue)
    waits = threading.Event()

    def patient() -> float:
        waits.set()
        return 5.0

    with ThreadPoolExecutor(2) as pool:
        hurried = pool.submit(tokens.get, lambda: 0.1)
        assert first_asks.wait(5)
        waiting = pool.submit(tokens.get, patient)
        assert waits.wait(5)
        may_fail.set()

        assert waiting.result(5).value.reveal() == "t"
        with pytest.raises(DeadlineExceeded):
            hurried.result(5)

    assert asked == [0.1, 5.0]
