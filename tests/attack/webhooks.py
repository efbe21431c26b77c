"""Webhooks: forged, replayed and swollen calls that claim to be a provider's or a person's; and ours, at receivers that
verify them by the Standard Webhooks rules or send us elsewhere."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import secrets
import ssl
import string
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clarion_client import AlreadyExists, Channel, Content, JsonValue
from clarion_kit import links
from clarion_kit.keyfiles import load_secret
from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import Channel as Word

from .finding import Finding, Size
from .stage import Stage
from .trap import Trap
from .web import Web

_APP = "called-back"
_EVENTS = "/v1/events"
_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"
_MIB = 1 << 20
_FLIPS = {Size.SHORT: 3, Size.FULL: 24}
_PATIENCE_SECONDS = 60.0
_OLD = timedelta(hours=30)
_TWILIO, _SENDGRID, _HUAWEI, _SES = "twilio", "sendgrid", "huawei", "ses"


@dataclass(frozen=True, slots=True)
class Call:
    """What is posted to the tracker, and which answers would be a success of whoever forged it: every 2xx unless `takes`."""

    what: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"
    takes: bool = False


@dataclass(frozen=True, slots=True)
class Accounts:
    """Accounts of two apps with their keys; numbers by kind."""

    mine: Mapping[str, int]
    others: Mapping[str, int]
    twilio_token: str
    other_twilio_token: str
    huawei_key: str
    sendgrid_key: ec.EllipticCurvePrivateKey
    url: str


async def attack(stage: Stage, size: Size) -> Finding:
    """Calls in both directions; `notes` count them."""
    escapes: list[str] = []
    results: Counter[str] = Counter()
    web = Web(stage)
    accounts = await _open_accounts(stage, web.url)
    mine = [*accounts.mine.values()]
    before = await _stored(stage, mine)
    genuine = [*_genuine(accounts)]
    for call in genuine:
        await _call(web, call, results, escapes)
    kept = await _stored(stage, mine) - before
    if kept != len(genuine):
        escapes.append(f"the check of callbacks notices nothing: {kept} of {len(genuine)} genuine calls were stored")
    forged = [*_forged(accounts, genuine, _FLIPS[size]), *_swollen(accounts), *_links(stage, _FLIPS[size])]
    for call in forged:
        await _call(web, call, results, escapes)
    replayed = [*_replayed(accounts, genuine)]
    for call in replayed:
        await _call(web, call, results, escapes)
    if (after := await _stored(stage, mine) - before) != kept:
        escapes.append(f"{after - kept} forged or repeated calls were stored")
    escapes += [f"an endless body was not cut off: {end}" for end in [await _endless(stage)] if end]
    looks = await _only_looking(stage, web, escapes)
    out = await _ours(stage, size, escapes)
    tries = len(forged) + len(replayed) + 1 + looks + out
    return Finding(
        "webhook", tries, escapes, {"forged": len(forged), "replayed": len(replayed), "ours": out, **results}
    )


async def _open_accounts(stage: Stage, url: str) -> Accounts:
    """Two apps whose accounts report to the tracker, each with secrets of its own."""
    numbers: list[dict[str, int]] = []
    tokens = [secrets.token_hex(16), secrets.token_hex(16)]
    key, sendgrid_key = secrets.token_hex(16), ec.generate_private_key(ec.SECP256R1())
    point = sendgrid_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for place, token in enumerate(tokens):
        app = f"{_APP}-{place}"
        with suppress(AlreadyExists):
            await stage.operator.apps.create(app)
        found: dict[str, int] = {}
        documents: dict[str, dict[str, JsonValue]] = {
            _TWILIO: {"account_sid": "AC" + "0" * 32, "auth_token": token, "sender": "+15005550006"},
            _HUAWEI: {"client_id": "1", "client_secret": "s", "callback_user": "user", "callback_key": key},
            _SENDGRID: {
                "api_key": "k",
                "from_address": "a@shop.example",
                "webhook_public_key": base64.b64encode(point).decode(),
            },
            _SES: {
                "region": "eu-west-1",
                "access_key_id": "A" * 20,
                "secret_access_key": "s",
                "from_address": "a@shop.example",
                "topic_arns": ["arn:aws:sns:eu-west-1:123456789012:mail"],
            },
        }
        for kind, document in documents.items():
            put = await stage.operator.providers.put(app, kind, kind, document)
            found[kind] = put.provider.number
        documents[_TWILIO]["status_callback"] = f"{url}/v1/callbacks/{_TWILIO}/{found[_TWILIO]}"
        await stage.operator.providers.put(app, _TWILIO, _TWILIO, documents[_TWILIO])
        numbers.append(found)
    accounts = Accounts(numbers[0], numbers[1], tokens[0], tokens[1], key, sendgrid_key, url)
    await _until_known(stage, accounts)
    return accounts


async def _until_known(stage: Stage, accounts: Accounts) -> None:
    """The tracker looks for new accounts every second; a call that is signed well tells when it has found these."""
    web = Web(stage)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        for lane, token in (
            (accounts.mine[_TWILIO], accounts.twilio_token),
            (accounts.others[_TWILIO], accounts.other_twilio_token),
        ):
            while True:
                call = _twilio(
                    accounts, {"MessageSid": "SM" + "0" * 32, "MessageStatus": "queued"}, token=token, lane=lane
                )
                if (await web.ask("POST", call.path, call.headers, call.body)).status == 204:
                    break
                await asyncio.sleep(0.1)


async def _stored(stage: Stage, lanes: list[int]) -> int:
    found: int = await stage.pool.fetchval("SELECT count(*) FROM tracking.inbound WHERE lane_id = ANY($1)", lanes)
    return found


async def _call(web: Web, call: Call, results: Counter[str], escapes: list[str]) -> None:
    answer = await web.ask(call.method, call.path, call.headers, call.body)
    results[f"answered_{answer.status}"] += 1
    if (200 <= answer.status < 400) != call.takes:
        escapes.append(f"{call.what} was answered {answer.status} {answer.body[:60]!r}")
    if answer.status == 200 and call.path == _EVENTS and json.loads(answer.body)["refused"] != [0]:
        escapes.append(f"{call.what} was believed")
    if answer.status >= 500:
        escapes.append(f"{call.what} broke the tracker: {answer.status}")


def _twilio(accounts: Accounts, fields: Mapping[str, str], *, token: str = "", lane: int = 0, to: int = 0) -> Call:
    """Signed with `token` for the URL of `lane`, posted to `to`."""
    lane = lane or accounts.mine[_TWILIO]
    signed = f"{accounts.url}/v1/callbacks/{_TWILIO}/{lane}" + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.new((token or accounts.twilio_token).encode(), signed.encode(), hashlib.sha1).digest()
    headers = {"content-type": _FORM, "x-twilio-signature": base64.b64encode(digest).decode()}
    return Call(
        "Twilio's call", f"/v1/callbacks/{_TWILIO}/{to or lane}", headers, urlencode(fields).encode(), takes=True
    )


def _huawei(accounts: Accounts, *, at: datetime, nonce: str, key: str = "") -> Call:
    moment = str(int(at.timestamp() * 1_000))
    value = hmac.digest((key or accounts.huawei_key).encode(), f"{moment}{nonce}user".encode(), "sha256")
    header = f"timestamp={moment}; nonce={nonce}; value={base64.b64encode(value).decode()}"
    headers = {"content-type": _JSON, "x-huawei-callback-id": header}
    path = f"/v1/callbacks/{_HUAWEI}/{accounts.mine[_HUAWEI]}"
    return Call("Huawei's call", path, headers, b'{"statuses": []}', takes=True)


def _sendgrid(accounts: Accounts, *, at: datetime, key: ec.EllipticCurvePrivateKey | None = None) -> Call:
    body, moment = json.dumps([{"event": "processed", "sg_event_id": uuid4().hex}]).encode(), str(int(at.timestamp()))
    signature = (key or accounts.sendgrid_key).sign(moment.encode() + body, ec.ECDSA(SHA256()))
    headers = {
        "content-type": _JSON,
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": moment,
    }
    path = f"/v1/callbacks/{_SENDGRID}/{accounts.mine[_SENDGRID]}"
    return Call("SendGrid's call", path, headers, body, takes=True)


def _genuine(accounts: Accounts) -> Iterator[Call]:
    now = datetime.now(UTC)
    yield _twilio(accounts, {"MessageSid": "SM" + uuid4().hex, "MessageStatus": "delivered"})
    yield _huawei(accounts, at=now, nonce=uuid4().hex)
    yield _sendgrid(accounts, at=now)


def _forged(accounts: Accounts, genuine: list[Call], flips: int) -> Iterator[Call]:
    now = datetime.now(UTC)
    fields = {"MessageSid": "SM" + uuid4().hex, "MessageStatus": "delivered"}
    others = accounts.other_twilio_token
    yield _named("signed with another app's token", _twilio(accounts, fields, token=others))
    yield _named(
        "signed for another app's account",
        _twilio(accounts, fields, lane=accounts.others[_TWILIO], token=others, to=accounts.mine[_TWILIO]),
    )
    yield _named("a good call, sent to another app's account", _twilio(accounts, fields, to=accounts.others[_TWILIO]))
    yield _named("signed with an empty token", _twilio(accounts, fields, token="\0"))
    for at in (now - _OLD, now + _OLD, datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)):
        yield _named(f"Huawei's, signed at {at:%Y}", _huawei(accounts, at=at, nonce=uuid4().hex))
        yield _named(f"SendGrid's, signed at {at:%Y}", _sendgrid(accounts, at=at))
    yield _named("with a stranger's key", _sendgrid(accounts, at=now, key=ec.generate_private_key(ec.SECP256R1())))
    yield _named("with a stranger's key", _huawei(accounts, at=now, nonce="1", key="stranger"))
    for call in genuine:
        bare = {name: value for name, value in call.headers.items() if name == "content-type"}
        yield _named(f"{call.what} without a signature", _with_headers(call, bare))
        for name, value in call.headers.items():
            if name == "content-type":
                continue
            for text in ("", "AAAA", "=" * 9, "\u00ff", value[:-4], value + "A", "x" * 4_000):
                yield _named(
                    f"{call.what} with {name} of {text[:12]!r}", _with_headers(call, {**call.headers, name: text})
                )
            for place in range(0, len(value), max(1, len(value) // flips)):
                changed = value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
                if changed.isprintable() and _differs(value, changed):
                    yield _named(
                        f"{call.what}, {name} changed at {place}",
                        _with_headers(call, {**call.headers, name: changed}),
                    )
        if call.path.split("/")[3] != _HUAWEI:  # whose header does not sign the body: it serves once (see replayed)
            for place in range(0, len(call.body), max(1, len(call.body) // flips)):
                body = call.body[:place] + bytes([call.body[place] ^ 1]) + call.body[place + 1 :]
                yield _named(f"{call.what}, body changed at {place}", Call(call.what, call.path, call.headers, body))
        for lane in (
            "0",
            "-1",
            "99999999999",
            "2147483648",
            "1e3",
            "%31",
            "0x1",
            "..",
            "1%00",
            "%D9%A1",
        ):
            path = call.path.rpartition("/")[0] + f"/{lane}"
            yield _named(f"{call.what} to account {lane}", Call(call.what, path, call.headers, call.body))
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            yield _named(f"{call.what} as {method}", Call(call.what, call.path, call.headers, call.body, method))
        for kind in ("text/html", "multipart/form-data", "application/xml", ""):
            headers = {**call.headers, "content-type": kind}
            yield _named(f"{call.what} as {kind!r}", _with_headers(call, headers))
    yield from _amazon(accounts)


def _amazon(accounts: Accounts) -> Iterator[Call]:
    """Whose certificate is fetched from where the call says: from Amazon's hosts alone."""
    for url in (
        "https://127.0.0.1/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com@127.0.0.1/SimpleNotificationService-1.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "file:///etc/passwd",
    ):
        for kind in ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"):
            document = {
                "Type": kind,
                "MessageId": uuid4().hex,
                "TopicArn": "arn:aws:sns:eu-west-1:123456789012:mail",
                "Message": "{}",
                "Timestamp": datetime.now(UTC).isoformat(),
                "Token": "t",
                "SubscribeURL": url,
                "SigningCertURL": url,
                "SignatureVersion": "2",
                "Signature": "AAAA",
            }
            path = f"/v1/callbacks/{_SES}/{accounts.mine[_SES]}"
            yield Call(f"SNS's {kind} with {url}", path, {"content-type": "text/plain"}, json.dumps(document).encode())


