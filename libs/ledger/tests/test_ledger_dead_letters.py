"""Dead letters as the app sees them."""

from clarion_kit.vocabulary import Channel, DeliveryState, Reason
from clarion_ledger import dead_letters
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Record, record
from clarion_ledger.reading import MAX_UUID
from clarion_testkit.plugin import App, Database

from .ledger_samples import leased


async def dead(pool: Pool, app: App, reason: Reason) -> dead_letters.DeadLetterRow:
    claimed = await leased(pool, app)
    await record(pool, [Record(claimed, DeliveryState.DEAD_LETTERED, reason, code="503")])
    [newest, *_] = await dead_letters.page(pool, app.app_id, size=1, before=MAX_UUID)
    return newest


async def test_dead_letters_come_newest_first_in_pages(database: Database, app: App) -> None:
    old, new = [await dead(database.pool, app, Reason.RETRIES_EXHAUSTED) for _ in range(2)]

    second_page = await dead_letters.page(database.pool, app.app_id, size=1, before=new.delivery_id)

    assert second_page == [old]
    assert (new.channel, new.last_code, new.attempts, new.redriven_as) == (Channel.ANDROID, "503", 1, None)


async def test_dead_letters_are_filtered_by_channel_and_reason(database: Database, app: App) -> None:
    poison = await dead(database.pool, app, Reason.POISON)
    await dead(database.pool, app, Reason.RETRIES_EXHAUSTED)

    found = await dead_letters.page(database.pool, app.app_id, size=9, before=MAX_UUID, reason=Reason.POISON)

    assert found == [poison]
    assert await dead_letters.page(database.pool, app.app_id, size=9, before=MAX_UUID, channel=Channel.IOS) == []


async def test_dead_letters_of_another_app_are_not_there(database: Database, app: App) -> None:
    await dead(database.pool, app, Reason.POISON)

    assert await dead_letters.page(database.pool, app.app_id + 1, size=9, before=MAX_UUID) == []
