"""Wishes in Postgres, and the log of their changes, as the daemon's own role."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import asyncpg
import pytest

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import Channel
from clarion_ledger.db import Pool
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_preference.adapters.suppression_list import PostgresSuppressionList
from clarion_preference.adapters.wish_book import PostgresWishBook
from clarion_preference.addresses import PhoneNumber
from clarion_preference.domain import NO_WISHES, Wishes, switched
from clarion_preference.recipients import Actor, RecipientUpdate, WishWay
from clarion_preference.suppressions import Decision, SuppressionReason, SuppressionSource
from clarion_testkit.plugin import App

NO_NEWS = Wishes(choices={("news", None): False})
APP = Actor(who="key-1")
PHONE = PhoneNumber("+821012345678")


async def test_wishes_are_replaced_only_at_the_expected_revision(
    directory: PostgresDirectory, wish_book: PostgresWishBook, app: App
) -> None:
    await directory.upsert(app.app_id, [RecipientUpdate("anna")])

    second = await wish_book.set_wishes(app.app_id, "anna", NO_NEWS, 1, APP)
    with pytest.raises(DomainError) as refused:
        await wish_book.set_wishes(app.app_id, "anna", NO_WISHES, 1, APP)

    assert (refused.value.reason, refused.value.metadata) == (ErrorReason.REVISION_CONFLICT, {"revision": "2"})
    assert await wish_book.wishes(app.app_id, "anna") == (NO_NEWS, second)


async def test_repeated_set_wishes_gets_the_first_answer(
    directory: PostgresDirectory, wish_book: PostgresWishBook, app: App
) -> None:
    await directory.upsert(app.app_id, [RecipientUpdate("anna")])

    first = await wish_book.set_wishes(app.app_id, "anna", NO_NEWS, 1, APP)

    assert await wish_book.set_wishes(app.app_id, "anna", NO_NEWS, 1, APP) == first
    assert await wish_book.set_wishes(app.app_id, "anna", NO_WISHES, 0, APP) == first + 1


async def test_concurrent_switches_all_take_hold(
    directory: PostgresDirectory, wish_book: PostgresWishBook, app: App
) -> None:
    await directory.upsert(app.app_id, [RecipientUpdate("anna")])

    def without(channel: Channel) -> Callable[[Wishes], Wishes]:
        return lambda wishes: switched(wishes, channel, "", enabled=False)

    async with asyncio.TaskGroup() as group:
        for channel in Channel:
            group.create_task(wish_book.change_wishes(app.app_id, "anna", without(channel), APP))

    assert await wish_book.wishes(app.app_id, "anna") == (Wishes(channels_off=frozenset(Channel)), 1 + len(Channel))


async def test_every_change_of_wishes_is_logged_with_who_and_how(
    directory: PostgresDirectory, wish_book: PostgresWishBook, app: App
) -> None:
    await directory.upsert(app.app_id, [RecipientUpdate("anna", wishes=NO_NEWS)], APP)
    await wish_book.set_wishes(app.app_id, "anna", NO_WISHES, 0, Actor(who="key-2"))
    ref = UUID(bytes=recipient_reference(app.app_id, "anna"))
    await wish_book.change_wishes_of(
        app.app_id, ref, lambda wishes: switched(wishes, Channel.SMS, "", enabled=False), Actor(WishWay.ONE_CLICK)
    )

    changes = await wish_book.changes(app.app_id, "anna", 10, None)

    assert [(change.way, change.who, change.revision) for change in changes] == [
        (WishWay.ONE_CLICK, "", 3),
        (WishWay.API, "key-2", 2),
        (WishWay.API, "key-1", 1),
    ]
    assert [(change.before, change.after) for change in changes] == [
        (NO_WISHES, Wishes(channels_off=frozenset({Channel.SMS}))),
        (NO_NEWS, NO_WISHES),
        (None, NO_NEWS),
    ]


async def test_wishes_that_stay_as_they_are_are_not_logged(
    directory: PostgresDirectory, wish_book: PostgresWishBook, app: App
) -> None:
    await directory.upsert(app.app_id, [RecipientUpdate("anna", wishes=NO_NEWS)], APP)

    await directory.upsert(app.app_id, [RecipientUpdate("anna", wishes=NO_NEWS)], APP)
    await wish_book.set_wishes(app.app_id, "anna", NO_NEWS, 0, APP)

    assert len(await wish_book.changes(app.app_id, "anna", 10, None)) == 1


async def test_log_is_read_page_by_page(directory: PostgresDirectory, wish_book: PostgresWishBook, app: App) -> None:
    await directory.upsert(app.app_id, [RecipientUpdate("anna")])
    for enabled in (False, True, False):
        await wish_book.set_wishes(app.app_id, "anna", Wishes(choices={("news", None): enabled}), 0, APP)

    first = await wish_book.changes(app.app_id, "anna", 2, None)
    rest = await wish_book.changes(app.app_id, "anna", 2, first[-1].change_id)

    assert [change.revision for change in (*first, *rest)] == [4, 3, 2]


async def test_stop_and_start_are_in_the_log_of_whoever_has_the_number(
    directory: PostgresDirectory, wish_book: PostgresWishBook, suppressions: PostgresSuppressionList, app: App
) -> None:
    await directory.upsert(app.app_id, [RecipientUpdate("anna", addresses=(PHONE,))])
    word = Decision(app.app_id, PHONE, SuppressionReason.STOP_WORD, SuppressionSource.INBOUND_SMS)
    complaint = Decision(app.app_id, PHONE, SuppressionReason.COMPLAINT, SuppressionSource.PROVIDER)

    await suppressions.put([word, complaint])
    await suppressions.put([word])
    await suppressions.lift([word])

    changes = await wish_book.changes(app.app_id, "anna", 10, None)
    assert [(change.way, change.stopped) for change in changes] == [
        (WishWay.SMS_WORD, False),
        (WishWay.SMS_WORD, True),
    ]


@pytest.mark.parametrize(
    "statement", ["UPDATE preference.wish_change SET who = ''", "DELETE FROM preference.wish_change"]
)
async def test_daemon_cannot_change_the_log(daemon_pool: Pool, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await daemon_pool.execute(statement)
