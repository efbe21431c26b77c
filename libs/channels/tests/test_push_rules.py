"""What a push content may get wrong at the edge: each fault by its field."""

from collections.abc import Sequence

import pytest

from clarion.types.v1.content_pb2 import (
    AndroidOptions,
    IosOptions,
    PushAction,
    PushContent,
    PushOverride,
    WebOptions,
)
from clarion_channels.push.ios import OWN_APS_KEYS, TOPIC_SUFFIX
from clarion_channels.push.rules import check_push, check_structure
from clarion_kit.errors import DomainError
from clarion_kit.validate import Faults


def faulty(push: PushContent) -> Sequence[str]:
    faults = Faults()
    check_push(push, faults)
    try:
        faults.raise_if_any()
    except DomainError as refused:
        return [fault.field for fault in refused.fields]
    return []


def ios(title: str = "t", **options: object) -> PushContent:
    return PushContent(title=title, ios=IosOptions(**options))  # type: ignore[arg-type]  # by name, per case


def android(**options: object) -> PushContent:
    return PushContent(title="t", android=AndroidOptions(**options))  # type: ignore[arg-type]  # by name, per case


def web(**options: object) -> PushContent:
    return PushContent(title="t", web=WebOptions(**options))  # type: ignore[arg-type]  # by name, per case


def actions(*given: PushAction) -> PushContent:
    return PushContent(title="t", actions=given)


LIVE = {"push_type": "liveactivity"}
LONG_URL = "https://example.com/" + "x" * 2_048


@pytest.mark.parametrize(
    ("push", "field"),
    [
        (PushContent(), "title"),
        (PushContent(title="x" * 513), "title"),
        (PushContent(title="a\nb"), "title"),
        (PushContent(body="x" * 3_073), "body"),
        (PushContent(title="t", image_url="http://example.com/a.png"), "image_url"),
        (PushContent(title="t", image_url=LONG_URL), "image_url"),
        (PushContent(title="t", link=LONG_URL), "link"),
        (PushContent(title="t", link="/orders/7"), "link"),
        (PushContent(title="t", link="http://example.com"), "link"),
        (PushContent(title="t", link="javascript:alert(1)"), "link"),
        (PushContent(title="t", link="JavaScript:alert(1)"), "link"),
        (PushContent(title="t", link="shop://a b"), "link"),
        (PushContent(title="t", data={"from": "x"}), "data"),
        (PushContent(title="t", data={"aps": "x"}), "data"),
        (PushContent(title="t", data={"google.x": "x"}), "data"),
        (PushContent(title="t", data={"clarion_link": "x"}), "data"),
        (PushContent(title="t", data={str(n): "" for n in range(33)}), "data"),
        (PushContent(title="t", data={"k": "x" * 3_073}), "data"),
        (actions(*(PushAction(id=str(n), title="t") for n in range(4))), "actions"),
        (actions(PushAction(id="a", title="x"), PushAction(id="a", title="y")), "actions"),
        (actions(PushAction(title="x")), "actions[0].id"),
        (actions(PushAction(id="a")), "actions[0].title"),
        (actions(PushAction(id="x" * 65, title="x")), "actions[0].id"),
        (actions(PushAction(id="a", title="x" * 65)), "actions[0].title"),
        (actions(PushAction(id="a", title="x", link="data:text/html,x")), "actions[0].link"),
        (actions(PushAction(id="a", title="x", icon_url="http://a/b")), "actions[0].icon_url"),
        (ios(subtitle="x" * 513), "ios.subtitle"),
        (ios(sound="x" * 257), "ios.sound"),
        (ios(thread_id="a\0"), "ios.thread_id"),
        (ios(category="a\nb"), "ios.category"),
        (ios(push_type="carrier-pigeon"), "ios.push_type"),
        (ios(interruption_level="loud"), "ios.interruption_level"),
        (ios(relevance_score=1.1), "ios.relevance_score"),
        (ios(relevance_score=float("nan")), "ios.relevance_score"),
        (ios(push_type="background"), "ios.push_type"),
        (ios("", push_type="background", sound="default"), "ios.push_type"),
        (ios("", push_type="background", badge=0), "ios.push_type"),
        (ios("", push_type="background", subtitle="x"), "ios.push_type"),
        (ios(aps={"n": float("inf")}), "ios.aps"),
        (ios(aps={"x": "y" * 4_096}), "ios.aps"),
        (ios(**LIVE), "ios.aps.event"),
        (ios(**LIVE, aps={"event": "pause"}), "ios.aps.event"),
        (ios(**LIVE, aps={"event": "update"}), "ios.aps.content-state"),
        (ios(**LIVE, aps={"event": "end", "timestamp": "now"}), "ios.aps.timestamp"),
        (ios(override=PushOverride(title="x" * 513)), "ios.override.title"),
        (ios(override=PushOverride(link="http://a")), "ios.override.link"),
        (android(color="red"), "android.color"),
        (android(visibility="loud"), "android.visibility"),
        (android(notification_count=1 << 31), "android.notification_count"),
        (android(click_action="x" * 257), "android.click_action"),
        (android(channel_id="a\0"), "android.channel_id"),
        (android(override=PushOverride(body="x" * 3_073)), "android.override.body"),
        (web(renotify=True), "web.renotify"),
        (web(icon_url="http://a/b"), "web.icon_url"),
        (web(badge_url="ftp://a/b"), "web.badge_url"),
        (web(tag="x" * 257), "web.tag"),
        (web(override=PushOverride(image_url="http://a/b")), "web.override.image_url"),
    ],
)
def test_fault_is_named_by_its_field(push: PushContent, field: str) -> None:
    assert faulty(push) == [field]


@pytest.mark.parametrize("key", sorted(OWN_APS_KEYS))
def test_key_that_a_field_sets_is_refused(key: str) -> None:
    assert faulty(ios(aps={key: 1})) == [f"ios.aps.{key}"]


def test_live_activity_that_starts_needs_its_attributes() -> None:
    push = ios(**LIVE, aps={"event": "start"})
    assert faulty(push) == ["ios.aps.content-state", "ios.aps.attributes-type", "ios.aps.attributes"]


@pytest.mark.parametrize(
    "push",
    [
        PushContent(body="x", link="shop://orders/7"),
        PushContent(body="a\nb", link="com.example.shop:orders", image_url="https://example.com/a.png"),
        PushContent(data={"k": "v"}, android=AndroidOptions(data_only=True)),
        PushContent(ios=IosOptions(content_available=True)),
        ios("", push_type="background"),
        ios(**LIVE, aps={"event": "update", "content-state": {"minutes": 7}}),
        ios(aps={"target-content-id": "x"}, relevance_score=0, override=PushOverride(body="y")),
        android(color="#a1B2c3", visibility="secret", notification_count=0, sticky=True),
        web(renotify=True, tag="t", silent=True),
        actions(*(PushAction(id=str(n), title="t", link="https://example.com") for n in range(3))),
    ],
)
def test_what_is_right_is_taken(push: PushContent) -> None:
    assert faulty(push) == []


@pytest.mark.parametrize("push_type", sorted(TOPIC_SUFFIX.keys() - {"alert", "liveactivity"}))
def test_push_types_that_show_nothing_need_no_words(push_type: str) -> None:
    assert faulty(ios("", push_type=push_type)) == []


def test_structure_says_nothing_of_texts_that_are_still_to_be_rendered() -> None:
    faults = Faults()
    check_structure(
        PushContent(title="{{ x }}" * 500, link="{{ link }}", android=AndroidOptions(color="{{ c }}")), faults
    )
    assert not faults.found
