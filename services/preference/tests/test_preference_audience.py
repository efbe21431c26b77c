"""Topics and audiences in Postgres, as the daemon's own role."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarion_kit.errors import DomainError
from clarion_kit.sealing import recipient_reference
from clarion_ledger.db import Pool
from clarion_preference.adapters import intersection
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


# ---------------------------------------------------------------- several conditions

VALUES: Mapping[str, Sequence[str]] = {
    "plan": ("free", "pro"),
    "city": ("a", "b", "c", "d", "e"),
    "known": ("yes",),
    "rare": ("x", *(f"n{number}" for number in range(60))),
}
"""Attributes of everybody, from one value for all to a value for few."""
_FILL = """
INSERT INTO preference.attribute (app_id, key, value, recipient_ref, since) SELECT $1, $2, i.value, i.ref, $5
FROM unnest($3::text[], $4::uuid[]) AS i (value, ref)
"""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
People = dict[bytes, dict[str, str]]


def crowd(count: int, seed: int = 0) -> People:
    """People with a value of each attribute, in the order of their references."""
    random = Random(seed)
    refs = sorted(random.randbytes(16) for _ in range(count))
    return {ref: {key: random.choice(values) for key, values in VALUES.items()} for ref in refs}


async def populate(pool: Pool, app_id: int, people: People, *, since: datetime = LONG_AGO) -> None:
    refs = [UUID(bytes=ref) for ref in people]
    for key in VALUES:
        await pool.execute(_FILL, app_id, key, [has[key] for has in people.values()], refs, since)
    await pool.execute("ANALYZE preference.attribute")


@st.composite
def several(draw: st.DrawFn) -> tuple[Condition, ...]:
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=2, max_size=4))
    return tuple(
        Condition(key, tuple(draw(st.lists(st.sampled_from(VALUES[key]), min_size=1, max_size=4, unique=True))))
        for key in keys
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    conditions=several(), size=st.integers(1, 120), times=st.sampled_from([0, 1, 3, 1_000]), most=st.integers(1, 400)
)
async def test_pages_of_several_conditions_give_exactly_those_who_meet_all(
    audiences: PostgresAudiences,
    app: App,
    database: Database,
    conditions: tuple[Condition, ...],
    size: int,
    times: int,
    most: int,
) -> None:
    """Whatever is walked, intersected and looked up, and however long pages and blocks are."""
    people = crowd(300)
    if not await database.pool.fetchval("SELECT count(*) FROM preference.attribute WHERE app_id = $1", app.app_id):
        await populate(database.pool, app.app_id, people)
        await populate(database.pool, app.app_id, crowd(60, seed=1), since=datetime(2030, 1, 1, tzinfo=UTC))

    found: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intersection, "LOOKED_UP_FROM", times)
        patch.setattr(intersection, "MOST_AT_ONCE", most)
        while True:
            after = found[-1] if found else bytes(16)
            some = await audiences.page(
                app.app_id, Page(Audience(conditions=conditions), datetime(2025, 1, 1, tzinfo=UTC), after, size)
            )
            found += some
            if len(some) < size:
                break

    assert found == [ref for ref, has in people.items() if all(has[one.key] in one.values for one in conditions)]


@dataclass(frozen=True, slots=True)
class Scan:
    """One node of a plan that reads attributes, and how many rows it read in all."""

    how: str
    index: str
    read: float


def scans(plan: Mapping[str, object]) -> Iterator[Scan]:
    def number(name: str) -> float:
        return float(str(plan.get(name, 0)))

    if plan.get("Relation Name") == "attribute":
        read = (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops")
        yield Scan(str(plan["Node Type"]), str(plan.get("Index Name")), read)
    children = plan.get("Plans", [])
    assert isinstance(children, list)
    for child in children:
        yield from scans(child)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_page_of_several_conditions_reads_its_stretch_of_the_index_and_no_more(
    app: App, database: Database, mode: str
) -> None:
    await populate(database.pool, app.app_id, crowd(6_000))
    size = 200
    middle = UUID(int=1 << 127)
    arguments = ("plan", ["pro"], "city", ["a", "b", "c"], "known", ["yes"])
    async with database.pool.acquire() as db, db.transaction():
        await db.execute(f"SET LOCAL plan_cache_mode = {mode}")
        explained = await db.fetchval(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {intersection.statement(1, 1)}",
            app.app_id, middle, datetime.now(UTC), size, size, *arguments,
        )  # fmt: skip

    found = list(scans(json.loads(explained)[0]["Plan"]))

    assert len(found) == 3
    assert {one.how for one in found} <= {"Index Only Scan", "Index Scan"}
    assert {one.index for one in found} <= {"attribute_pkey", "attribute_recipient"}
    assert max(one.read for one in found) <= 4 * size
