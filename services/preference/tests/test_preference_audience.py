"""Topics and audiences in Postgres, as the daemon's own role."""

from datetime import UTC, datetime, timedelta

import pytest

from clarion_kit.errors import DomainError
from clarion_kit.sealing import recipient_reference
from clarion_preference.adapters.audience import PostgresAudiences, PostgresTopics
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_preference.adapters.people import PostgresPeople
from clarion_preference.attributes import Attribute
from clarion_preference.audiences import Audience, Condition, Page
from clarion_preference.recipients import RecipientUpdate
from clarion_testkit.plugin import App, Database


async def store(directory: PostgresDirectory, app: App, *updates: RecipientUpdate) -> None:
    results = await directory.upsert(app.app_id, updates)
    assert not [result for result in results if isinstance(result, DomainError)]


async def people_of(directory: PostgresDirectory, app: App, *recipients: str) -> None:
    await store(directory, app, *map(RecipientUpdate, recipients))


def page(audience: Audience, *, size: int = 100, after: bytes = bytes(16), as_of: datetime | None = None) -> Page:
    return Page(audience, as_of or datetime.now(UTC) + timedelta(minutes=1), after, size)


def refs(app: App, *recipient_ids: str) -> list[bytes]:
    return sorted(recipient_reference(app.app_id, id_) for id_ in recipient_ids)


async def test_audience_is_everybody_a_topic_or_who_meets_every_condition(
    directory: PostgresDirectory, topics: PostgresTopics, audiences: PostgresAudiences, app: App, other_app: App
) -> None:
    await store(
        directory,
        app,
        *(
            RecipientUpdate(id_, attributes=(Attribute("plan", plan, True), Attribute("city", city, True)))
            for id_, plan, city in (("a", "pro", "x"), ("b", "free", "x"), ("c", "pro", "y"), ("d", "old", "x"))
        ),
    )
    await people_of(directory, other_app, "a")
    await topics.subscribe(app.app_id, "music", ["a", "d"])
    paying = Condition("plan", ("pro", "old"))

    async def of(audience: Audience) -> list[bytes]:
        return await audiences.page(app.app_id, page(audience))

    assert await of(Audience()) == refs(app, "a", "b", "c", "d")
    assert await of(Audience("music")) == refs(app, "a", "d")
    assert await of(Audience("nobody")) == []
    assert await of(Audience(conditions=(paying,))) == refs(app, "a", "c", "d")
    assert await of(Audience(conditions=(paying, Condition("city", ("x",))))) == refs(app, "a", "d")
    assert await of(Audience(conditions=(paying, Condition("city", ("z",))))) == []
    assert [
        await audiences.estimate(app.app_id, one) for one in (Audience(), Audience("music"), Audience("nobody"))
    ] == [
        4,
        2,
        0,
    ]


@pytest.mark.parametrize(
    "audience", [Audience(), Audience("music"), Audience(conditions=(Condition("k", ("1", "2")),))]
)
async def test_pages_give_everybody_once_and_nobody_who_came_after_the_start(
    directory: PostgresDirectory,
    topics: PostgresTopics,
    audiences: PostgresAudiences,
    app: App,
    database: Database,
    audience: Audience,
) -> None:
    async def join(*ids: str) -> None:
        updates = [
            RecipientUpdate(id_, attributes=(Attribute("k", str(1 + n % 2), True),)) for n, id_ in enumerate(ids)
        ]
        await store(directory, app, *updates)
        await topics.subscribe(app.app_id, "music", ids)

    first = [f"r{number}" for number in range(25)]
    await join(*first)
    start: datetime = await database.pool.fetchval("SELECT clock_timestamp()")
    await join("late", "later")

    found: list[bytes] = []
    while True:
        last = found[-1] if found else bytes(16)
        some = await audiences.page(app.app_id, page(audience, size=10, after=last, as_of=start))
        found += some
        if len(some) < 10:
            break

    assert found == refs(app, *first)


async def test_audience_leaves_out_aliases_and_the_erased(
    directory: PostgresDirectory, people: PostgresPeople, audiences: PostgresAudiences, app: App
) -> None:
    await people_of(directory, app, "anna", "guest", "gone")
    await people.merge(app.app_id, "anna", "guest", "key")
    await people.erase(app.app_id, "gone")

    assert await audiences.page(app.app_id, page(Audience())) == refs(app, "anna")


async def test_subscribing_is_idempotent_and_tells_who_is_unknown(
    directory: PostgresDirectory, topics: PostgresTopics, app: App
) -> None:
    await people_of(directory, app, "a", "b")

    assert await topics.subscribe(app.app_id, "music", ["a", "nobody", "b", "a"]) == (2, [1])
    assert await topics.subscribe(app.app_id, "music", ["b"]) == (0, [])
    assert await topics.unsubscribe(app.app_id, "music", ["a", "nobody"]) == 1
    assert await topics.unsubscribe(app.app_id, "music", ["a"]) == 0
    assert await topics.count(app.app_id, "music") == 1


async def test_large_audience_is_estimated_by_statistics(
    audiences: PostgresAudiences, app: App, database: Database
) -> None:
    await database.pool.execute(
        """INSERT INTO preference.topic_member (app_id, topic, recipient_ref)
           SELECT $1, 'music', gen_random_uuid() FROM generate_series(1, 12000)""",
        app.app_id,
    )
    await database.pool.execute("ANALYZE preference.topic_member")

    estimated = await audiences.estimate(app.app_id, Audience("music"))

    assert 11_000 < estimated < 13_000
