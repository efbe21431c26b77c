"""Dead letters as the app sees them."""

from datetime import timedelta

from clarion_kit.vocabulary import Channel, DeliveryState, Reason
from clarion_ledger import dead_letters
from clarion_ledger.db import Pool
from clarion_ledger.dead_letters import LetterFilter
from clarion_ledger.dispatching import Record, record
from clarion_ledger.reading import MAX_UUID
from clarion_testkit.plugin import App, Database

from .ledger_samples import OUTCOME_RETRY, leased


async def dead(pool: Pool, app: App, reason: Reason) -> dead_letters.DeadLetterRow:
    claimed = await leased(pool, app)
    last_try = timedelta(milliseconds=40)
    await record(
        pool,
        [Record(claimed, DeliveryState.DEAD_LETTERED, reason, outcome=OUTCOME_RETRY, code="503", duration=last_try)],
    )
    [newest, *_] = await dead_letters.page(pool, app.app_id, size=1, before=MAX_UUID)
    return newest


async def found(pool: Pool, app: App, wanted: LetterFilter) -> list[dead_letters.DeadLetterRow]:
    return await dead_letters.page(pool, app.app_id, size=9, before=MAX_UUID, wanted=wanted)


async def test_dead_letters_come_newest_first_in_pages(database: Database, app: App) -> None:
    old, new = [await dead(database.pool, app, Reason.RETRIES_EXHAUSTED) for _ in range(2)]

    second_page = await dead_letters.page(database.pool, app.app_id, size=1, before=new.delivery_id)

    assert second_page == [old]
    assert (new.channel, new.last_code, new.attempts, new.redriven_as) == (Channel.ANDROID, "503", 1, None)


async def test_dead_letters_are_filtered_by_channel_and_reason(database: Database, app: App) -> None:
    poison = await dead(database.pool, app, Reason.POISON)
    await dead(database.pool, app, Reason.RETRIES_EXHAUSTED)

    assert await found(database.pool, app, LetterFilter(reason=Reason.POISON)) == [poison]
    assert await found(database.pool, app, LetterFilter(channel=Channel.IOS)) == []


async def test_dead_letters_are_filtered_by_time_provider_code_and_redrive(database: Database, app: App) -> None:
    old, new = [await dead(database.pool, app, Reason.RETRIES_EXHAUSTED) for _ in range(2)]
    await database.pool.execute(
        "UPDATE ledger.dead_letter SET at = at - interval '1 hour', last_code = '429', redriven_as = $1 WHERE delivery_id = $1",
        old.delivery_id,
    )
    hour_ago = new.at - timedelta(minutes=30)

    for wanted, expected in {
        LetterFilter(since=hour_ago): new,
        LetterFilter(until=hour_ago): old,
        LetterFilter(lane=new.lane): new,
        LetterFilter(last_code="429"): old,
        LetterFilter(redriven=True): old,
        LetterFilter(redriven=False): new,
    }.items():
        assert [letter.delivery_id for letter in await found(database.pool, app, wanted)] == [expected.delivery_id], (
            wanted
        )


async def test_whole_letter_has_every_attempt_with_its_provider(database: Database, app: App) -> None:
    letter = await dead(database.pool, app, Reason.RETRIES_EXHAUSTED)

    whole = await dead_letters.whole(database.pool, app.app_id, letter.delivery_id)

    assert whole is not None
    assert whole.letter == letter
    assert [(one.attempt, one.outcome, one.code, one.lane) for one in whole.attempts] == [(1, 5, "503", letter.lane)]
    assert whole.attempts[0].duration == timedelta(milliseconds=40)
    assert whole.content == b"content"
    assert await dead_letters.whole(database.pool, app.app_id + 1, letter.delivery_id) is None


async def test_dead_letters_of_another_app_are_not_there(database: Database, app: App) -> None:
    await dead(database.pool, app, Reason.POISON)

    assert await dead_letters.page(database.pool, app.app_id + 1, size=9, before=MAX_UUID) == []
