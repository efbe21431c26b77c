"""The feed end to end: the same changes in a stream of the SDK and posted to a webhook, signed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import cast

import pytest

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1 import state_pb2
from clarion_client import AsyncClient, Channel, Content, Recipient, addresses
from clarion_client.webhooks import Post, verify
from clarion_local.stack import Stack
from clarion_testkit.shop import Shop, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="session")

Posts = asyncio.Queue[tuple[dict[str, str], bytes]]


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[str, Posts]]:
    """A receiver that takes everything."""
    posts: Posts = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head.splitlines()[1:-1])}
            posts.put_nowait((headers, await reader.readexactly(int(headers["content-length"]))))
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", posts
    finally:
        server.close()


def as_operator(stack: Stack) -> AsyncClient:
    ends = stack.endpoints
    return AsyncClient.connect(ends.gateway, ends.admin_key, ends.admin_secret, ca_file=ends.ca_file)


async def watched(shop: Shop, cursor: str) -> dict[str, int]:
    """Kinds of changes by their ids, to the first that says "delivered"."""
    found: dict[str, int] = {}
    async with aclosing(aiter(shop.client.deliveries.watch(cursor))) as changes:
        async for change in changes:
            found[change.change_id] = change.entry.kind
            if change.receipt == state_pb2.RECEIPT_DELIVERED:
                break
    return found


async def test_a_message_is_told_alike_by_stream_and_webhook(stack: Stack) -> None:
    async with open_shop(stack, "watching") as shop, as_operator(stack) as operator, receiving() as (url, posts):
        put = await operator.webhooks.put(shop.name, "all", url)
        tested = await operator.webhooks.test(shop.name, "all")
        headers, body = await posts.get()
        sample = verify(body, headers, put.signing_secret)
        await shop.client.recipients.upsert(Recipient(recipient_id="w", addresses=[addresses.phone("+821012345678")]))
        cursor = await shop.client.deliveries.cursor()
        await shop.client.send(
            recipients=["w"], category="transactional", channels=[Channel.SMS], content=Content(sms="On its way")
        )
        async with asyncio.timeout(30):
            streamed = await watched(shop, cursor)
        posted: dict[str, Post] = {}
        async with asyncio.timeout(30):
            while not streamed.keys() <= posted.keys():
                headers, body = await posts.get()
                post = verify(body, headers, put.signing_secret)
                posted |= dict.fromkeys(_ids(post), post)
        [listed] = (await operator.webhooks.list(shop.name)).webhooks

    assert tested.delivered
    assert sample.document["type"] == "webhook.test"
    assert next(iter(streamed.values())) == pb.EVENT_KIND_ACCEPTED
    assert {pb.EVENT_KIND_PLANNED, pb.EVENT_KIND_TERMINAL, pb.EVENT_KIND_RECEIPT} <= set(streamed.values())
    assert listed.status.HasField("last_success")


def _ids(post: Post) -> list[str]:
    data = cast(dict[str, list[dict[str, str]]], post.document["data"])
    return [change["id"] for change in data["changes"]]
