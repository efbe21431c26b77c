"""What the inbox page is served: files, lists, messages, mail frames, and within what bounds."""

import asyncio
import json
from typing import Any

import pytest
from pyreqwest.client import Client
from pyreqwest.response import Response

from clarion_sandbox.inbox.catalogue import Catalogue, Filter
from clarion_sandbox.inbox.waiting import MAX_WAITERS, Arrivals, TooManyWaiters
from clarion_sandbox.ledger import Ledger
from clarion_sandbox.server import Sandbox

from . import inbox_samples as samples

LIMIT_SECONDS = 5


async def get(http: Client, sandbox: Sandbox, path: str) -> Response:
    return await http.get(f"/inbox/api/{path}").bearer_auth(sandbox.credentials.api_token).build().send()


async def listed(http: Client, sandbox: Sandbox, query: str = "") -> Any:
    response = await get(http, sandbox, f"messages?{query}")
    assert response.status == 200
    return await response.json()


def numbers(page: Any) -> list[int]:
    return [message["n"] for message in page["messages"]]


async def test_page_is_served_with_a_policy_that_allows_only_its_own_files(http: Client) -> None:
    for path, kind in (("", "text/html"), ("inbox.css", "text/css"), ("feed.js", "text/javascript")):
        response = await http.get(f"/inbox/{path}").build().send()
        assert (response.status, response.headers["content-type"].split(";")[0]) == (200, kind)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
    redirect = await http.get("/inbox").build().send()
    assert (redirect.status, redirect.headers["location"]) == (308, "/inbox/")


async def test_page_has_no_inline_code_and_nothing_from_elsewhere(http: Client) -> None:
    index = await (await http.get("/inbox/").build().send()).text()
    assert "style=" not in index
    assert "onclick" not in index
    assert "//" not in index.replace("<!doctype", "")


async def test_messages_need_the_token_and_nothing_can_be_written(sandbox: Sandbox, http: Client) -> None:
    samples.sms(sandbox.ledger, "secret")
    for path in ("messages", "messages/1", "census", "nothing"):
        assert (await http.get(f"/inbox/api/{path}").bearer_auth("wrong").build().send()).status == 401
        assert (await http.get(f"/inbox/api/{path}").build().send()).status == 401
    assert (await http.post("/inbox/api/messages").build().send()).status == 405
    assert (await get(http, sandbox, "nothing")).status == 404


async def test_list_is_newest_first_and_paged(sandbox: Sandbox, http: Client) -> None:
    for number in range(1, 8):
        samples.sms(sandbox.ledger, f"text {number}")
    first = await listed(http, sandbox, "limit=3")
    assert (numbers(first), first["more"], first["newest"]) == ([7, 6, 5], True, 7)
    assert numbers(await listed(http, sandbox, "limit=3&before=5")) == [4, 3, 2]
    assert numbers(await listed(http, sandbox, "after=5")) == [7, 6]
    exact = await listed(http, sandbox, "limit=7")
    assert (len(exact["messages"]), exact["more"]) == (7, False)


async def test_filters_narrow_by_channel_app_and_every_word(sandbox: Sandbox, http: Client) -> None:
    samples.fill(sandbox.ledger)
    assert {one["provider"] for one in (await listed(http, sandbox, "channel=mail"))["messages"]} == {
        "smtp",
        "ses",
        "sendgrid",
    }
    assert len((await listed(http, sandbox, f"app={samples.BANK}"))["messages"]) == 1
    assert [one["title"] for one in (await listed(http, sandbox, "q=SOFA+lamps"))["messages"]] == ["New for you"]
    assert (await listed(http, sandbox, "q=lamps+parcel"))["messages"] == []


async def test_census_counts_channels_and_apps(sandbox: Sandbox, http: Client) -> None:
    samples.fill(sandbox.ledger)
    sandbox.ledger.refuse("apns", answer="410 Unregistered")
    census = await (await get(http, sandbox, "census")).json()
    assert census["channels"] == {"ios": 7, "android": 5, "browser": 2, "sms": 4, "mail": 4}
    assert {"channel": "ios", "app": samples.BANK, "count": 1} in census["apps"]


