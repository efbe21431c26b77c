"""Builds the shop's recipients, the same at every run: `python -m clarion_local.demo.dataset.build` rewrites the file."""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from clarion_client import JsonValue
from clarion_local.demo.dataset import FILE_NAME, WEB_SEED
from clarion_local.demo.dataset.contacts import BUNDLE_ID, Contacts, Trouble
from clarion_local.demo.dataset.markets import MARKETS, Market

SEED = 20_260_101
_NO_ADDRESS = 0.02
_PHONE = 0.75
_MAIL = 0.85
_DEVICE_COUNTS = (0, 1, 2, 3)
_DEVICE_WEIGHTS = (10, 45, 33, 12)
_HUAWEI = 0.1
"""Of Android devices in China: they have tokens of Huawei's."""
_TROUBLES = (Trouble.NONE, Trouble.DEAD, Trouble.BAD, Trouble.FLAKY, Trouble.BROKEN, Trouble.UNDELIVERED)
_DEVICE_TROUBLE = (90.3, 4.0, 1.5, 4.0, 0.2, 0.0)
_PHONE_TROUBLE = (85.0, 4.0, 2.0, 4.0, 0.5, 4.5)
_OPTED_OUT = 0.03
_CHANNEL_OFF = 0.12
_PROMOTION_OFF = 0.35
_PROMOTION_OFF_ON_A_CHANNEL = 0.1
_ORDERS_WITHOUT_SMS = 0.05
_CHANNELS = ("CHANNEL_IOS", "CHANNEL_ANDROID", "CHANNEL_WEB", "CHANNEL_SMS", "CHANNEL_EMAIL")

Document = dict[str, JsonValue]


def lines(seed: int = SEED) -> Iterator[str]:
    """One line of JSON for each recipient, customers of all markets mixed."""
    random = Random(seed)
    people = [(market, number) for market in MARKETS for number in range(1, market.customers + 1)]
    random.shuffle(people)
    contacts = Contacts(random)
    for market, number in people:
        yield json.dumps(_recipient(market, number, random, contacts), ensure_ascii=False, separators=(",", ":"))


def compressed(text: str) -> bytes:
    """gzip without a time stamp, so that only a new content makes a new file."""
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def main() -> None:
    """Write the file beside this module."""
    path = Path(__file__).parent / FILE_NAME
    text = "".join(f"{line}\n" for line in lines())
    path.write_bytes(compressed(text))
    sys.stdout.write(f"{path.name}: {text.count(chr(10))} recipients, {path.stat().st_size} bytes\n")


def _recipient(market: Market, number: int, random: Random, contacts: Contacts) -> Document:
    document: Document = {
        "recipient_id": f"{market.country.lower()}-{number:05}",
        "locale": market.locale,
        "time_zone": random.choices(list(market.zones), list(market.zones.values()))[0],
        "country": market.country,
        "addresses": [] if random.random() < _NO_ADDRESS else _addresses(market, number, random, contacts),
    }
    wishes = _wishes(random)
    if wishes:
        document["wishes"] = wishes
    return document


def _addresses(market: Market, number: int, random: Random, contacts: Contacts) -> list[JsonValue]:
    kinds = random.choices((_ios, _android, _web), market.devices, k=random.choices(_DEVICE_COUNTS, _DEVICE_WEIGHTS)[0])
    addresses: list[JsonValue] = [make(market, random, contacts) for make in kinds]
    if random.random() < _PHONE:
        phone = contacts.phone(market.country, random.choices(_TROUBLES, _PHONE_TROUBLE)[0])
        if phone is not None:
            addresses.append({"sms": {"e164": phone}})
    if random.random() < _MAIL:
        position = random.randrange(len(market.names))
        trouble = random.choices(_TROUBLES, _DEVICE_TROUBLE)[0]
        mailbox = contacts.mailbox(market.mailbox_names[position], number, trouble)
        # The number alone is unique only within a country.
        local, _, domain = mailbox.rpartition("@")
        address = f"{local}@{market.country.lower()}.{domain}"
        addresses.append({"email": {"address": address, "display_name": market.names[position]}})
    return addresses


def _ios(market: Market, random: Random, contacts: Contacts) -> Document:
    return {"ios": {"token": contacts.ios_token(_device_trouble(random)), "bundle_id": BUNDLE_ID}}


def _android(market: Market, random: Random, contacts: Contacts) -> Document:
    device: Document = {"token": contacts.android_token(_device_trouble(random))}
    if market.country == "CN" and random.random() < _HUAWEI:
        device["service"] = "ANDROID_PUSH_SERVICE_HUAWEI"
    return {"android": device}


def _web(market: Market, random: Random, contacts: Contacts) -> Document:
    return {WEB_SEED: contacts.web_seed(_device_trouble(random))}


def _device_trouble(random: Random) -> Trouble:
    return random.choices(_TROUBLES, _DEVICE_TROUBLE)[0]


def _wishes(random: Random) -> Document:
    """Empty: everything as the categories have it."""
    if random.random() < _OPTED_OUT:
        return {"opted_out": True}
    wishes: Document = {}
    choices: list[JsonValue] = []
    if random.random() < _CHANNEL_OFF:
        wishes["channels_off"] = [random.choice(_CHANNELS)]
    if random.random() < _PROMOTION_OFF:
        choices.append({"category": "marketing", "enabled": False})
    elif random.random() < _PROMOTION_OFF_ON_A_CHANNEL:
        choices.append({"category": "marketing", "channel": random.choice(_CHANNELS), "enabled": False})
    if random.random() < _ORDERS_WITHOUT_SMS:
        choices.append({"category": "transactional", "channel": "CHANNEL_SMS", "enabled": False})
    if choices:
        wishes["categories"] = choices
    return wishes


if __name__ == "__main__":
    main()
