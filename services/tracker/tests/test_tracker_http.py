"""The HTTP server over real sockets: what it answers, and how it drains."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from clarion_kit.links import MAX_TARGET_BYTES, OpenLink, click_key, packed, sign_click, sign_open
from clarion_kit.rpc.server import PortInUse
from clarion_kit.tls import TlsFiles
from clarion_kit.vocabulary import Channel, Receipt
from clarion_local.authority import Authority
from clarion_tracker.activity_queue import ActivityQueue
from clarion_tracker.adapters.granian_server import GranianServer, HttpStopped, Limits
from clarion_tracker.clicks import Clicks
from clarion_tracker.pages import GIF, Pages
from clarion_tracker.ports import Reply, Request

from .tracker_samples import FakeActivities, FakeDeliveries, HandClock, count, tracked

KEY = bytes(32)
DELIVERY = UUID(int=5)
LINK = OpenLink(1, DELIVERY, 2, 3, "KR", Channel.EMAIL)
TOKEN = sign_open(KEY, LINK)
QUICK = Limits(head=timedelta(milliseconds=300), answer=timedelta(milliseconds=300))


def click_token(target: str) -> str:
    return sign_click(click_key(KEY, packed(LINK)), packed(LINK), 0, target)


class Client:
    """One connection, written to and read from as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, method: str, path: str, *, agent: str = "Mail/1.0") -> None:
        self._writer.write(f"{method} {path} HTTP/1.1\r\nhost: a\r\nuser-agent: {agent}\r\n\r\n".encode())

    def send_raw(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(5):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            length = int(headers.get("content-length", "0")) if body else 0
            return int(head[0].split()[1]), headers, await self._reader.readexactly(length)

    async def rest(self) -> bytes:
        """What comes until the server closes."""
        async with asyncio.timeout(5):
            return await self._reader.read()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


class Site:
    def __init__(self) -> None:
        counter, self.metrics = tracked()
        self.deliveries = FakeDeliveries()
        self.deliveries.add(DELIVERY)
        self.opens = ActivityQueue(self.deliveries, FakeActivities(), counter, HandClock(), size=100)
        self._pages = Pages(KEY, self.opens, counter, lambda: False)
        self._clicks = Clicks(KEY, self.opens, counter)

    async def handler(self, request: Request) -> Reply:
        if request.path.startswith("/c/"):
            return await self._clicks.answer(request, request.path.removeprefix("/c/"))
        return await self._pages.answer(request)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    async with GranianServer("127.0.0.1", 0, None, QUICK).serve(site.handler) as port:
        connected = await Client.connect(port)
        yield connected
        await connected.close()


async def test_valid_pixel_is_an_image_that_is_not_stored(site: Site, client: Client) -> None:
    client.send("GET", f"/o/{TOKEN}.gif?a=b")
    status, headers, body = await client.answer()
    await site.opens.write()

    assert (status, body) == (200, GIF)
    assert (headers["content-type"], headers["cache-control"]) == ("image/gif", "no-store")
    assert site.deliveries.receipt == {DELIVERY: Receipt.SEEN}


@pytest.mark.parametrize("token", [TOKEN[:-1] + ("A" if TOKEN[-1] != "A" else "B"), "unknown", "%00", "a" * 4000])
async def test_tampered_or_unknown_pixel_looks_the_same(site: Site, client: Client, token: str) -> None:
    client.send("GET", f"/o/{token}.gif")

    assert (await client.answer())[::2] == (200, GIF)
    assert count(site.metrics, "open", "invalid") == 1


async def test_head_gives_the_headers_and_is_no_open(site: Site, client: Client) -> None:
    client.send("HEAD", f"/o/{TOKEN}.gif")
    status, headers, _ = await client.answer(body=False)
    client.send("GET", "/healthz")

    assert (status, headers["content-length"], headers["cache-control"]) == (200, str(len(GIF)), "no-store")
    assert (await client.answer())[::2] == (200, b"ok\n")
    assert count(site.metrics, "open", "machine") == 1


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/c/x", 404), ("POST", "/healthz", 405)])
async def test_what_is_not_here_is_said(client: Client, method: str, path: str, status: int) -> None:
    client.send(method, path)

    assert (await client.answer())[0] == status


@pytest.mark.parametrize("path", [f"/o/{'a' * 100_000}.gif", f"/c/{'a' * 100_000}"])
async def test_oversize_head_is_refused(client: Client, path: str) -> None:
    client.send("GET", path)

    assert (await client.answer())[0] in (414, 431)


async def test_huge_agent_is_refused_and_a_large_one_served(client: Client) -> None:
    client.send("GET", f"/o/{TOKEN}.gif", agent="x" * 8_000)
    assert (await client.answer())[0] == 200

    client.send("GET", f"/o/{TOKEN}.gif", agent="x" * 100_000)
    assert (await client.answer())[0] in (400, 431)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_click_is_redirected_to_where_its_link_leads(client: Client, method: str) -> None:
    target = "https://shop.example.com/orders/7?a=1&b=2#top"
    client.send(method, f"/c/{click_token(target)}")
    status, headers, _ = await client.answer(body=method == "GET")

    assert (status, headers["location"], headers["cache-control"]) == (302, target, "no-store")


async def test_longest_target_is_redirected_to(client: Client) -> None:
    target = "https://shop.example.com/".ljust(MAX_TARGET_BYTES, "x")
    client.send("GET", f"/c/{click_token(target)}")

    assert (await client.answer())[1]["location"] == target


async def test_taken_port_is_an_error_at_once(site: Site) -> None:
    async with GranianServer("127.0.0.1", 0, None, QUICK).serve(site.handler) as port:
        with pytest.raises(PortInUse):
            async with GranianServer("127.0.0.1", port, None, QUICK).serve(site.handler):
                pass


async def test_ping_tells_whether_it_serves(site: Site) -> None:
    server = GranianServer("127.0.0.1", 0, None, QUICK)
    with pytest.raises(HttpStopped):
        await server.ping()
    async with server.serve(site.handler):
        await server.ping()
    with pytest.raises(HttpStopped):
        await server.ping()


async def test_stop_finishes_the_request_being_answered_and_refuses_new_ones() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Reply:
        entered.set()
        await release.wait()
        return Reply(200, body=b"done")

    server = GranianServer("127.0.0.1", 0, None, Limits()).serve(slow)
    port = await server.__aenter__()
    client = await Client.connect(port)
    client.send("GET", "/slow")
    await entered.wait()

    leaving = asyncio.create_task(server.__aexit__(None, None, None))
    await _until_refused(port)
    release.set()

    assert (await client.answer())[::2] == (200, b"done")
    async with asyncio.timeout(2):
        await leaving
    await client.close()


async def test_stop_does_not_wait_for_idle_half_sent_or_hanging_requests(caplog: pytest.LogCaptureFixture) -> None:
    entered = asyncio.Event()

    async def hang(request: Request) -> Reply:
        if request.path == "/hang":
            entered.set()
            await asyncio.Event().wait()
        return Reply(200)

    server = GranianServer("127.0.0.1", 0, None, QUICK).serve(hang)
    port = await server.__aenter__()
    idle, kept, half, hanging = [await Client.connect(port) for _ in range(4)]
    kept.send("GET", "/")
    await kept.answer()
    half.send_raw(b"GET / HTT")
    hanging.send("GET", "/hang")
    await entered.wait()

    async with asyncio.timeout(10):
        await server.__aexit__(None, None, None)

    assert caplog.records == []
    assert (await hanging.answer())[0] == 503
    assert await idle.rest() == await kept.rest() == b""
    for client in (idle, kept, half, hanging):
        await client.close()


async def test_tls_is_served_where_files_are_given(site: Site, tmp_path: Path) -> None:
    Authority.create(tmp_path / "ca").issue("tracker")
    tls = TlsFiles.in_dir(tmp_path / "ca" / "tracker")
    async with GranianServer("127.0.0.1", 0, tls, QUICK).serve(site.handler) as port:
        context = tls.client_context()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        client = Client(reader, writer)
        client.send("GET", f"/o/{TOKEN}.gif")

        assert (await client.answer())[::2] == (200, GIF)
        await client.close()


async def _until_refused(port: int) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0)