async def test_text_is_shown_with_its_segments(sandbox: Sandbox, http: Client) -> None:
    samples.sms(sandbox.ledger, "one two", segment_units="4,3")
    shown = await (await get(http, sandbox, "messages/1")).json()
    assert (shown["segments"], shown["source"], shown["size"]) == (["one ", "two"], "one two", 7)
    for path in ("messages/2", "messages/x", f"messages/{'9' * 5_000}"):
        assert (await get(http, sandbox, path)).status == 404


async def test_html_of_a_mail_opens_only_by_its_own_path_and_without_powers(sandbox: Sandbox, http: Client) -> None:
    samples.mail(sandbox.ledger, samples.mail_bytes("a", "text", "<p>first</p>"))
    samples.mail(sandbox.ledger, samples.mail_bytes("b", "text", "<p>second</p>"))
    shown = await (await get(http, sandbox, "messages/1")).json()
    response = await http.get(shown["html_path"]).build().send()
    assert "<p>first</p>" in await response.text()
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert policy.endswith("; sandbox")
    for path in (shown["html_path"].replace("/mail/1/", "/mail/2/"), "/inbox/mail/1/", "/inbox/mail/1/é"):
        assert (await http.get(path).build().send()).status == 404


@pytest.mark.parametrize(
    "query",
    [
        "limit=201",
        "limit=0",
        "wait=21",
        "after=-1",
        "before=x",
        f"q={'a' * 201}",
        "colour=red",
        "&".join("abcdefghijkl"),
    ],
)
async def test_queries_out_of_bounds_are_refused(sandbox: Sandbox, http: Client, query: str) -> None:
    response = await get(http, sandbox, f"messages?{query}")
    assert (response.status, "error" in await response.json()) == (400, True)


async def test_waiting_request_is_answered_by_the_next_message(sandbox: Sandbox, http: Client) -> None:
    samples.sms(sandbox.ledger, "old")
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        waiting = group.create_task(listed(http, sandbox, "after=1&wait=20"))
        await asyncio.sleep(0)
        samples.sms(sandbox.ledger, "new")
    assert numbers(waiting.result()) == [2]


async def test_waiting_request_ends_after_its_time_or_when_the_sandbox_stops(sandbox: Sandbox, http: Client) -> None:
    assert (await listed(http, sandbox, "after=0&wait=0.01"))["messages"] == []
    arrivals = Arrivals(lambda: 0)
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(arrivals.beyond(0, 20))
        await asyncio.sleep(0)
        arrivals.close()


async def test_only_so_many_requests_may_wait() -> None:
    arrivals = Arrivals(lambda: 0)
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        for _ in range(MAX_WAITERS):
            group.create_task(arrivals.beyond(0, 20))
        await asyncio.sleep(0)
        with pytest.raises(TooManyWaiters):
            await arrivals.beyond(0, 20)
        arrivals.close()
    await arrivals.beyond(0, 20)


async def test_ledger_that_began_afresh_answers_at_once(sandbox: Sandbox, http: Client) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        assert (await listed(http, sandbox, "after=900&wait=20"))["newest"] == 0


async def test_summaries_are_forgotten_with_their_messages(tmp_path: Any) -> None:
    ledger = Ledger(tmp_path / "ledger.ndjson", keep=10)
    catalogue = Catalogue(ledger)
    for _ in range(30):
        samples.sms(ledger, "text")
        await catalogue.newest(Filter(), after=0, before=1 << 53, limit=50)
    assert len(catalogue) == 10
    found, more = await catalogue.newest(Filter(), after=0, before=1 << 53, limit=50)
    assert ([summary.n for summary in found], more) == (list(range(30, 20, -1)), False)
    ledger.close()


async def test_half_a_surrogate_pair_reaches_the_page(sandbox: Sandbox, http: Client) -> None:
    samples.fill_with_hostile(sandbox.ledger)
    response = await get(http, sandbox, "messages")
    assert json.loads(await response.text())["messages"][-2]["body"] == "\ud800 half a character"
