"""The console's door: who gets in, what they see, what they cannot make it do."""

from datetime import timedelta
from html import unescape
from uuid import UUID

import pytest

from clarion_tracker.console.facts import Span
from clarion_tracker.console.session import COOKIE, Session

from .console_samples import (
    APP_KEY,
    NOTIFICATION,
    NOW,
    OURS,
    SECRET,
    TOKEN,
    TRACE,
    ConsoleWorld,
    found,
    one_of_each,
)
from .tracker_samples import count

LOGIN = {"key": APP_KEY, "secret": SECRET}
PAGES = ("/console", "/console/", "/console/search", f"/console/n/{NOTIFICATION}", "/console/nothing")


async def test_log_in_starts_a_session_that_opens_the_overview() -> None:
    world = ConsoleWorld()

    reply = await world.post("/console/login", LOGIN)

    assert (reply.status, reply.headers["location"]) == (303, "/console")
    value, *attributes = reply.headers["set-cookie"].split("; ")
    assert attributes == ["Path=/console", "Max-Age=900", "HttpOnly", "SameSite=Strict", "Secure"]
    assert TOKEN not in value
    assert (await world.get("/console", cookie=value)).status == 200


@pytest.mark.parametrize(
    "form", [{"key": APP_KEY, "secret": "wrong"}, {"key": "", "secret": ""}, {"secret": SECRET}, {}]
)
async def test_wrong_key_or_secret_gets_one_answer_and_no_cookie(form: dict[str, str]) -> None:
    world = ConsoleWorld()

    reply = await world.post("/console/login", form)

    assert reply.status == 403
    assert "set-cookie" not in reply.headers
    assert b"That key and secret do not open this page." in reply.body
    assert count(world.metrics, "console", "refused") == 1


@pytest.mark.parametrize("path", PAGES)
async def test_nobody_sees_anything_without_a_session(path: str) -> None:
    world = ConsoleWorld()

    for cookie in ("", f"{COOKIE}=", f"{COOKIE}=AAAA", f"{COOKIE}=%00", f"other={world.cookie}"):
        reply = await world.get(path, cookie=cookie)
        assert (reply.status, reply.headers["location"], reply.body) == (303, "/console/login", b"")


async def test_revoked_key_is_out_at_once_and_a_session_ends_by_itself() -> None:
    world = ConsoleWorld()
    ended = world.sessions.cookie(Session(TOKEN, NOW - timedelta(seconds=1)), NOW).partition(";")[0]

    assert (await world.get("/console", cookie=ended)).status == 303
    world.revoked = True
    assert (await world.get("/console")).status == 303


@pytest.mark.parametrize("position", range(0, 80, 7))
async def test_cookie_with_a_flipped_bit_is_no_session(position: int) -> None:
    world = ConsoleWorld()
    name, _, value = world.cookie.partition("=")
    other = "B" if value[position] == "A" else "A"

    reply = await world.get("/console", cookie=f"{name}={value[:position]}{other}{value[position + 1 :]}")

    assert reply.status == 303


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "https://t.example", "host": "t.example"},
        {"origin": "https://evil.example", "host": "t.example"},
        {"origin": "null", "host": "t.example"},
        {"origin": "https://t.example"},
        {"origin": "https://t.example.evil.example", "host": "t.example"},
    ],
)
async def test_form_of_another_site_logs_nobody_in_or_out(headers: dict[str, str]) -> None:
    world = ConsoleWorld()

    for path in ("/console/login", "/console/logout"):
        reply = await world.post(path, LOGIN, headers)
        assert reply.status == 403
        assert "set-cookie" not in reply.headers
    assert world.logins == []


@pytest.mark.parametrize(
    "headers", [OURS, {"sec-fetch-site": "none"}, {"origin": "https://t.example:8443", "host": "T.example:8443"}]
)
async def test_form_of_this_site_counts(headers: dict[str, str]) -> None:
    assert (await ConsoleWorld().post("/console/login", LOGIN, headers)).status == 303


async def test_log_out_makes_the_browser_forget() -> None:
    reply = await ConsoleWorld().post("/console/logout")

    assert (reply.status, reply.headers["location"]) == (303, "/console/login")
    assert reply.headers["set-cookie"].startswith(f"{COOKIE}=; Path=/console; Max-Age=0; HttpOnly")
    assert (await ConsoleWorld().get("/console/logout")).status == 405


async def test_eleventh_try_in_a_row_waits_and_asks_nobody() -> None:
    world = ConsoleWorld()

    statuses = [(await world.post("/console/login", {"key": "k", "secret": "s"})).status for _ in range(12)]

    assert statuses == [403] * 10 + [429] * 2
    assert len(world.logins) == 10


