"""Addresses inside, offered wherever an app may name one: at save, and at every dial.

The practice stack lets webhooks and push endpoints lead to this machine, so the doors attacked here are a gateway and a
preference daemon without that leave (`strict.py`), and the dialers of web push and webhooks as production makes them. What
they dial must never reach the traps: listeners on loopback.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address

from clarion_channels.http import NotSent, PoolOptions
from clarion_channels.mail.receipt import Unauthentic
from clarion_channels.providers.ses import sns
from clarion_channels.providers.webpush.endpoint import ForbiddenEndpoint, Origin
from clarion_channels.providers.webpush.origins import OriginPools
from clarion_channels.public_hosts import ForbiddenUrl, Resolve, public_address, target_of
from clarion_client import (
    ClarionError,
    Content,
    InvalidArgument,
    Mail,
    PermissionDenied,
    Push,
    Recipient,
    addresses,
)
from clarion_sandbox import browser
from clarion_tracker.adapters.webhook_http import REFUSED_ADDRESS, Receivers

from . import inside
from .finding import Finding, Size
from .stage import Stage
from .strict import Strict, strict
from .terminal import until_ended
from .trap import Trap

_SOON = timedelta(seconds=5)
_SHORT_WEBHOOKS = 60
_NOT_AWS = (
    "https://sns.us-east-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem",
    "https://sns.us-east-1.amazonaws.com@127.0.0.1/SimpleNotificationService-1.pem",
    "https://127.0.0.1#sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://127.0.0.1\\.sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-1.pem",
    "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.us-east-1.amazonaws.co/SimpleNotificationService-1.pem",
    "https://sns-us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://sns.us-east-1.amazonaws.com/a.txt",
    "https://sns.us_east-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://evil.example/sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
    "https://s3.amazonaws.com/SimpleNotificationService-1.pem",
)


async def attack(stage: Stage, size: Size) -> Finding:
    """Every spelling at every door; `notes` count tries by door."""
    escapes: list[str] = []
    notes: dict[str, float | int | str] = {}
    urls = inside.urls()
    async with strict(stage) as doors, Trap.set() as trap:
        notes["endpoints_saved"] = await _endpoints(doors, stage, urls, escapes)
        some = urls if size is Size.FULL else stage.random("ssrf").sample(urls, _SHORT_WEBHOOKS)
        notes["webhooks_saved"] = await _webhooks(doors, stage, some, escapes)
        notes["names_judged"] = await _names(escapes)
        notes["webhooks_dialled"] = await _dial_webhooks(trap, escapes)
        notes["endpoints_dialled"] = await _dial_endpoints(trap, escapes)
        notes["certificates"] = _certificates(urls, escapes)
        notes["pictures"] = await _pictures(stage, trap, escapes)
        notes["without_right"] = await _without_right(stage, trap, escapes)
        if trap.hits:
            escapes.append(f"a listener inside was reached {trap.hits} times")
    notes["rebound"] = await _rebound(escapes)
    return Finding("ssrf", sum(int(count) for count in notes.values()), escapes, {**notes, "addresses": len(urls)})


async def _endpoints(doors: Strict, stage: Stage, urls: Sequence[str], escapes: list[str]) -> int:
    """Recipients whose browser claims to be reached there, in bulk and alone."""
    keys = browser.subscription(stage.attacker.practice.vapid_public_key, "ssrf")

    def named(place: int, url: str) -> Recipient:
        web = addresses.web({"endpoint": url, "keys": {"p256dh": keys.p256dh, "auth": keys.auth}})
        return Recipient(recipient_id=f"ssrf-{place}", addresses=[web])

    outcomes = await doors.attacker.recipients.upsert_many(named(place, url) for place, url in enumerate(urls))
    for url, outcome in zip(urls, outcomes, strict=True):
        if not isinstance(outcome, InvalidArgument):
            escapes.append(f"push endpoint {url!r} was {_told(outcome)}")
    await doors.attacker.recipients.upsert(Recipient(recipient_id="ssrf"))
    alone = urls[:: max(1, len(urls) // 10)]
    for url in alone:
        web = named(0, url).addresses[0]
        await _refused(f"push endpoint {url!r}", doors.attacker.recipients.register_address("ssrf", web), escapes)
    return len(urls) + len(alone)


async def _webhooks(doors: Strict, stage: Stage, urls: Sequence[str], escapes: list[str]) -> int:
    for url in urls:
        put = doors.operator.webhooks.put(stage.attacker.name, "ssrf", url)
        await _refused(f"webhook {url!r}", put, escapes)
    return len(urls)


async def _names(escapes: list[str]) -> int:
    """Public names that lead inside: alone, and hidden among addresses that are public."""
    tries = 0
    for name, address in inside.LEADING_INSIDE.items():
        for found in ([address], ["93.184.215.14", address], [address, "93.184.215.14"]):
            tries += 1
            try:
                chosen = await public_address(target_of(f"https://{name}/"), timeout=_SOON, resolve=_always(found))
            except ForbiddenUrl:
                continue
            escapes.append(f"the name {name}, which leads to {found}, was to be dialled at {chosen}")
    return tries


async def _dial_webhooks(trap: Trap, escapes: list[str]) -> int:
    """As if each had been saved: the dialer judges for itself."""
    receivers = Receivers(resolve=_told_by(inside.LEADING_INSIDE))
    tries = 0
    async with receivers.open() as opened:
        for url in _at(trap.port):
            tries += 1
            async with opened.knock() as door:
                answer = await door.post(url, {"content-type": "application/json"}, b"{}", _SOON)
            if answer.error != REFUSED_ADDRESS:
                escapes.append(f"a webhook was dialled at {url!r}: {answer}")
    return tries


async def _dial_endpoints(trap: Trap, escapes: list[str]) -> int:
    """Of an account whose owner put every one of these hosts on its allow-list."""
    resolve = _told_by(inside.LEADING_INSIDE)
    pools = _pools(resolve)
    tries = 0
    try:
        for url in _at(trap.port):
            tries += 1
            # Past the allow-list of hosts, which would refuse them all.
            host = url.removeprefix("https://").rpartition("/")[0].rpartition(":")[0].strip("[]").lower()
            try:
                await pools.lease(Origin(host, trap.port))
            except (ForbiddenEndpoint, NotSent):
                continue
            # 010.0.0.1 is 8.0.0.1 to whoever takes it for octal digits: not inside.
            if not all(ip_address(address).is_global for address in await resolve(host, trap.port)):
                escapes.append(f"a push endpoint was to be dialled at {url!r}")
    finally:
        await pools.close(timedelta(0))
    return tries


def _certificates(urls: Sequence[str], escapes: list[str]) -> int:
    """What a call that claims to be of Amazon SNS asks to be fetched, before anything of it is proven."""
    tries = 0
    for url in [*urls, *_NOT_AWS]:
        if len(url) > 1_024:
            continue
        tries += 1
        document = {
            "Type": "SubscriptionConfirmation",
            "MessageId": "1",
            "TopicArn": "arn",
            "Message": "",
            "Timestamp": "2026-01-01T00:00:00.000Z",
            "Signature": "",
            "SignatureVersion": "2",
            "SigningCertURL": url,
            "SubscribeURL": url,
        }
        envelope = sns.parse(json.dumps(document).encode())
        with suppress(Unauthentic):
            escapes.append(f"a forged call's certificate was to be fetched from {sns.certificate_url(envelope)!r}")
        with suppress(Unauthentic):
            confirmed = sns.confirmation_url(envelope, ["arn"])
            if not confirmed.startswith("https://sns.us-east-1.amazonaws.com/"):
                escapes.append(f"a forged call's subscription was to be confirmed at {confirmed!r}")
    return tries


async def _pictures(stage: Stage, trap: Trap, escapes: list[str]) -> int:
    """Pictures and links are for whoever reads: the mesh itself fetches none."""
    client = stage.attacker.client
    await client.recipients.upsert(stage.attacker.everywhere("ssrf-reader"))
    url = f"https://127.0.0.1:{trap.port}/picture.png"
    html = f'<img src="{url}"><link rel="stylesheet" href="{url}"><a href="{url}">x</a>'
    mjml = f'<mjml><mj-head><mj-include path="{url}"/></mj-head><mj-body><mj-raw><img src="{url}"></mj-raw></mj-body></mjml>'
    content = Content(push=Push(title="t", image_url=url, link=url), mail=Mail(subject="s", text="t", html=html))
    sent = await client.send(recipients=["ssrf-reader"], category="transactional", content=content)
    await until_ended(client, [sent.notification_id])
    try:
        await client.templates.put("ssrf", {"en": Content(mail=Mail(subject="s", text="t", html=mjml))})
        await client.templates.preview("ssrf")
    except InvalidArgument:
        pass
    if trap.hits:
        escapes.append("a picture of a content was fetched by the mesh")
    return 6


async def _without_right(stage: Stage, trap: Trap, escapes: list[str]) -> int:
    """Accounts have addresses of servers; setting one up takes the scope of operators."""
    url = f"https://127.0.0.1:{trap.port}"
    client = stage.attacker.client
    tries: list[Awaitable[object]] = [
        client.providers.put(stage.attacker.name, "inside", "twilio", {"base_url": url}),
        client.providers.put(stage.attacker.name, "inside", "webpush", {"allow_private_addresses": True}),
        client.webhooks.put(stage.attacker.name, "inside", url),
        client.webhooks.test(stage.attacker.name, "inside"),
    ]
    for place, attempt in enumerate(tries):
        try:
            await attempt
        except PermissionDenied:
            continue
        except ClarionError as other:
            escapes.append(f"try {place} to name a server without the right to: {other!r}")
        else:
            escapes.append(f"try {place} to name a server without the right to was taken")
    return len(tries)


async def _rebound(escapes: list[str]) -> int:
    """A name that changes its answer: between save and dial, and between the check and the connection."""
    asked: list[str] = []

    async def turning(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.215.14"] if len(asked) == 1 else ["127.0.0.1"]

    async with Trap.set("127.0.0.1") as good, Trap.set("127.0.0.2", port=good.port) as bad:
        url = f"https://turning.example:{bad.port}/"
        if await public_address(target_of(url), timeout=_SOON, resolve=turning) != "93.184.215.14":
            escapes.append("the guard chose an address that it was not given")
        async with Receivers(resolve=turning).open() as opened, opened.knock() as door:
            answer = await door.post(url, {}, b"{}", _SOON)
        if answer.error != REFUSED_ADDRESS or good.hits or bad.hits:
            escapes.append(f"a webhook's name turned inside after it was saved: {answer}")

        moves = iter([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"], ["127.0.0.2"]])

        async def moving(host: str, port: int) -> list[str]:
            return next(moves)

        # Both addresses are inside, as there is no other network here; the dialer is told to allow that.
        plain = f"http://moving.example:{bad.port}/"
        async with Receivers(private=True, resolve=moving).open() as opened, opened.knock() as door:
            first = await door.post(plain, {}, b"{}", _SOON)
            second = await door.post(plain, {}, b"{}", _SOON)
        if not (first.status == second.status == 200) or good.hits == 0 or bad.hits:
            escapes.append(f"a connection went elsewhere than to the address that was checked: {first}, {second}")
    return 3


def _pools(resolve: Resolve) -> OriginPools:
    options = PoolOptions(clients=1, streams=1, connect_timeout=_SOON)
    return OriginPools(
        options, max_origins=16, resolve_again_seconds=60, allow_private_addresses=False, resolve=resolve
    )


def _at(port: int) -> Iterator[str]:
    """Every host inside, at the port of a trap."""
    for host in (*inside.hosts(), *inside.LEADING_INSIDE):
        yield f"https://{host}:{port}/"


def _always(found: Iterable[str]) -> Resolve:
    async def resolve(host: str, port: int) -> list[str]:
        return list(found)

    return resolve


def _told_by(names: Mapping[str, str]) -> Resolve:
    """As the system's resolver takes numbers in every notation, and knows these names and no others."""

    async def resolve(host: str, port: int) -> list[str]:
        if host in names:
            return [names[host]]
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(entry[4][0]) for entry in found]

    return resolve


async def _refused(what: str, attempt: Awaitable[object], escapes: list[str]) -> None:
    try:
        await attempt
    except InvalidArgument:
        return
    except ClarionError as other:
        escapes.append(f"{what} was {_told(other)}")
        return
    escapes.append(f"{what} was accepted")


def _told(outcome: object) -> str:
    return f"answered {outcome!r}" if isinstance(outcome, ClarionError) else "accepted"
