"""The shipped recipients: built from a seed, mixed as promised, accepted by the contract."""

import json
import re
from collections import Counter
from collections.abc import Mapping

import phonenumbers
import pytest

from clarion.recipient.v1.recipient_service_pb2 import Recipient
from clarion.types.v1.channel_pb2 import Channel
from clarion_client import JsonValue
from clarion_local.demo.dataset import recipients, sandbox_browsers, shipped_lines
from clarion_local.demo.dataset.build import lines
from clarion_local.demo.dataset.markets import MARKETS
from clarion_sandbox import magic

# The public point of the private key 1 on P-256.
VAPID_KEY = "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"


@pytest.fixture(scope="module")
def people() -> list[Recipient]:
    return list(recipients(shipped_lines(), lambda seed: {"endpoint": f"https://push.test/{seed}"}))


def share(part: int, whole: int) -> float:
    return part / whole


def test_shipped_file_is_what_the_script_builds() -> None:
    assert shipped_lines() == list(lines())


def test_another_seed_builds_other_people() -> None:
    assert shipped_lines() != list(lines(seed=1))


def test_every_recipient_has_an_id_of_its_own_a_language_a_zone_and_a_country(people: list[Recipient]) -> None:
    assert len({person.recipient_id for person in people}) == len(people) >= 2_000
    assert all(person.locale and person.time_zone and person.country for person in people)


def test_countries_are_those_of_the_markets(people: list[Recipient]) -> None:
    assert Counter(person.country for person in people) == {market.country: market.customers for market in MARKETS}
    assert {"KR", "CN", "JP", "US", "DE", "FR", "ES", "SE"} <= {person.country for person in people}


def test_every_channel_is_used_by_hundreds_and_some_people_have_no_address(people: list[Recipient]) -> None:
    kinds = Counter(address.WhichOneof("kind") for person in people for address in person.addresses)
    assert set(kinds) == {"ios", "android", "web", "sms", "email"}
    assert min(kinds.values()) > 500
    assert 20 < sum(not person.addresses for person in people) < 300
    devices = Counter(
        sum(address.WhichOneof("kind") in ("ios", "android", "web") for address in person.addresses)
        for person in people
    )
    assert set(devices) == {0, 1, 2, 3}


def test_no_two_people_share_an_address(people: list[Recipient]) -> None:
    addresses = Counter(
        (
            address.ios.token or address.android.token or address.web.endpoint or address.sms.e164,
            address.email.address,
        )
        for person in people
        for address in person.addresses
    )
    assert max(addresses.values()) == 1


def test_many_refuse_promotions_some_a_channel_and_a_few_everything(people: list[Recipient]) -> None:
    refusing = sum(
        any(c.category == "marketing" and not c.channel and not c.enabled for c in person.wishes.categories)
        for person in people
    )
    assert 0.28 < share(refusing, len(people)) < 0.40
    assert 0.08 < share(sum(bool(person.wishes.channels_off) for person in people), len(people)) < 0.16
    assert 0.015 < share(sum(person.wishes.opted_out for person in people), len(people)) < 0.05
    off = {channel for person in people for channel in person.wishes.channels_off}
    assert off == set(Channel.values()) - {0}


def test_a_few_percent_of_every_kind_of_address_are_in_trouble() -> None:
    asked: dict[str, Counter[bool]] = {kind: Counter() for kind in ("ios", "android", "web", "sms", "email")}
    for line in shipped_lines():
        for address in json.loads(line)["addresses"]:
            kind, found = trouble(address)
            asked[kind][found is not None] += 1
    shares = {kind: share(counts[True], counts.total()) for kind, counts in asked.items()}
    assert all(0.03 < part < 0.15 for part in shares.values()), shares


def test_no_trouble_refuses_the_sender_or_leaves_a_message_without_an_answer() -> None:
    """Such an answer would stop a lane, or make duplicates that nobody could tell from a defect."""
    found = [trouble(address)[1] for line in shipped_lines() for address in json.loads(line)["addresses"]]
    codes = {one.code for one in found if one is not None}
    assert codes
    assert not [code for code in codes if re.match(r"000|401|403[1-9]|9\d\d$|hang|lost|cut|53|.*-5\.7", code)]


def test_phone_numbers_are_well_formed_and_from_ranges_nobody_has(people: list[Recipient]) -> None:
    kept_free = re.compile(
        r"\+8210[1]\d{7}|\+821[16-9][2-9]999\d{4}|\+1\d{3}55501\d\d|\+4917139200\d\d|\+49176040690\d\d|\+467017406\d\d"
    )
    numbers = [address.sms.e164 for person in people for address in person.addresses if address.HasField("sms")]
    assert [number for number in numbers if not kept_free.fullmatch(number)] == []
    assert [number for number in numbers if not phonenumbers.is_valid_number(phonenumbers.parse(number))] == []


def test_a_seed_becomes_a_subscription_to_the_running_sandbox() -> None:
    line = '{"recipient_id": "a", "addresses": [{"web_seed": "seed-1"}]}'

    [person] = recipients([line], sandbox_browsers(VAPID_KEY, "https://127.0.0.1:8443"))

    web = person.addresses[0].web
    assert web.endpoint.startswith("https://127.0.0.1:8443/wp/seed-1.")
    assert web.p256dh
    assert web.auth


@pytest.mark.parametrize("line", ["no json", "[]", '{"recipient": "a"}', '{"addresses": [{"fax": {}}]}'])
def test_a_line_that_is_no_recipient_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2:"):
        list(recipients(['{"recipient_id": "a"}', line], lambda seed: {}))


def trouble(address: Mapping[str, JsonValue]) -> tuple[str, magic.Magic | None]:
    """The kind of an address, and what the sandbox reads from it."""
    match dict(address):
        case {"ios": {"token": str(token)}}:
            return "ios", magic.of_token(token)
        case {"android": {"token": str(token)}}:
            return "android", magic.of_token(token)
        case {"web_seed": str(seed)}:
            return "web", magic.of_token(seed)
        case {"sms": {"e164": str(number)}}:
            return "sms", magic.of_number(number)
        case {"email": {"address": str(mailbox)}}:
            return "email", magic.of_mailbox(mailbox)
    raise AssertionError(address)