async def test_form_that_is_too_large_or_none_is_refused() -> None:
    world = ConsoleWorld()

    assert (await world.post("/console/login", {"key": "k" * 3_000})).status == 413
    assert (await world.post("/console/login", LOGIN, {**OURS, "content-type": "application/json"})).status == 403


async def test_gateway_away_is_said_and_lets_nobody_in() -> None:
    world = ConsoleWorld()
    world.away = True

    for reply in (await world.get("/console"), await world.post("/console/login", LOGIN)):
        assert reply.status == 503
        assert b"try again" in reply.body
        assert "set-cookie" not in reply.headers


async def test_session_without_tls_is_for_loopback_and_says_so() -> None:
    reply = await ConsoleWorld(secure=False).post("/console/login", LOGIN)

    assert "Secure" not in reply.headers["set-cookie"]


@pytest.mark.parametrize("path", ["/console", "/console/login", "/console/console.css", "/console/live.js"])
async def test_every_answer_is_read_only_and_has_a_strict_policy(path: str) -> None:
    world = ConsoleWorld()

    reply = await world.get(path)

    policy = reply.headers["content-security-policy"]
    assert reply.status == 200
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert b"<style" not in reply.body
    assert b" style=" not in reply.body
    assert b"onclick" not in reply.body
    for method in ("PUT", "DELETE", "PATCH"):
        assert (await world.get(path, method=method)).status == 405


async def test_overview_shows_funnel_queues_and_stopped_accounts() -> None:
    world = ConsoleWorld()

    hour, day = await world.get("/console"), await world.get("/console", query="span=day")

    text = hour.body.decode()
    for expected in (
        "208,377",
        "9,118",
        "dispatch sms",
        "10,797",
        "21 min 24 s",
        "due in 30 min 30 s",
        "stopped: breaker",
        "BR 35%",
    ):
        assert expected in text
    assert day.status == 200
    assert world.spans == [Span.HOUR, Span.DAY]


async def test_search_goes_to_what_it_finds_or_lists_it() -> None:
    world = ConsoleWorld()

    none = await world.get("/console/search", query="q=nobody&app=shop")
    world.finds = [found()]
    one = await world.get("/console/search", query="q=+order-1001-shipped+")
    world.finds = [found(), found(UUID(int=5), event_id="<script>alert(1)</script>")]
    two = await world.get("/console/search", query="q=u1")

    assert b"Nothing for" in none.body
    assert (one.status, one.headers["location"]) == (303, f"/console/n/{NOTIFICATION}")
    assert f'href="/console/n/{UUID(int=5)}"'.encode() in two.body
    assert b"<script>alert" not in two.body
    assert world.searched == [("nobody", "shop"), ("order-1001-shipped", ""), ("u1", "")]


@pytest.mark.parametrize("query", ["", "q=", "q=%00", "q=" + "x" * 257, "q=%ff%fe&q=2&" + "&".join(["a=1"] * 8)])
async def test_search_for_nothing_or_too_much_asks_nobody(query: str) -> None:
    world = ConsoleWorld()

    reply = await world.get("/console/search", query=query)

    assert reply.status in (200, 303)
    assert all(len(text) <= 256 and "\0" not in text for text, _ in world.searched)


async def test_hostile_query_is_shown_as_text() -> None:
    reply = await ConsoleWorld().get("/console/search", query="q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")

    assert b"<script>alert" not in reply.body


@pytest.mark.parametrize(
    "path", ["/console/n/" + "0" * 32, "/console/n/" + "-" * 36, "/console/n/x", "/console/../etc"]
)
async def test_what_is_not_there_is_404(path: str) -> None:
    assert (await ConsoleWorld().get(path)).status == 404


async def test_timeline_shows_each_delivery_and_the_way_to_the_trace() -> None:
    reply = await ConsoleWorld().get(f"/console/n/{NOTIFICATION}")

    text = unescape(reply.body.decode())
    assert text.count("<article") == 6
    assert f'href="https://jaeger.example/trace/{TRACE}"' in text
    for expected in (
        "address dead",
        "attempt 3",
        "lane stopped: breaker",
        "category marketing: 10 in 1 day",
        "+2 h 7 min",
    ):
        assert expected in text


async def test_code_that_quotes_an_address_is_shown_without_it() -> None:
    facts = one_of_each()
    hostile = facts.deliveries[0].events[0]
    object.__setattr__(hostile, "code", "550 <jane.doe@example.com> +82 10-1234-5678 unknown")
    reply = await ConsoleWorld(facts=facts).get(f"/console/n/{NOTIFICATION}")

    assert b"example.com" not in reply.body
    assert b"1234" not in reply.body.split(b"550")[1].split(b"</code>")[0]
