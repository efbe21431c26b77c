"""Sets the example shop up through the client, as an operator and then the shop's own backend would."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from clarion.category.v1.category_service_pb2 import Category, GateAction, Guarantee
from clarion.recipient.v1.recipient_service_pb2 import Recipient
from clarion_client import AlreadyExists, AsyncClient, ClarionError
from clarion_local.demo.templating import shop_templates
from clarion_local.practice import Practice
from clarion_local.practising import open_accounts

APP = "shop"
SCOPES = ("send:*", "recipient:write", "template:write", "status:read")
SECURITY, TRANSACTIONAL, MARKETING = "security", "transactional", "marketing"
REMINDER, ACTIVITY = "reminder", "activity"
OFFERS_A_DAY = 3
DIGEST_WINDOW = timedelta(seconds=3)
_MAX_ATTEMPTS = 4
"""Retries end within seconds, so that a broken address becomes a dead letter while one watches."""


@dataclass(frozen=True, slots=True)
class Key:
    """The shop's credentials."""

    app_key: str
    app_secret: str = field(repr=False)


class ImportFailed(Exception):
    """Recipients were refused; the message names the first and why."""


async def open_app(operator: AsyncClient, practice: Practice, tracker_url: str) -> Key:
    """The app (made at the first run), a new key, and an account with each provider of the sandbox, which report to the
    tracker. Raises ClarionError, OSError."""
    with suppress(AlreadyExists):
        await operator.apps.create(APP)
    await open_accounts(operator, APP, practice, tracker_url)
    made = await operator.apps.create_key(APP, SCOPES)
    return Key(made.key.app_key, made.app_secret)


async def furnish(client: AsyncClient) -> None:
    """Categories and templates. Raises ClarionError."""
    for category in shop_categories():
        await client.categories.put(category)
    for template in shop_templates():
        await client.templates.put(
            template.name,
            template.bodies,
            sample_data=template.sample_data,
            default_locale=template.default_locale,
        )


async def welcome(client: AsyncClient, recipients: Sequence[Recipient], progress: Callable[[int], object]) -> None:
    """Import recipients; `progress` is told how many are stored. Raises ClarionError, ImportFailed."""
    outcomes = await client.recipients.upsert_many(recipients, progress=progress)
    refused = [(r.recipient_id, o) for r, o in zip(recipients, outcomes, strict=True) if isinstance(o, ClarionError)]
    if refused:
        name, error = refused[0]
        raise ImportFailed(f"{len(refused)} recipients were refused, the first is {name}: {error}")


def shop_categories() -> list[Category]:
    """One-time codes at most once, order updates, and promotions: at most three deliveries a day to one person, none in
    quiet hours. Reminders wait for the end of quiet hours; activity gathers to digests."""
    security = Category(name=SECURITY, critical=True, guarantee=Guarantee.GUARANTEE_AT_MOST_ONCE)
    security.time_to_live.FromTimedelta(timedelta(minutes=10))
    transactional = Category(name=TRANSACTIONAL, guarantee=Guarantee.GUARANTEE_AT_LEAST_ONCE)
    marketing = Category(name=MARKETING, guarantee=Guarantee.GUARANTEE_AT_LEAST_ONCE)
    cap = marketing.caps.add(limit=OFFERS_A_DAY)
    cap.window.FromTimedelta(timedelta(days=1))
    reminder = Category(name=REMINDER, quiet_hours_action=GateAction.GATE_ACTION_DEFER)
    activity = Category(name=ACTIVITY)
    activity.digest_window.FromTimedelta(DIGEST_WINDOW)
    categories = [security, transactional, marketing, reminder, activity]
    for category in categories:
        category.max_attempts = _MAX_ATTEMPTS
    return categories
