"""Traces in a real Jaeger: what its query API returns for one notification is the whole tree."""

import asyncio
import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from clarion_client import Content, Mail, Push
from clarion_local.stack import Stack
from clarion_testkit.otlp import Collector
from clarion_testkit.shop import open_shop

from .tools import jaeger_binary

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

START_SECONDS = 30
END_SECONDS = 10
LOOK_AGAIN_SECONDS = 0.1
SENDS = {
    "clarion-dispatcher-ios": "apns send",
    "clarion-dispatcher-android": "fcm send",
    "clarion-dispatcher-web": "webpush send",
    "clarion-dispatcher-sms": "smpp send",
    "clarion-dispatcher-email": "smtp send",
}
SEND = "clarion.notification.v1.NotificationService/Send"


@dataclass(frozen=True)
class Jaeger:
    """A running Jaeger: where it takes spans (OTLP/gRPC) and answers questions."""

    otlp: str
    query: str

    async def trace(self, trace_id: str) -> "list[Shown]":
        """The spans of a trace; none while it knows of none."""

        def fetch() -> Mapping[str, object] | None:
            try:
                with urllib.request.urlopen(f"{self.query}/api/v3/traces/{trace_id}", timeout=10) as answer:
                    found: Mapping[str, object] = json.load(answer)
                    return found
            except urllib.error.HTTPError as missing:
                missing.close()
                return None

        answer = await asyncio.to_thread(fetch)
        return _shown(answer) if answer is not None else []


@dataclass(frozen=True)
class Shown:
    """A span as Jaeger shows it."""

    service: str
    name: str
    span_id: str
    parent: str
    links: frozenset[str]


@pytest.fixture(scope="session")
def binary() -> Path:
    return jaeger_binary()


@asynccontextmanager
async def running(binary: Path, folder: Path) -> AsyncIterator[Jaeger]:
    """A Jaeger that keeps what it gets in memory; ended by its process id."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        otlp, query = (f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    log = (folder / "jaeger.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        str(binary), "-otlp", otlp, "-query", query, stdout=log, stderr=log, env={"PATH": os.environ.get("PATH", "")}
    )
    jaeger = Jaeger(otlp, f"http://{query}")
    try:
        async with asyncio.timeout(START_SECONDS):
            while not (await _listens(otlp) and await _listens(query)):
                assert process.returncode is None, (folder / "jaeger.log").read_text()[-2000:]
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        yield jaeger
    finally:
        log.close()
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), END_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


async def test_jaeger_returns_the_whole_tree_of_a_notification(
    stack: Stack, collector: Collector, binary: Path, tmp_path: Path
) -> None:
    async with (
        running(binary, tmp_path) as jaeger,
        collector.passing_on(jaeger.otlp),
        open_shop(stack, "jaeger") as shop,
    ):
        await shop.client.recipients.upsert(shop.everywhere("u1"))
        content = Content(push=Push(title="t", body="b"), sms="s", mail=Mail(subject="s", text="t"))
        sent = await shop.client.send(recipients=["u1"], category="transactional", content=content, trace=True)
        ours = await collector.until(sent.trace_id, SEND, "process RECEIPT.sms", *SENDS.values())

        async with asyncio.timeout(START_SECONDS):
            while len(spans := await jaeger.trace(sent.trace_id)) < len(ours):
                ours = collector.tree(sent.trace_id)
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    by_id = {span.span_id: span for span in spans}
    [gateway] = [span for span in spans if (span.service, span.name) == ("clarion-gateway", SEND)]
    [plan] = [span for span in spans if span.name == "process PLAN.normal"]
    assert (plan.service, plan.parent) == ("clarion-planner", gateway.span_id)
    for service, name in SENDS.items():
        [send] = [span for span in spans if (span.service, span.name) == (service, name)]
        process = by_id[send.parent]
        assert process.name == f"process DISPATCH.{service.rpartition('-')[2]}"
        assert (process.service, process.parent) == (service, plan.span_id)
    [receipt] = [span for span in spans if span.name == "process RECEIPT.sms"]
    assert (receipt.service, receipt.parent) == ("clarion-tracker", gateway.span_id)
    assert [by_id[link].name for link in receipt.links] == ["smpp send"]
    # But for the caller's, which no exporter of ours sends, every parent is there.
    assert {span.name for span in spans if span.parent not in by_id} == {SEND}
    assert {(span.service, span.name, span.span_id) for span in spans} >= {
        (span.service, span.name, span.span_id) for span in ours
    }


async def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def _shown(answer: Mapping[str, object]) -> list[Shown]:
    """The answer is OTLP's JSON: ids are hexadecimal."""
    result = answer["result"]
    assert isinstance(result, dict)
    return [
        Shown(
            next(one["value"]["stringValue"] for one in part["resource"]["attributes"] if one["key"] == "service.name"),
            span["name"],
            span["spanId"],
            span.get("parentSpanId", ""),
            frozenset(one["spanId"] for one in span.get("links", [])),
        )
        for part in result["resourceSpans"]
        for scope in part["scopeSpans"]
        for span in scope["spans"]
    ]
