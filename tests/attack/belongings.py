"""What a victim has, and what an attacker would call it: ids, keys, names, addresses; and names that nobody has."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from clarion.broadcast.v1.broadcast_service_pb2 import StartBroadcastRequest
from clarion.budget.v1.budget_service_pb2 import BUDGET_PERIOD_DAY, SmsBudget
from clarion.category.v1.category_service_pb2 import Category
from clarion.notification.v1 import state_pb2
from clarion_client import Channel, Content, Mail, Notification, Push, Recipient, addresses
from clarion_kit import mesh
from clarion_sandbox import browser
from clarion_testkit.shop import Shop, open_shop

from .calls import ask, bearer
from .filling import Chooser
from .forging import honest_token
from .polling import until
from .stage import Stage

LATER = timedelta(hours=6)
_PAGE_TOKEN = "page_token "
_GIVEN = frozenset({"notification_id", "delivery_id", "broadcast_id", "address_id", "app", "app_key", "cursor"})
"""Names that the mesh or its operator gave: nobody else has them."""
_NOT_MADE_UP = (_PAGE_TOKEN, "cursor", "p256dh", "auth")
FAILING_DEVICE = "dead503000"
"""The sandbox answers it with 503."""
_SHARED_NAMES: Mapping[str, str] = {
    "recipient_ids": "recipient_id",
    "into_recipient_id": "recipient_id",
    "from_recipient_id": "second_recipient_id",
    "notification_ids": "notification_id",
    "delivery_ids": "delivery_id",
    "categories": "category",
    "apps": "app",
    "providers": "provider",
    "layout": "partial",
    "collapse_key": "event_id",
}
_NAMES_BY_SERVICE: Mapping[str, str] = {
    "AppService": "app",
    "CategoryService": "category",
    "ProviderService": "provider",
    "WebhookService": "webhook",
    "TemplateService": "template",
    "ScheduleService": "schedule",
}
_NAMES_BY_MESSAGE: Mapping[str, str] = {
    "TemplateRef": "template",
    "Template": "template",
    "Partial": "partial",
    "PartialVersion": "partial",
}
"""What `name` is in these messages, and in the requests of these services."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """Texts by what they are. `mark` stands in all of the victim's content, which no request has to name."""

    mark: str
    texts: Mapping[str, str]

    def text_for(self, method: MethodDescriptor, *, but: Collection[str] = ()) -> Chooser:
        """What fields hold in requests of the method, by their names; None: nothing of the victim's. `but`: not these."""
        by_service = _NAMES_BY_SERVICE.get(method.containing_service.name, "")
        named = "partial" if method.name.endswith("Partial") else by_service

        def text(field: FieldDescriptor) -> str | None:
            what = _SHARED_NAMES.get(field.name, field.name)
            if field.name == "page_token":
                what = _page_token(method)
            elif field.name == "name":
                message = field.containing_type
                what = _NAMES_BY_MESSAGE.get(message.name if message else "", named)
            return None if what in but else self.texts.get(what)

        return text

    def told(self, response: bytes, request: bytes, *, taken: Collection[str] = ()) -> list[str]:
        """What of the victim's an answer shows that the request did not have; `taken`: but these, which are others' too."""
        shown = [
            name
            for name, text in self.texts.items()
            if name not in taken and bears(response, text) and not bears(request, text)
        ]
        return ["its content", *shown] if self.mark.encode() in response else shown

    def may_be_taken(self, request: bytes) -> set[str]:
        """What a request names that any app may call its own."""
        return {name for name, text in self.texts.items() if name not in _GIVEN and bears(request, text)}

    def nobodys(self, random: Random) -> "Belongings":
        """Names of the same forms that nobody has. Page tokens and cursors stay: none can be made up."""
        return replace(
            self,
            texts={
                name: text if name.startswith(_NOT_MADE_UP) else _alike(text, random)
                for name, text in self.texts.items()
            },
        )


@asynccontextmanager
async def victim_with_belongings(stage: Stage, name: str) -> AsyncIterator[tuple[int, Belongings]]:
    """A victim's app id and all it has, at rest: nothing moves until somebody moves it. Raises ClarionError,
    TimeoutError."""
    random = stage.random(name)
    mark = f"vm{random.randbytes(8).hex()}"
    async with open_shop(stage.stack, name) as shop:
        cursor = await shop.client.deliveries.cursor()
        texts = {
            name: f"{name.replace('_', '-')}-{random.randbytes(5).hex()}"
            for name in ("recipient_id", "second_recipient_id", "event_id", "category", "topic", "template", "partial")
        }
        texts |= {name: f"{name}-{random.randbytes(5).hex()}" for name in ("schedule", "webhook", "provider")}
        texts |= _addresses_of(shop, random, texts["recipient_id"])
        texts |= {"app": shop.name, "app_key": shop.app_key, "cursor": cursor}
        texts |= await _people(shop, texts, mark)
        texts |= await _content(shop, texts, mark)
        await _administered(stage, shop, texts, mark)
        texts |= await _page_tokens(stage, shop, texts)
        app_id = await stage.pool.fetchval("SELECT app_id FROM ledger.app WHERE name = $1", shop.name)
        yield app_id, Belongings(mark, texts)


def _addresses_of(shop: Shop, random: Random, recipient_id: str) -> dict[str, str]:
    web = browser.subscription(shop.practice.vapid_public_key, recipient_id)
    return {
        "token": random.randbytes(32).hex(),
        "e164": f"+8210{random.randrange(10**8):08}",
        "endpoint": f"{shop.practice.url}{web.endpoint_path}",
        "p256dh": web.p256dh,
        "auth": web.auth,
        "address": f"m{random.randbytes(6).hex()}@example.com",
    }