def _swollen(accounts: Accounts) -> Iterator[Call]:
    """Large bodies, and small ones that would be large: no door unpacks anything."""
    bomb = gzip.compress(b"\0" * (10 * _MIB))
    doors = [
        *(
            (f"/v1/callbacks/{kind}/{number}", _FORM if kind == _TWILIO else _JSON)
            for kind, number in accounts.mine.items()
        ),
        (_EVENTS, _JSON),
    ]
    for path, media_type in doors:
        for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "x-gzip"):
            yield Call(f"a bomb in {encoding}", path, {"content-type": media_type, "content-encoding": encoding}, bomb)
        yield Call("a body of 4 MiB", path, {"content-type": media_type}, b"a" * (4 * _MIB))
        yield Call("JSON of 50,000 levels", path, {"content-type": media_type}, b"[" * 50_000)


def _links(stage: Stage, flips: int) -> Iterator[Call]:
    """Links of mails and tokens of pushes, each with a bit turned: nothing happens, and nobody is led anywhere."""
    key = load_secret(stage.folders.keys / "link_key.key")
    person = UUID(bytes=recipient_reference(stage.victim_id, "nobody"))
    delivery = links.OpenLink(stage.victim_id, person, 1, 0, "KR", Word.EMAIL)
    packed = links.packed(delivery)
    page = links.PageLink(stage.victim_id, person, datetime.now(UTC) + timedelta(days=1))
    ended = links.PageLink(stage.victim_id, person, datetime.now(UTC) - timedelta(days=1))
    form = {"content-type": _FORM}
    click = links.sign_click(links.click_key(key, packed), packed, 1, "https://shop.example/")
    leave = links.sign_unsubscribe(key, links.UnsubscribeLink(stage.victim_id, person, 1, Word.EMAIL))
    wish = links.sign_page(key, page)
    event = links.sign_event(key, delivery)
    for place in range(0, len(click) - 1, max(1, len(click) // flips)):
        yield Call(f"a click's link, changed at {place}", f"/c/{_turned(click, place)}", {}, b"", "GET")
    for place in range(0, len(leave) - 1, max(1, len(leave) // flips)):
        yield Call(f"a way out, changed at {place}", f"/u/{_turned(leave, place)}", form, b"List-Unsubscribe=One-Click")
    for place in range(0, len(wish) - 1, max(1, len(wish) // flips)):
        yield Call(f"a page's link, changed at {place}", f"/p/{_turned(wish, place)}", {}, b"", "GET")
    yield Call("a page's link that has ended", f"/p/{links.sign_page(key, ended)}", {}, b"", "GET")
    for place in range(0, len(event) - 1, max(1, len(event) // flips)):
        body = json.dumps({"events": [{"token": _turned(event, place), "id": "1", "type": "clicked"}]}).encode()
        yield Call(f"an event's token, changed at {place}", _EVENTS, {"content-type": _JSON}, body, takes=True)
    for path in (
        "/c/",
        "/c/%2e%2e",
        "/c/https://evil.example",
        "//evil.example/",
        "/\\evil.example",
        "/u/",
        "/p/",
    ):
        yield Call(f"the path {path}", path, {}, b"", "GET")


def _replayed(accounts: Accounts, genuine: list[Call]) -> Iterator[Call]:
    """Calls that were good once. They are answered as the first time and change nothing, whatever they bring now."""
    yield from genuine
    huawei = genuine[1]
    other = b'{"statuses": [{"token": "t", "status": 0}]}'
    header = huawei.headers["x-huawei-callback-id"]
    moment, nonce, value = header.split("; ")
    bare = value.rstrip("=")
    for written in (
        header,
        f"{value}; {nonce}; {moment}",
        f"{moment} ;  {nonce}; {value}",
        f"a=b; {moment}; {nonce}; {value}",
        f"timestamp=0; {header}",
        f"{moment};{nonce};{value};",
        *(f"{moment}; {nonce}; {bare[:-1]}{letter}=" for letter in _beside(bare[-1])),
    ):
        headers = {**huawei.headers, "x-huawei-callback-id": written}
        yield Call("Huawei's header with another body", huawei.path, headers, other, takes=True)


async def _only_looking(stage: Stage, web: Web, escapes: list[str]) -> int:
    """A good way out, fetched as scanners of mail and browsers that look ahead do: nobody leaves by that."""
    reader = f"reader-{uuid4().hex}"
    await stage.victim.client.recipients.upsert(stage.victim.everywhere(reader))
    category_id: int = await stage.pool.fetchval(
        "SELECT category_id FROM ledger.category WHERE app_id = $1 AND name = 'marketing'", stage.victim_id
    )
    key = load_secret(stage.folders.keys / "link_key.key")
    person = UUID(bytes=recipient_reference(stage.victim_id, reader))
    token = links.sign_unsubscribe(key, links.UnsubscribeLink(stage.victim_id, person, category_id, Word.EMAIL))
    one_click = b"List-Unsubscribe=One-Click"
    before = await _wishes(stage, reader)
    looks: list[tuple[str, str, Mapping[str, str], bytes | None]] = [
        ("GET", "", {}, None),
        ("HEAD", "", {}, None),
        ("GET", "?List-Unsubscribe=One-Click", {}, None),
        ("GET", "", {"purpose": "prefetch", "content-type": _FORM}, one_click),
        ("POST", "", {"content-type": _FORM}, b""),
        ("POST", "", {"content-type": _FORM}, b"List-Unsubscribe=Two-Clicks"),
        ("POST", "", {"content-type": _JSON}, b'{"List-Unsubscribe": "One-Click"}'),
        ("POST", "", {"content-type": "text/plain"}, one_click),
        ("PUT", "", {"content-type": _FORM}, one_click),
    ]
    for method, query, headers, body in looks:
        await web.ask(method, f"/u/{token}{query}", headers, body)
        if await _wishes(stage, reader) != before:
            escapes.append(f"somebody was unsubscribed by a {method} with {body!r}")
            before = await _wishes(stage, reader)
    left = await web.ask("POST", f"/u/{token}", {"content-type": _FORM}, one_click)
    if left.status != 200 or await _wishes(stage, reader) == before:
        escapes.append(f"the check of ways out notices nothing: leaving was answered {left.status}")
    return len(looks)


async def _wishes(stage: Stage, recipient_id: str) -> bytes | None:
    found: bytes | None = await stage.pool.fetchval(
        "SELECT wishes FROM preference.recipient WHERE app_id = $1 AND recipient_id = $2", stage.victim_id, recipient_id
    )
    return found


async def _endless(stage: Stage) -> str:
    """A body in chunks without an end, to the door with the largest limit; gives what is wrong with how it ended."""
    target = urlsplit(stage.stack.endpoints.tracker_url)
    reader, writer = await asyncio.open_connection(
        target.hostname, target.port, ssl=stage.https_context(), server_hostname=target.hostname
    )
    sent = 0
    answered: asyncio.Task[bytes] | None = None
    try:
        head = f"POST /v1/events HTTP/1.1\r\nhost: {target.netloc}\r\ncontent-type: {_JSON}\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head.encode())
        chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
        answered = asyncio.create_task(reader.readline())
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not answered.done() and sent < 64 * _MIB:
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
            line = await answered
    except (ConnectionError, ssl.SSLError):
        return ""
    except TimeoutError:
        return f"no answer after {sent} bytes"
    finally:
        if answered is not None:
            answered.cancel()
            await asyncio.wait([answered])
        writer.close()
    return "" if not line or line.split()[1] == b"413" else f"{line!r} after {sent} bytes"


@dataclass(slots=True)
class _Receiver:
    """Takes posts and answers them as told."""

    answer: bytes = b"HTTP/1.1 204 Taken\r\nconnection: close\r\n\r\n"
    posts: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.posts.append((headers, body))
                self.came.set()
                writer.write(self.answer)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def _receiving(stage: Stage) -> AsyncIterator[tuple[_Receiver, str]]:
    """A webhook of the attacker's app at a receiver on this machine; gives it and the signing secret."""
    receiver = _Receiver()
    server = await asyncio.start_server(receiver.take, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        url = f"http://127.0.0.1:{receiver.port}/hook"
        put = await stage.operator.webhooks.put(stage.attacker.name, "attack", url)
        try:
            yield receiver, put.signing_secret
        finally:
            await stage.operator.webhooks.delete(stage.attacker.name, "attack")


async def _ours(stage: Stage, size: Size, escapes: list[str]) -> int:
    """What we post is signed by the Standard Webhooks rules, and no answer leads us elsewhere."""
    tries = 0
    async with _receiving(stage) as (receiver, secret), Trap.set() as trap:
        await stage.attacker.client.recipients.upsert(stage.attacker.everywhere("hooked"))
        await stage.attacker.client.send(
            recipients=["hooked"], category="transactional", content=Content(sms="x"), channels=[Channel.SMS]
        )
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await receiver.came.wait()
        headers, body = receiver.posts[0]
        if not _is_signed(headers, body, secret, time.time()):
            escapes.append("a post of ours is not signed by the rules")
        for what, changed, content, moment in (
            ("another body", headers, body + b" ", time.time()),
            ("another id", {**headers, "webhook-id": "msg_1"}, body, time.time()),
            ("another time", {**headers, "webhook-timestamp": str(int(time.time()) + 1)}, body, time.time()),
            ("an hour later", headers, body, time.time() + 3_600),
        ):
            tries += 1
            if _is_signed(changed, content, secret, moment):
                escapes.append(f"a post of ours stays good with {what}")
        for status in (301, 302, 303, 307, 308) if size is Size.FULL else (302, 307):
            for place in (
                f"http://127.0.0.1:{trap.port}/",
                *((f"http://[::1]:{trap.port}/", f"https://127.0.0.1:{trap.port}/") if size is Size.FULL else ()),
            ):
                tries += 1
                head = f"HTTP/1.1 {status} Elsewhere\r\nlocation: {place}\r\ncontent-length: 0\r\n"
                receiver.answer = f"{head}connection: close\r\n\r\n".encode()
                tested = await stage.operator.webhooks.test(stage.attacker.name, "attack")
                if tested.delivered:
                    escapes.append(f"a {status} to {place} counts as taken")
        receiver.answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n" + gzip.compress(
            b"\0" * (10 * _MIB)
        )
        tries += 1
        await stage.operator.webhooks.test(stage.attacker.name, "attack")
        if trap.hits:
            escapes.append(f"a redirect led to a listener inside {trap.hits} times")
    return tries


def _is_signed(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> bool:
    """github.com/standard-webhooks/standard-webhooks, written from its text."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    fresh = abs(now - int(headers["webhook-timestamp"])) <= 300
    return fresh and any(hmac.compare_digest(expected, one) for one in headers["webhook-signature"].split(" "))


def _named(what: str, call: Call) -> Call:
    return Call(what, call.path, call.headers, call.body, call.method)


def _with_headers(call: Call, headers: Mapping[str, str]) -> Call:
    """The same call with other headers."""
    return Call(call.what, call.path, headers, call.body, call.method)


def _turned(token: str, place: int) -> str:
    """The token with another letter at a place."""
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]


def _beside(letter: str) -> str:
    """Letters of base64 that differ in the last two bits alone, which a signature of 32 bytes leaves over."""
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    first = letters.index(letter) & ~3
    return letters[first : first + 4].replace(letter, "")


def _differs(value: str, changed: str) -> bool:
    """Whether it means something else: padding does not, nor the bits that base64 leaves over in the last letter."""
    return changed.rstrip("=")[:-1] != value.rstrip("=")[:-1]
