"""Suppression lists in Postgres, as the daemon's own role."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import Channel
from clarion_preference.adapters.address_book import PostgresAddressBook
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_preference.adapters.suppression_list import PostgresSuppressionList
from clarion_preference.addresses import Address, MailAddress, PhoneNumber
from clarion_preference.recipients import RecipientUpdate, Sought, Upserted
from clarion_preference.suppressions import (
    BOUNCES_KEPT,
    SOFT_BOUNCES,
    Decision,
    Entry,
    Reach,
    SuppressionReason,
    SuppressionSource,
)
from clarion_testkit.plugin import App, Database

PHONE = PhoneNumber("+821012345678")
MAIL = MailAddress("anna@example.com")
OTHER_MAIL = MailAddress("anna@example.org")
DAY = timedelta(days=1)


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def decision(
    app: App,
    key: UUID | Address,
    reason: SuppressionReason = SuppressionReason.STOP_WORD,
    at: datetime | None = None,
    note: str = "",
) -> Decision:
    return Decision(app.app_id, key, reason, SuppressionSource.PROVIDER, at, note)


async def store(directory: PostgresDirectory, app: App, *addresses: Address, recipient: str = "anna") -> list[UUID]:
    [result] = await directory.upsert(app.app_id, [RecipientUpdate(recipient, addresses=addresses)])
    assert isinstance(result, Upserted)
    return list(result.address_ids)


async def registered_long_ago(database: Database, address_id: UUID) -> None:
    await database.pool.execute(
        "UPDATE preference.address SET registered_at = now() - interval '90 days' WHERE address_id = $1", address_id
    )


async def revision(directory: PostgresDirectory, app: App, recipient: str = "anna") -> int:
    return (await directory.profile(app.app_id, recipient)).revision


async def listed(suppressions: PostgresSuppressionList, app: App) -> list[Entry]:
    return await suppressions.page(app.app_id, 100, None, None, None)


async def usable(book: PostgresAddressBook, app: App, channel: Channel, recipient: str = "anna") -> tuple[int, object]:
    """Usable addresses of the channel, and why others are not."""
    [found] = await book.reachable([Sought(app.app_id, recipient_reference(app.app_id, recipient), [int(channel)])])
    assert found is not None
    return len(found.addresses.get(channel, ())), found.suppressed.get(channel)


async def test_suppressed_address_is_not_used_and_another_of_the_channel_is(
    suppressions: PostgresSuppressionList, directory: PostgresDirectory, book: PostgresAddressBook, app: App
) -> None:
    mail, _ = await store(directory, app, MAIL, OTHER_MAIL)

    await suppressions.put([decision(app, mail, SuppressionReason.COMPLAINT)])

    assert await usable(book, app, Channel.EMAIL) == (1, SuppressionReason.COMPLAINT)
    await suppressions.put([decision(app, OTHER_MAIL, SuppressionReason.HARD_BOUNCE)])
    assert (await usable(book, app, Channel.EMAIL))[0] == 0


async def test_address_may_be_suppressed_before_anybody_has_it(
    suppressions: PostgresSuppressionList, directory: PostgresDirectory, book: PostgresAddressBook, app: App
) -> None:
    await suppressions.put([decision(app, PHONE)])

    await store(directory, app, PHONE)

    assert await usable(book, app, Channel.SMS) == (0, SuppressionReason.STOP_WORD)


async def test_list_holds_for_its_own_app_alone(
    suppressions: PostgresSuppressionList,
    directory: PostgresDirectory,
    book: PostgresAddressBook,
    app: App,
    other_app: App,
) -> None:
    [theirs] = await store(directory, other_app, PHONE)
    await store(directory, app, PHONE)

    decided = await suppressions.put([decision(app, theirs), decision(app, PHONE)])

    assert (decided.moved, decided.unknown) == (1, (0,))
    assert await usable(book, other_app, Channel.SMS) == (1, None)
    assert await listed(suppressions, other_app) == []


async def test_each_change_of_the_list_grows_the_owners_revision_once(
    suppressions: PostgresSuppressionList, directory: PostgresDirectory, app: App, database: Database
) -> None:
    [phone] = await store(directory, app, PHONE)
    await registered_long_ago(database, phone)
    seen = [await revision(directory, app)]

    for _ in range(2):
        await suppressions.put([decision(app, phone, at=ago(hours=2)), decision(app, PHONE, at=ago(hours=2))])
        seen.append(await revision(directory, app))
    for _ in range(2):
        await suppressions.lift([decision(app, phone)])
        seen.append(await revision(directory, app))
    await suppressions.put([decision(app, phone)])
    for _ in range(2):
        await suppressions.unsuppress(app.app_id, PHONE)
        seen.append(await revision(directory, app))

    assert [later - seen[0] for later in seen] == [0, 1, 1, 2, 2, 4, 4]


async def test_address_taken_over_while_it_is_suppressed_grows_its_new_owner(
    suppressions: PostgresSuppressionList, directory: PostgresDirectory, app: App, database: Database
) -> None:
    [phone] = await store(directory, app, PHONE)
    await store(directory, app, recipient="bert")
    before = await revision(directory, app, "bert")
    async with database.pool.acquire() as registering, registering.transaction():
        await registering.execute(
            "UPDATE preference.address SET recipient_ref = $2 WHERE address_id = $1",
            phone,
            UUID(bytes=recipient_reference(app.app_id, "bert")),
        )
        putting = asyncio.create_task(suppressions.put([decision(app, phone)]))
        await database.pool.execute(_UNTIL_SOMEBODY_WAITS_FOR_A_LOCK)
    await putting

    assert await revision(directory, app, "bert") > before


_UNTIL_SOMEBODY_WAITS_FOR_A_LOCK = """
DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted) LOOP PERFORM pg_sleep(0.005); END LOOP; END $$
"""


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_latest_word_counts_in_whatever_order_words_come(
    suppressions: PostgresSuppressionList, app: App, order: tuple[int, int]
) -> None:
    async def stop() -> None:
        await suppressions.put([decision(app, PHONE, at=ago(minutes=2))])

    async def start() -> None:
        await suppressions.lift([decision(app, PHONE, at=ago(minutes=1))])

    for turn in order:
        await (stop, start)[turn]()

    assert await listed(suppressions, app) == []


async def test_start_lifts_a_stop_and_never_a_complaint(suppressions: PostgresSuppressionList, app: App) -> None:
    await suppressions.put(
        [decision(app, PHONE, at=ago(minutes=2)), decision(app, PHONE, SuppressionReason.COMPLAINT, ago(minutes=2))]
    )

    await suppressions.lift([decision(app, PHONE)])
    [left] = await listed(suppressions, app)
    await suppressions.unsuppress(app.app_id, PHONE)

    assert left.reason is SuppressionReason.COMPLAINT
    assert await listed(suppressions, app) == []


async def test_event_that_is_told_again_does_not_undo_the_apps_word(
    suppressions: PostgresSuppressionList, app: App
) -> None:
    complaint = decision(app, MAIL, SuppressionReason.COMPLAINT, ago(minutes=5))
    await suppressions.put([complaint])
    await suppressions.unsuppress(app.app_id, MAIL)

    await suppressions.put([complaint])

    assert await listed(suppressions, app) == []


async def test_pages_show_each_entry_once_latest_first(suppressions: PostgresSuppressionList, app: App) -> None:
    numbers = [PhoneNumber(f"+8210123456{n:02}") for n in range(7)]
    for n, number in enumerate(numbers):
        await suppressions.put([decision(app, number, at=ago(hours=1 + n // 2), note=f"note {n}")])
    await suppressions.put([decision(app, MAIL, SuppressionReason.COMPLAINT, ago(hours=9))])

    seen: list[Entry] = []
    while page := await suppressions.page(app.app_id, 3, seen[-1].place if seen else None, Channel.SMS, None):
        seen += page

    assert {entry.address for entry in seen} == set(numbers)
    assert len(seen) == 7
    assert [entry.place for entry in seen] == sorted((entry.place for entry in seen), reverse=True)
    assert {entry.note for entry in seen} == {f"note {n}" for n in range(7)}
    [complaint] = await suppressions.page(app.app_id, 3, None, None, SuppressionReason.COMPLAINT)
    assert complaint.address == MAIL


async def test_what_rests_in_the_table_names_nobody(
    suppressions: PostgresSuppressionList, app: App, database: Database
) -> None:
    await suppressions.put([decision(app, MAIL, note="asked by phone")])
    resting = await database.pool.fetchval("SELECT string_agg(s::text, ' ') FROM preference.suppression s")
    await suppressions.lift([decision(app, MAIL)])
    row = await database.pool.fetchrow("SELECT * FROM preference.suppression WHERE app_id = $1", app.app_id)

    plain = [text.encode().hex() for text in ("anna", "example.com", "asked by")]
    assert not any(text in resting for text in plain)
    assert row is not None
    assert (row["listed"], row["sealed"], row["note"]) == (False, None, None)


async def test_removed_address_stays_on_the_list(
    suppressions: PostgresSuppressionList, directory: PostgresDirectory, app: App
) -> None:
    [mail] = await store(directory, app, MAIL)
    await directory.remove(app.app_id, "anna", mail)

    await suppressions.put([decision(app, mail, SuppressionReason.COMPLAINT)])

    [entry] = await listed(suppressions, app)
    assert (entry.address, entry.channel) == (None, Channel.EMAIL)


class Bounces:
    """Soft bounces and arrivals of one mailbox that was registered long ago."""

    def __init__(self, suppressions: PostgresSuppressionList, app: App, address_id: UUID, database: Database) -> None:
        self._list = suppressions
        self._app = app
        self._address_id = address_id
        self._database = database

    def at(self, days_ago: float, *, arrived: bool = False, delivery: UUID | None = None) -> Reach:
        return Reach(self._app.app_id, self._address_id, delivery or uuid4(), ago(days=days_ago), arrived)

    async def report(self, *days_ago: float) -> int:
        """One by one; gives how many suppressed it."""
        return sum([await self._list.report_reach([self.at(days)]) for days in days_ago])

    async def kept(self) -> int:
        count: int = await self._database.pool.fetchval(
            "SELECT count(*) FROM preference.soft_bounce WHERE address_id = $1", self._address_id
        )
        return count


@pytest.fixture
async def bounces(
    suppressions: PostgresSuppressionList, directory: PostgresDirectory, app: App, database: Database
) -> Bounces:
    [mail] = await store(directory, app, MAIL)
    await registered_long_ago(database, mail)
    return Bounces(suppressions, app, mail, database)


async def test_five_soft_bounces_over_three_days_suppress(
    bounces: Bounces, suppressions: PostgresSuppressionList, directory: PostgresDirectory, app: App
) -> None:
    before = await revision(directory, app)

    assert await bounces.report(4, 3.5, 3, 2.5) == 0
    assert await bounces.report(0.9) == 1
    [entry] = await listed(suppressions, app)

    assert (entry.reason, entry.address) == (SuppressionReason.SOFT_BOUNCES, MAIL)
    assert await revision(directory, app) == before + 1


async def test_many_bounces_in_less_than_three_days_do_not(bounces: Bounces) -> None:
    assert await bounces.report(*(2.5 - n / 10 for n in range(20))) == 0

    assert await bounces.kept() == SOFT_BOUNCES
    assert await bounces.report(-0.6) == 0
    assert await bounces.report(2.9, 3.1) == 1


async def test_one_delivery_that_bounces_again_and_again_counts_once(
    bounces: Bounces, suppressions: PostgresSuppressionList
) -> None:
    delivery = uuid4()

    results = [await suppressions.report_reach([bounces.at(9 - n, delivery=delivery)]) for n in range(8)]

    assert results == [0] * 8


async def test_arrival_forgets_earlier_bounces_and_no_later_ones(
    bounces: Bounces, suppressions: PostgresSuppressionList
) -> None:
    await bounces.report(9, 8, 7, 6)
    await suppressions.report_reach([bounces.at(6.5, arrived=True)])

    assert await bounces.kept() == 1
    assert await bounces.report(5, 4, 3) == 0
    assert await bounces.report(2) == 1


async def test_registration_forgets_earlier_bounces(
    bounces: Bounces, directory: PostgresDirectory, suppressions: PostgresSuppressionList, app: App
) -> None:
    await bounces.report(9, 8, 7, 6)
    await store(directory, app, MAIL)

    assert await bounces.report(1) == 0
    assert await listed(suppressions, app) == []


async def test_bounces_of_long_ago_do_not_count_and_are_pruned(
    bounces: Bounces, suppressions: PostgresSuppressionList, database: Database
) -> None:
    await bounces.report(25, 24, 23, 22)
    await database.pool.execute("UPDATE preference.soft_bounce SET bounced_at = bounced_at - interval '10 days'")

    assert await bounces.report(1) == 0
    await suppressions.prune()

    assert await bounces.kept() == 1
    assert BOUNCES_KEPT > 25 * DAY


async def test_concurrent_reports_suppress_once(bounces: Bounces, suppressions: PostgresSuppressionList) -> None:
    reports = [bounces.at(9 - n) for n in range(5)]

    results = await asyncio.gather(*(suppressions.report_reach([one]) for one in reports))

    assert sum(results) == 1


async def test_writers_of_the_same_addresses_do_not_deadlock(
    suppressions: PostgresSuppressionList, directory: PostgresDirectory, app: App
) -> None:
    phones = [PhoneNumber(f"+8210123456{n:02}") for n in range(20)]
    updates = [RecipientUpdate(f"r{n}", addresses=(phone,)) for n, phone in enumerate(phones)]
    await directory.upsert(app.app_id, updates)

    async with asyncio.TaskGroup() as group:
        for turn in range(8):
            order = slice(None, None, -1 if turn % 2 else 1)
            group.create_task(directory.upsert(app.app_id, updates[order]))
            group.create_task(suppressions.put([decision(app, phone) for phone in phones[order]]))
            group.create_task(suppressions.lift([decision(app, phone) for phone in phones[order]]))

    assert len(await directory.upsert(app.app_id, updates)) == 20