async def _people(shop: Shop, texts: Mapping[str, str], mark: str) -> dict[str, str]:
    client = shop.client
    keys = {"p256dh": texts["p256dh"], "auth": texts["auth"]}
    whole = Recipient(
        recipient_id=texts["recipient_id"],
        addresses=[
            addresses.ios(texts["token"]),
            addresses.web({"endpoint": texts["endpoint"], "keys": keys}),
            addresses.phone(texts["e164"]),
            addresses.mail(texts["address"], display_name=mark),
        ],
        attributes={"note": mark},
    )
    await client.recipients.upsert(whole)
    failing = FAILING_DEVICE + texts["token"][len(FAILING_DEVICE) :]
    await client.recipients.upsert(
        Recipient(recipient_id=texts["second_recipient_id"], addresses=[addresses.ios(failing)])
    )
    for topic in (texts["topic"], f"also-{texts['topic']}"):
        await client.topics.subscribe(topic, [texts["recipient_id"]])
    for name in (mark, f"also-{mark}"):
        await client.suppressions.add(addresses.mail(f"{name}@example.com"), note=mark)
    stored = await client.recipients.get(texts["recipient_id"])
    return {"address_id": stored.addresses[0].address_id}


async def _content(shop: Shop, texts: Mapping[str, str], mark: str) -> dict[str, str]:
    """Template, sends that wait, one that failed for good, a broadcast and a schedule to come."""
    client = shop.client
    words = Content(push=Push(title=mark, body=mark), sms=mark, mail=Mail(subject=mark, text=mark))
    await client.categories.put(Category(name=texts["category"], max_attempts=1))
    await client.templates.put_partial(texts["partial"], f"<p>{mark}</p>")
    await client.templates.put(texts["template"], {"en": words}, default_locale="en")
    later = datetime.now(UTC) + LATER
    failed = await _dead_letter(shop, texts, words)
    waiting = await client.send(
        event_id=texts["event_id"],
        recipients=[texts["recipient_id"]],
        category="transactional",
        content=words,
        deliver_at=later,
    )
    request = StartBroadcastRequest(
        event_id=f"b-{texts['event_id']}", topic=texts["topic"], category="transactional", content=words.to_proto()
    )
    request.deliver_at.FromDatetime(later)
    broadcast = await client.broadcasts.start(request)
    yearly = Notification(recipients=[texts["recipient_id"]], category="transactional", content=words).to_proto()
    for name in (texts["schedule"], f"also-{texts['schedule']}"):
        await client.schedules.put(name, "0 3 1 1 *", yearly)
    return {
        "notification_id": waiting.notification_id,
        "broadcast_id": broadcast.broadcast_id,
        "delivery_id": failed,
    }


async def _dead_letter(shop: Shop, texts: Mapping[str, str], words: Content) -> str:
    """A delivery that used up its only attempt."""
    sent = await shop.client.send(
        recipients=[texts["second_recipient_id"]], category=texts["category"], channels=[Channel.IOS], content=words
    )
    found: list[str] = []

    async def given_up() -> bool:
        found[:] = [
            delivery.delivery_id
            for delivery in (await shop.client.get(sent.notification_id)).deliveries
            if delivery.state == state_pb2.DELIVERY_STATE_DEAD_LETTERED
        ]
        return bool(found)

    await until(given_up)
    return found[0]


async def _administered(stage: Stage, shop: Shop, texts: Mapping[str, str], mark: str) -> None:
    operator = stage.operator
    account = next(account for account in shop.practice.accounts(shop.name) if account.kind == "smpp")
    await operator.providers.put(shop.name, texts["provider"], account.kind, account.settings, enabled=False)
    await operator.webhooks.put(shop.name, texts["webhook"], f"https://127.0.0.1:9/{mark}", enabled=False)
    await operator.budgets.put(shop.name, SmsBudget(country="KR", segments=1_000_000, period=BUDGET_PERIOD_DAY))


async def _page_tokens(stage: Stage, shop: Shop, texts: Mapping[str, str]) -> dict[str, str]:
    """The victim's own, of every list that goes on after one item."""
    found: dict[str, str] = {}
    metadata = bearer(await honest_token(stage, shop.app_key, shop.app_secret))
    async with stage.gateway_channel() as channel:
        for service in mesh.public_services():
            for method in service.methods:
                fields = method.input_type.fields_by_name
                if not {"page_token", "page_size"} <= set(fields):
                    continue
                kind = message_factory.GetMessageClass(method.input_type)
                needs_recipient = "recipient_id" in fields and service.name != "NotificationService"
                request = kind(page_size=1, **({"recipient_id": texts["recipient_id"]} if needs_recipient else {}))
                path = f"/{service.full_name}/{method.name}"
                answer = await ask(channel, path, request.SerializeToString(), metadata)
                for response in answer.responses:
                    page = message_factory.GetMessageClass(method.output_type).FromString(response)
                    if token := getattr(page, "next_page_token", ""):
                        found[_page_token(method)] = token
    return found


def _page_token(method: MethodDescriptor) -> str:
    return f"{_PAGE_TOKEN}{method.full_name}"


def bears(message: bytes, text: str) -> bool:
    """Whether a message has a text, an id also as its bytes."""
    if text.encode() in message:
        return True
    try:
        return UUID(text).bytes in message
    except ValueError:
        return False


def _alike(text: str, random: Random) -> str:
    """Another text of the same form: letters and digits of its last part are others."""
    try:
        known = UUID(text)
    except ValueError:
        pass
    else:
        return str(UUID(bytes=known.bytes[:10] + random.randbytes(6)))
    head, at, tail = text.partition("@")
    digits = "".join(random.choice("0123456789") for _ in range(8))
    if head.startswith("+"):
        return head[:-8] + digits
    return f"{head[:-8]}{digits}{at}{tail}"
