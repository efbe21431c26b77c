"""Persons as a whole in Postgres, as the daemon's own role: attributes and facts, merging, exporting, erasing."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import Caller, calling_as
from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import Channel
from clarion_ledger import audit_log
from clarion_preference.adapters.address_book import PostgresAddressBook
from clarion_preference.adapters.audience import PostgresTopics
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_preference.adapters.people import PostgresPeople
from clarion_preference.adapters.suppression_list import PostgresSuppressionList
from clarion_preference.adapters.wish_book import PostgresWishBook
from clarion_preference.addresses import Address, ApnsDevice, MailAddress, PhoneNumber
from clarion_preference.attributes import AddressFacts, Attribute
from clarion_preference.domain import NO_WISHES, Wishes
from clarion_preference.recipients import Actor, Reachable, RecipientUpdate, Sought, Upserted, WishWay
from clarion_preference.suppressions import Decision, SuppressionReason, SuppressionSource
from clarion_testkit.plugin import App, Database

PHONE = PhoneNumber("+821012345678")
MAIL = MailAddress("canary@example.com")
TOKEN = ApnsDevice("ab" * 32, development=True)
NO_NEWS = Wishes(choices={("news", None): False})
NO_SMS = Wishes(channels_off=frozenset({Channel.SMS}))
ALL = [int(channel) for channel in Channel]
ATTRIBUTES = (Attribute("nick", "canary"), Attribute("plan", "pro", filterable=True))


def ref(app: App, recipient_id: str) -> UUID:
    return UUID(bytes=recipient_reference(app.app_id, recipient_id))


async def store(directory: PostgresDirectory, app: App, *updates: RecipientUpdate) -> list[Upserted]:
    results = await directory.upsert(app.app_id, updates)
    assert not [result for result in results if isinstance(result, DomainError)]
    return [result for result in results if isinstance(result, Upserted)]


async def people_of(
    directory: PostgresDirectory, app: App, *recipients: str, addresses: Sequence[Address] = ()
) -> None:
    """The first has the addresses."""
    given = [RecipientUpdate(id_, addresses=tuple(addresses) if not n else ()) for n, id_ in enumerate(recipients)]
    await store(directory, app, *given)


async def resolved(book: PostgresAddressBook, app: App, recipient_id: str) -> Reachable | None:
    [found] = await book.reachable([Sought(app.app_id, recipient_reference(app.app_id, recipient_id), ALL)])
    return found


async def fields_of(refused: "pytest.ExceptionInfo[DomainError]") -> list[str]:
    return [fault.field for fault in refused.value.fields]


# ---------------------------------------------------------------- attributes and facts


async def test_attributes_come_back_and_only_those_that_are_not_personal_can_be_read(
    directory: PostgresDirectory, app: App, database: Database
) -> None:
    await store(directory, app, RecipientUpdate("anna", attributes=ATTRIBUTES))

    profile = await directory.profile(app.app_id, "anna")

    assert profile.attributes == ATTRIBUTES
    row = await database.pool.fetchval("SELECT r::text FROM preference.recipient r WHERE app_id = $1", app.app_id)
    assert "pro" in row
    assert "canary" not in row
    assert b"canary".hex() not in row


async def test_given_attributes_replace_all_and_none_keep_all(directory: PostgresDirectory, app: App) -> None:
    await store(directory, app, RecipientUpdate("anna", attributes=ATTRIBUTES))

    await store(directory, app, RecipientUpdate("anna", country="KR"))
    kept = (await directory.profile(app.app_id, "anna")).attributes
    await store(directory, app, RecipientUpdate("anna", attributes=(Attribute("plan", "free", filterable=True),)))

    assert kept == ATTRIBUTES
    assert (await directory.profile(app.app_id, "anna")).attributes == (Attribute("plan", "free", filterable=True),)


async def test_facts_of_an_address_stay_until_others_are_told_or_it_goes_to_somebody_else(
    directory: PostgresDirectory, app: App
) -> None:
    facts = AddressFacts("7.1", "canary's phone", verified=True)
    await people_of(directory, app, "anna", "bea")
    await directory.register(app.app_id, "anna", TOKEN, facts)

    await directory.register(app.app_id, "anna", TOKEN)
    [annas] = (await directory.profile(app.app_id, "anna")).addresses
    await directory.register(app.app_id, "bea", TOKEN)
    [beas] = (await directory.profile(app.app_id, "bea")).addresses

    assert (annas.facts, annas.push_environment) == (facts, "apns-dev")
    assert beas.facts is None


# ---------------------------------------------------------------- merging


async def test_merged_recipient_has_what_both_had(
    directory: PostgresDirectory, people: PostgresPeople, topics: PostgresTopics, app: App
) -> None:
    await store(
        directory,
        app,
        RecipientUpdate("anna", country="KR", addresses=(PHONE,), wishes=NO_NEWS, attributes=ATTRIBUTES),
        RecipientUpdate(
            "guest", "ko", "Asia/Seoul", "US", (MAIL,), NO_SMS, (Attribute("plan", "free", True), Attribute("x", "y"))
        ),
    )
    await topics.subscribe(app.app_id, "sports", ["guest", "anna"])
    await topics.subscribe(app.app_id, "music", ["guest"])

    await people.merge(app.app_id, "anna", "guest", "key")

    profile = await directory.profile(app.app_id, "guest")
    assert (profile.recipient_id, profile.locale, profile.time_zone, profile.country) == (
        "anna",
        "ko",
        "Asia/Seoul",
        "KR",
    )
    assert {address.masked for address in profile.addresses} == {PHONE.masked, MAIL.masked}
    assert profile.wishes == Wishes(channels_off=frozenset({Channel.SMS}), choices={("news", None): False})
    assert profile.attributes == (*ATTRIBUTES, Attribute("x", "y"))
    assert await topics.topics_of(app.app_id, "guest", 10, "") == ["music", "sports"]
    assert await topics.count(app.app_id, "sports") == 1


async def test_old_id_goes_on_as_another_name(
    directory: PostgresDirectory,
    people: PostgresPeople,
    wish_book: PostgresWishBook,
    topics: PostgresTopics,
    book: PostgresAddressBook,
    app: App,
) -> None:
    await people_of(directory, app, "anna", "guest")
    await people.merge(app.app_id, "anna", "guest", "key")

    [again] = await store(
        directory, app, RecipientUpdate("guest", country="KR", addresses=(PHONE,), attributes=ATTRIBUTES)
    )
    await directory.register(app.app_id, "guest", MAIL)
    await directory.remove(app.app_id, "guest", PHONE)
    await wish_book.set_wishes(app.app_id, "guest", NO_NEWS, 0, Actor())
    await topics.subscribe(app.app_id, "music", ["guest"])

    anna, guest = await resolved(book, app, "anna"), await resolved(book, app, "guest")
    assert not again.created
    assert anna == guest
    assert anna is not None
    assert (anna.country, anna.wishes, list(anna.addresses)) == ("KR", NO_NEWS, [Channel.EMAIL])
    assert (await directory.profile(app.app_id, "anna")).attributes == ATTRIBUTES
    assert await topics.topics_of(app.app_id, "anna", 10, "") == ["music"]


async def test_revision_of_an_alias_follows_every_change_of_the_one_it_means(
    directory: PostgresDirectory, people: PostgresPeople, wish_book: PostgresWishBook, app: App, database: Database
) -> None:
    await people_of(directory, app, "anna", "guest", "visitor")
    planned = await database.pool.fetchval(
        "SELECT revision FROM preference.recipient WHERE recipient_ref = $1", ref(app, "guest")
    )
    await people.merge(app.app_id, "guest", "visitor", "key")
    merged = await people.merge(app.app_id, "anna", "guest", "key")

    changed = await wish_book.set_wishes(app.app_id, "anna", NO_NEWS, 0, Actor())

    rows = await database.pool.fetch(
        "SELECT recipient_ref, merged_into, revision FROM preference.recipient WHERE app_id = $1", app.app_id
    )
    assert planned < merged < changed
    assert {row["revision"] for row in rows} == {changed}
    assert {row["recipient_ref"]: row["merged_into"] for row in rows} == {
        ref(app, "anna"): None,
        ref(app, "guest"): ref(app, "anna"),
        ref(app, "visitor"): ref(app, "anna"),
    }


async def test_merging_again_changes_nothing(directory: PostgresDirectory, people: PostgresPeople, app: App) -> None:
    await people_of(directory, app, "anna", "guest")
    first = await people.merge(app.app_id, "anna", "guest", "key")

    assert await people.merge(app.app_id, "anna", "guest", "key") == first


async def test_merging_into_an_alias_or_what_was_merged_elsewhere_is_refused(
    directory: PostgresDirectory, people: PostgresPeople, app: App
) -> None:
    await people_of(directory, app, "anna", "guest", "bea")
    await people.merge(app.app_id, "anna", "guest", "key")

    for into, from_, field in (
        ("guest", "bea", "into_recipient_id"),
        ("guest", "anna", "into_recipient_id"),
        ("bea", "guest", "from_recipient_id"),
    ):
        with pytest.raises(DomainError) as refused:
            await people.merge(app.app_id, into, from_, "key")
        assert (refused.value.reason, await fields_of(refused)) == (ErrorReason.INVALID_FIELD, [field])


async def test_merging_whom_nobody_knows_or_who_was_erased_is_refused(
    directory: PostgresDirectory, people: PostgresPeople, app: App
) -> None:
    await people_of(directory, app, "anna", "gone")
    await people.erase(app.app_id, "gone")

    for into, from_, missing in (("anna", "nobody", "nobody"), ("gone", "anna", "gone"), ("anna", "gone", "gone")):
        with pytest.raises(DomainError) as refused:
            await people.merge(app.app_id, into, from_, "key")
        assert (refused.value.reason, refused.value.metadata) == (
            ErrorReason.RECIPIENT_NOT_FOUND,
            {"recipient_id": missing},
        )


async def test_both_names_of_one_recipient_in_a_batch_are_refused_the_second_time(
    directory: PostgresDirectory, people: PostgresPeople, app: App
) -> None:
    await people_of(directory, app, "anna", "guest")
    await people.merge(app.app_id, "anna", "guest", "key")

    for attributes in (None, ATTRIBUTES):
        results = await directory.upsert(
            app.app_id,
            [
                RecipientUpdate("guest", country="KR", attributes=attributes),
                RecipientUpdate("anna", country="US", addresses=(PHONE,), attributes=attributes),
            ],
        )
        assert isinstance(results[0], Upserted)
        assert isinstance(results[1], DomainError)
        assert [fault.field for fault in results[1].fields] == ["recipient_id"]
    profile = await directory.profile(app.app_id, "anna")
    assert (profile.country, profile.addresses) == ("KR", ())


async def test_merge_is_in_the_log_together_with_the_changes_of_both(
    directory: PostgresDirectory, people: PostgresPeople, wish_book: PostgresWishBook, app: App
) -> None:
    await store(directory, app, RecipientUpdate("anna", wishes=NO_NEWS), RecipientUpdate("guest", wishes=NO_SMS))
    await people.merge(app.app_id, "anna", "guest", "key")

    changes = await wish_book.changes(app.app_id, "guest", 10, None)

    assert [change.way for change in changes] == [WishWay.MERGE, WishWay.API, WishWay.API]
    assert changes[0].before == NO_NEWS


async def test_writers_and_merges_at_once_lose_no_address_and_do_not_deadlock(
    directory: PostgresDirectory, people: PostgresPeople, wish_book: PostgresWishBook, app: App
) -> None:
    guests = [f"guest-{number}" for number in range(8)]
    await people_of(directory, app, "anna", *guests)
    numbers = [PhoneNumber(f"+8210123456{number:02d}") for number in range(40)]

    async def register(place: int) -> None:
        await directory.register(app.app_id, guests[place % len(guests)], numbers[place])
        await wish_book.set_wishes(app.app_id, guests[-1 - place % len(guests)], NO_NEWS, 0, Actor())

    async with asyncio.TaskGroup() as group:
        for place in range(len(numbers)):
            group.create_task(register(place))
            if place % 5 == 0:
                group.create_task(people.merge(app.app_id, "anna", guests[place // 5], "key"))

    profile = await directory.profile(app.app_id, "anna")
    assert len(profile.addresses) == len(numbers)


# ---------------------------------------------------------------- exporting


async def test_export_holds_everything_opened(
    directory: PostgresDirectory,
    people: PostgresPeople,
    topics: PostgresTopics,
    suppressions: PostgresSuppressionList,
    app: App,
    database: Database,
) -> None:
    await store(directory, app, RecipientUpdate("anna", wishes=NO_NEWS, addresses=(MAIL,), attributes=ATTRIBUTES))
    await people_of(directory, app, "guest")
    await people.merge(app.app_id, "anna", "guest", "key")
    await topics.subscribe(app.app_id, "music", ["anna"])
    await suppressions.put([Decision(app.app_id, MAIL, SuppressionReason.APP, SuppressionSource.APP, note="canary")])
    delivery = await ended_delivery(database, app, "guest")

    everything = await people.everything(app.app_id, "guest")

    assert (everything.profile.recipient_id, everything.former_ids, everything.topics) == (
        "anna",
        ("guest",),
        ("music",),
    )
    assert everything.profile.attributes == ATTRIBUTES
    assert [address.address for address in everything.profile.addresses] == [MAIL]
    assert [(entry.address, entry.note) for entry in everything.suppressed] == [(MAIL, "canary")]
    assert [change.way for change in everything.wish_changes] == [WishWay.MERGE, WishWay.API]
    assert [one.delivery_id for one in everything.deliveries] == [delivery]


# ---------------------------------------------------------------- erasing


async def ended_delivery(database: Database, app: App, recipient_id: str) -> UUID:
    """A delivery that was sent, with its body."""
    return await a_delivery(database, app, recipient_id, state=20)


async def a_delivery(
    database: Database, app: App, recipient_id: str, *, state: int, planned: timedelta = timedelta(seconds=5)
) -> UUID:
    """As planning and dispatch leave it; in flight (`state` < 20) it has work."""
    async with database.pool.acquire() as db, db.transaction():
        id_: UUID = await db.fetchval("SELECT uuidv7()")
        notification: UUID = await db.fetchval("SELECT uuidv7()")
        await db.execute(
            """INSERT INTO ledger.notification (expire_at, id, app_id, category_id, recipient_count, priority, state,
                                                event_id, planned_count)
               VALUES (now() + interval '1 day', $1, $2, 1, 1, 2, 3, $3, 1)""",
            notification,
            app.app_id,
            str(notification),
        )
        await db.execute("INSERT INTO ledger.notification_body (id, payload) VALUES ($1, 'asked')", notification)
        await db.execute(
            """INSERT INTO ledger.delivery (id, notification_id, recipient_ref, app_id, category_id, channel, priority,
                                            state, planned_at)
               VALUES ($1, $2, $3, $4, 1, 4, 2, $5, now() - $6::interval)""",
            id_,
            notification,
            ref(app, recipient_id),
            app.app_id,
            state if state >= 20 else 1,
            planned,
        )
        await db.execute("INSERT INTO ledger.delivery_body (id, address, content) VALUES ($1, 'a', 'c')", id_)
        if state < 20:
            await db.execute(
                """INSERT INTO ledger.delivery_work (expire_at, planned_at, delivery_id, notification_id, recipient_ref,
                       app_id, lane_id, channel, priority, state, max_attempts, at_most_once, due_at, ready_since,
                       lease_until)
                   VALUES (now() + interval '1 day', now() - $6::interval, $1, $2, $3, $4, 1, 4, 2, $5, 3, false,
                       now() + interval '1 hour', now(), now())""",
                id_,
                notification,
                ref(app, recipient_id),
                app.app_id,
                state,
                planned,
            )
    return id_


async def delivery_row(database: Database, id_: UUID) -> tuple[int, int, bool, bool, int]:
    """State, reason, whether it has a body, whether it has work, terminal events."""
    row = await database.pool.fetchrow(
        """SELECT d.state, d.reason, EXISTS (SELECT FROM ledger.delivery_body b WHERE b.id = d.id) AS body,
                  EXISTS (SELECT FROM ledger.delivery_work w WHERE w.delivery_id = d.id) AS work,
                  (SELECT count(*) FROM ledger.event e WHERE e.delivery_id = d.id AND e.kind = 5) AS events
           FROM ledger.delivery d WHERE d.id = $1""",
        id_,
    )
    assert row is not None
    return (row["state"], row["reason"], row["body"], row["work"], row["events"])


async def test_nothing_personal_is_left_of_an_erased_recipient(
    directory: PostgresDirectory,
    people: PostgresPeople,
    topics: PostgresTopics,
    suppressions: PostgresSuppressionList,
    book: PostgresAddressBook,
    app: App,
    database: Database,
) -> None:
    update = RecipientUpdate("canary", "ko", "Asia/Seoul", "KR", (MAIL, PHONE), NO_NEWS, ATTRIBUTES)
    await directory.upsert(app.app_id, [update], Actor(who="key"))
    await store(directory, app, RecipientUpdate("canary-guest"))
    await people.merge(app.app_id, "canary", "canary-guest", "key")
    await topics.subscribe(app.app_id, "music", ["canary"])
    await suppressions.put([Decision(app.app_id, MAIL, SuppressionReason.STOP_WORD, SuppressionSource.INBOUND_SMS)])

    await people.erase(app.app_id, "canary-guest")

    for table in ("recipient", "address", "attribute", "topic_member", "wish_change", "suppression"):
        rows = await database.pool.fetch(
            f"SELECT t::text AS row FROM preference.{table} t WHERE app_id = $1", app.app_id
        )
        for row in rows:
            assert "canary" not in row["row"]
            assert "Seoul" not in row["row"]
    assert await database.pool.fetchval("SELECT count(*) FROM preference.address WHERE app_id = $1", app.app_id) == 0
    assert await resolved(book, app, "canary") is None
    assert await resolved(book, app, "canary-guest") is None
    for id_ in ("canary", "canary-guest"):
        with pytest.raises(DomainError, match="no such recipient"):
            await directory.profile(app.app_id, id_)


async def test_erasing_and_taking_off_the_list_are_in_the_audit_log_without_names(
    directory: PostgresDirectory,
    people: PostgresPeople,
    suppressions: PostgresSuppressionList,
    database: Database,
    app: App,
) -> None:
    await people_of(directory, app, "canary", addresses=[MAIL])
    await suppressions.put([Decision(app.app_id, MAIL, SuppressionReason.COMPLAINT, SuppressionSource.PROVIDER)])
    with calling_as(Caller("gateway", app.app_id, "ck_1", frozenset({"recipient:write"}))):
        await suppressions.unsuppress(app.app_id, MAIL)
        await suppressions.unsuppress(app.app_id, MAIL)
        await people.erase(app.app_id, "canary")
        with pytest.raises(DomainError):
            await people.erase(app.app_id, "nobody")

    _, unsuppressed, erased = (await audit_log.page(database.pool, app_id=app.app_id, size=10))[0]

    assert (unsuppressed.act, erased.act) == ("Unsuppress", "EraseRecipient")
    assert erased.target == f"recipient {ref(app, 'canary')}"
    assert (erased.actor_app, erased.actor_key) == (app.app_id, "ck_1")
    assert "canary" not in str((unsuppressed, erased))


async def test_erased_stop_is_not_sent_to_again(
    directory: PostgresDirectory,
    people: PostgresPeople,
    suppressions: PostgresSuppressionList,
    book: PostgresAddressBook,
    app: App,
) -> None:
    await people_of(directory, app, "anna", addresses=[PHONE])
    await suppressions.put([Decision(app.app_id, PHONE, SuppressionReason.STOP_WORD, SuppressionSource.INBOUND_SMS)])
    await people.erase(app.app_id, "anna")

    await people_of(directory, app, "bea", addresses=[PHONE])

    bea = await resolved(book, app, "bea")
    assert bea is not None
    assert bea.suppressed == {Channel.SMS: SuppressionReason.STOP_WORD}
    assert not bea.addresses


async def test_erasing_cancels_what_rests_and_takes_the_content_of_what_ended(
    directory: PostgresDirectory, people: PostgresPeople, app: App, database: Database
) -> None:
    await people_of(directory, app, "anna", "bea")
    resting = [await a_delivery(database, app, "anna", state=state) for state in (1, 2, 4, 5, 6, 7)]
    sent = await ended_delivery(database, app, "anna")
    beas = await a_delivery(database, app, "bea", state=1)

    await people.erase(app.app_id, "anna")

    assert {await delivery_row(database, id_) for id_ in resting} == {(24, 73, False, False, 1)}
    assert await delivery_row(database, sent) == (20, 0, False, False, 0)
    assert await delivery_row(database, beas) == (1, 0, True, True, 0)
    assert (
        await database.pool.fetchval(
            """SELECT count(*) FROM ledger.notification_body b JOIN ledger.delivery d ON d.notification_id = b.id
           WHERE d.app_id = $1""",
            app.app_id,
        )
        == 1
    )


async def test_what_a_dispatcher_holds_is_taken_once_it_ended(
    directory: PostgresDirectory, people: PostgresPeople, app: App, database: Database
) -> None:
    await people_of(directory, app, "anna")
    leased = await a_delivery(database, app, "anna", state=3)
    await people.erase(app.app_id, "anna")
    held = await delivery_row(database, leased)
    await database.pool.execute("UPDATE ledger.delivery_work SET state = 4 WHERE delivery_id = $1", leased)
    await make_due(database, app, timedelta(minutes=3))

    await people.finish_erasures()

    assert held == (1, 0, True, True, 0)
    assert await delivery_row(database, leased) == (24, 73, False, False, 1)
    assert await erasures(database, app) == 0


async def make_due(database: Database, app: App, age: timedelta) -> None:
    """As if the erasure was `age` ago, and what it takes was planned before it."""
    await database.pool.execute(
        "UPDATE preference.erasure SET next_at = now(), erased_at = now() - $2::interval WHERE app_id = $1",
        app.app_id,
        age,
    )
    await database.pool.execute(
        "UPDATE ledger.delivery_work SET planned_at = planned_at - $2::interval WHERE app_id = $1", app.app_id, age
    )


async def erasures(database: Database, app: App) -> int:
    count: int = await database.pool.fetchval("SELECT count(*) FROM preference.erasure WHERE app_id = $1", app.app_id)
    return count


async def test_erasure_goes_on_until_late_plans_are_impossible(
    directory: PostgresDirectory, people: PostgresPeople, app: App, database: Database
) -> None:
    await people_of(directory, app, "anna")
    await people.erase(app.app_id, "anna")
    await make_due(database, app, timedelta(minutes=1))
    late = await a_delivery(database, app, "anna", state=1, planned=timedelta(minutes=2))

    await people.finish_erasures()
    waiting = await erasures(database, app)
    await make_due(database, app, timedelta(minutes=3))
    await people.finish_erasures()

    assert await delivery_row(database, late) == (24, 73, False, False, 1)
    assert (waiting, await erasures(database, app)) == (1, 0)


async def test_erasing_again_changes_nothing_and_one_that_never_was_is_not_found(
    directory: PostgresDirectory, people: PostgresPeople, app: App
) -> None:
    await people_of(directory, app, "anna")
    await people.erase(app.app_id, "anna")

    await people.erase(app.app_id, "anna")

    with pytest.raises(DomainError) as refused:
        await people.erase(app.app_id, "nobody")
    assert refused.value.reason is ErrorReason.RECIPIENT_NOT_FOUND


async def test_registration_after_an_erasure_begins_anew_and_old_work_stays_cancelled(
    directory: PostgresDirectory, people: PostgresPeople, app: App, database: Database
) -> None:
    await store(directory, app, RecipientUpdate("anna", country="KR", addresses=(PHONE,), wishes=NO_NEWS))
    before = (await directory.profile(app.app_id, "anna")).revision
    held = await a_delivery(database, app, "anna", state=3)
    await people.erase(app.app_id, "anna")

    [again] = await store(directory, app, RecipientUpdate("anna", addresses=(PHONE,)))
    new = await a_delivery(database, app, "anna", state=1, planned=-timedelta(seconds=1))
    await database.pool.execute("UPDATE ledger.delivery_work SET state = 4 WHERE delivery_id = $1", held)
    await database.pool.execute("UPDATE preference.erasure SET next_at = now() WHERE app_id = $1", app.app_id)
    await people.finish_erasures()

    profile = await directory.profile(app.app_id, "anna")
    assert again.created
    assert (profile.country, profile.wishes) == ("", NO_WISHES)
    assert profile.revision > before + 1
    assert (await delivery_row(database, held))[:2] == (24, 73)
    assert await delivery_row(database, new) == (1, 0, True, True, 0)


async def test_rows_of_the_erased_are_forgotten_after_everything_in_flight_is_over(
    directory: PostgresDirectory, people: PostgresPeople, app: App, database: Database
) -> None:
    await people_of(directory, app, "anna", "bea")
    for id_ in ("anna", "bea"):
        await people.erase(app.app_id, id_)
    await database.pool.execute(
        "UPDATE preference.recipient SET erased_at = now() - interval '61 days' WHERE recipient_ref = $1",
        ref(app, "anna"),
    )

    await people.forget_erased()

    left = await database.pool.fetch("SELECT recipient_ref FROM preference.recipient WHERE app_id = $1", app.app_id)
    assert [row["recipient_ref"] for row in left] == [ref(app, "bea")]


# ---------------------------------------------------------------- what dispatchers notice


async def claimed_as_changed(database: Database, id_: UUID) -> bool:
    """Whether a claim of a delivery finds that its recipient is not as the plan saw it."""
    changed: bool = await database.pool.fetchval("SELECT changed FROM ledger.claim($1, interval '30 seconds')", [id_])
    return changed


async def planned_now(database: Database, app: App, recipient_id: str) -> UUID:
    """A delivery that knows today's revision of its recipient."""
    id_ = await a_delivery(database, app, recipient_id, state=2)
    await database.pool.execute(
        """UPDATE ledger.delivery_work w SET enqueued_at = now(), due_at = NULL, ready_since = NULL, wishes_revision = r.revision
           FROM preference.recipient r WHERE w.delivery_id = $1 AND r.recipient_ref = w.recipient_ref""",
        id_,
    )
    return id_


