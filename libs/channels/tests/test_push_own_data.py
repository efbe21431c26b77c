"""What of ours travels in the data of pushes: the token of their events, and links that tell of clicks in browsers."""

import json
from uuid import UUID

import pytest

from clarion.internal.content.v1.rendered_pb2 import LinkSigner
from clarion.types.v1.content_pb2 import PushAction, PushContent, PushOverride, WebOptions
from clarion_channels.clicks import Clicks
from clarion_channels.push import android, ios, size
from clarion_channels.push.web import build_plaintext
from clarion_kit.links import ClickLink, OpenLink, click_key, packed, verify_click
from clarion_kit.vocabulary import Channel

KEY = bytes(range(32))
BASE = "https://t.example.com"
ID = UUID(int=5)
TOKEN = "t" * 64
DELIVERY = OpenLink(7, ID, 3, 12, "", Channel.WEB)
CLICKS = Clicks(LinkSigner(base_url=BASE, delivery=packed(DELIVERY), key=click_key(KEY, packed(DELIVERY))))
PUSH = PushContent(title="t", link="https://a.example/?a=1&b=2")


def told(url: str) -> ClickLink | None:
    return verify_click(KEY, url.removeprefix(f"{BASE}/c/"))


def test_token_is_in_the_data_of_every_platform() -> None:
    on_ios = ios.payload_of(PUSH, "alert", ID, TOKEN)
    on_android = android.data_of(PUSH, str(ID), TOKEN)
    in_browsers = json.loads(build_plaintext(PUSH, str(ID), TOKEN))["options"]["data"]

    assert {on_ios["clarion_event_token"], on_android["clarion_event_token"], in_browsers["clarion_event_token"]} == {
        TOKEN
    }


def test_without_a_token_there_is_no_key_for_it() -> None:
    assert "clarion_event_token" not in ios.payload_of(PUSH, "alert", ID)
    assert "clarion_event_token" not in android.data_of(PUSH, str(ID))
    assert "clarion_event_token" not in json.loads(build_plaintext(PUSH, str(ID)))["options"]["data"]


def test_links_and_buttons_in_browsers_tell_of_clicks() -> None:
    push = PushContent(
        title="t",
        link="https://a.example/",
        actions=[
            PushAction(id="one", title="1", link="shop://orders"),
            PushAction(id="two", title="2", link="https://b.example/"),
            PushAction(id="three", title="3"),
        ],
    )

    data = json.loads(build_plaintext(push, str(ID), TOKEN, CLICKS))["options"]["data"]

    assert told(data["clarion_link"]) == ClickLink(DELIVERY, 0, "https://a.example/")
    assert data["clarion_action_links"]["one"] == "shop://orders"
    assert told(data["clarion_action_links"]["two"]) == ClickLink(DELIVERY, 2, "https://b.example/")
    assert "three" not in data["clarion_action_links"]


def test_link_that_browsers_alone_show_is_the_one_that_tells() -> None:
    push = PushContent(title="t", link="shop://x", web=WebOptions(override=PushOverride(link="https://w.example/")))

    data = json.loads(build_plaintext(push, str(ID), "", CLICKS))["options"]["data"]

    assert told(data["clarion_link"]) == ClickLink(DELIVERY, 0, "https://w.example/")


@pytest.mark.parametrize("link", ["shop://x", f"{BASE}/p/token", "https://a.example/ü"])
def test_link_that_cannot_tell_is_left_alone(link: str) -> None:
    push = PushContent(title="t", link=link)

    assert json.loads(build_plaintext(push, str(ID), "", CLICKS))["options"]["data"]["clarion_link"] == link


@pytest.mark.parametrize("kind", ["apns", "fcm", "webpush"])
def test_what_is_ours_counts_against_the_providers_limit(kind: str) -> None:
    plain, _ = size.measured(kind, PUSH, ID)
    whole, _ = size.measured(kind, PUSH, ID, TOKEN, CLICKS)

    assert whole >= plain + len(TOKEN)
