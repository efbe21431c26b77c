"""What the shop sends: drawn from a seed, so that two runs hand in the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from clarion.recipient.v1.recipient_service_pb2 import Recipient
from clarion_client import JsonValue, Notification, Priority
from clarion_local.demo.shop import MARKETING, SECURITY, TRANSACTIONAL

SEED = 20_260_102
_CODES = 0.1
_ORDERS = 0.5
_STATUSES = ("confirmed", "shipped", "delivered")
_GOODS = (
    ("Stoneware mug", "18.00"),
    ("Filter coffee, 500 g", "14.50"),
    ("Linen shirt", "49.00"),
    ("Desk lamp", "64.90"),
    ("Notebook, dotted", "9.80"),
    ("Wool blanket", "89.00"),
    ("Cast-iron pan", "54.00"),
    ("Rain jacket", "119.00"),
)
_CURRENCIES = {"KR": "KRW", "CN": "CNY", "JP": "JPY", "US": "USD", "SE": "SEK"}
_FIRST_DAY = date(2026, 3, 1)


@dataclass(frozen=True, slots=True)
class Traffic:
    """How many of each kind; `run` makes the event ids of a run its own."""

    run: str
    codes: int
    orders: int
    promotions: int

    @classmethod
    def of(cls, run: str, notifications: int) -> "Traffic":
        """A tenth one-time codes, half order updates, the rest promotions."""
        codes, orders = int(notifications * _CODES), int(notifications * _ORDERS)
        return cls(run, codes, orders, notifications - codes - orders)

    @property
    def count(self) -> int:
        """All of them."""
        return self.codes + self.orders + self.promotions

    def one_time_codes(self, people: Sequence[Recipient]) -> Iterator[Notification]:
        """Urgent, by push and SMS."""
        random = Random(f"{SEED} codes")
        for number in range(self.codes):
            yield Notification(
                event_id=f"{self.run}:code:{number}",
                recipients=[random.choice(people).recipient_id],
                category=SECURITY,
                priority=Priority.URGENT,
                template="one-time-code",
                data={"code": f"{random.randrange(10**6):06}", "minutes": 10},
            )

    def order_updates(self, people: Sequence[Recipient]) -> Iterator[Notification]:
        """On every channel a person has."""
        random = Random(f"{SEED} orders")
        for number in range(self.orders):
            yield order_update(f"{self.run}:order:{number}", random.choice(people), random)

    def offers(self, people: Sequence[Recipient]) -> Iterator[Notification]:
        """Bulk, by push and mail, one campaign after the other over everybody."""
        random = Random(f"{SEED} promotions")
        for number in range(self.promotions):
            campaign, position = divmod(number, len(people))
            yield Notification(
                event_id=f"{self.run}:promotion:{number}",
                recipients=[people[position].recipient_id],
                category=MARKETING,
                priority=Priority.BULK,
                template="promotion",
                data={
                    "campaign": f"spring-{campaign}",
                    "discount": 10 + 5 * (campaign % 4),
                    "until": "2026-03-31",
                    "products": [
                        {"name": name, "price": f"{float(was) * 0.8:.2f}", "was": was}
                        for name, was in random.sample(_GOODS, 3)
                    ],
                    "shop_url": "https://shop.example/spring",
                },
            )


def order_update(event_id: str, person: Recipient, random: Random) -> Notification:
    """News of an order, with one to four things in it."""
    order = f"A-{random.randrange(10_000, 100_000)}"
    goods = random.sample(_GOODS, random.randint(1, 4))
    items: list[JsonValue] = [{"name": name, "quantity": random.randint(1, 3), "price": price} for name, price in goods]
    customer = next((a.email.display_name for a in person.addresses if a.HasField("email")), "") or person.recipient_id
    return Notification(
        event_id=event_id,
        recipients=[person.recipient_id],
        category=TRANSACTIONAL,
        template="order-update",
        data={
            "order": order,
            "status": random.choice(_STATUSES),
            "customer": customer,
            "items": items,
            "total": f"{sum(float(price) for _, price in goods):.2f}",
            "currency": _CURRENCIES.get(person.country, "EUR"),
            "arrives": (_FIRST_DAY + timedelta(days=random.randrange(28))).isoformat(),
            "tracking_url": f"https://shop.example/orders/{order}",
        },
    )


def showcase(people: Sequence[Recipient]) -> Recipient:
    """Someone whose notification has a story: phone, mailbox, no objections, and a device that fails at first."""

    def interest(person: Recipient) -> int:
        if person.HasField("wishes"):
            return 0
        kinds = {address.WhichOneof("kind") for address in person.addresses}
        tokens = [address.ios.token or address.android.token for address in person.addresses]
        flaky = any(token.startswith("dead5") and token[8:10] == "01" for token in tokens)
        return len(kinds) + 3 * flaky + 2 * ("sms" in kinds)

    return max(people, key=interest)