async def test_claim_notices_a_merge_and_what_happens_to_the_one_that_stays(
    directory: PostgresDirectory, people: PostgresPeople, wish_book: PostgresWishBook, app: App, database: Database
) -> None:
    await people_of(directory, app, "anna", "guest")
    before = [await planned_now(database, app, id_) for id_ in ("anna", "guest")]
    await people.merge(app.app_id, "anna", "guest", "key")
    same, later = [await planned_now(database, app, "guest") for _ in range(2)]

    noticed = [await claimed_as_changed(database, id_) for id_ in (*before, same)]
    await wish_book.set_wishes(app.app_id, "anna", NO_NEWS, 0, Actor())

    assert noticed == [True, True, False]
    assert await claimed_as_changed(database, later)


async def test_claim_notices_an_erasure_even_after_a_new_registration(
    directory: PostgresDirectory, people: PostgresPeople, app: App, database: Database
) -> None:
    await people_of(directory, app, "anna")
    id_ = await planned_now(database, app, "anna")
    await database.pool.execute("UPDATE ledger.delivery_work SET state = 3 WHERE delivery_id = $1", id_)
    await people.erase(app.app_id, "anna")
    await people_of(directory, app, "anna")
    await database.pool.execute("UPDATE ledger.delivery_work SET state = 2 WHERE delivery_id = $1", id_)

    assert await claimed_as_changed(database, id_)
