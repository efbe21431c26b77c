"""Recipients in Postgres, as the daemon's own role."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from clarion_kit.errors import DomainError, ErrorReason
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_preference.adapters.wish_book import PostgresWishBook
from clarion_preference.addresses import AndroidDevice, ApnsDevice, MailAddress, PhoneNumber
from clarion_preference.domain import NO_WISHES, Wishes
from clarion_preference.recipients import Actor, AddressStatus, RecipientUpdate, Upserted
from clarion_testkit.plugin import App, Database

TOKEN = ApnsDevice("ab" * 32)
PHONE = PhoneNumber("+821012345678")
NO_NEWS = Wishes(choices={("news", None): False})


async def upsert(directory: PostgresDirectory, app: App, *updates: RecipientUpdate) -> list[Upserted]:
    return stored(await directory.upsert(app.app_id, updates))


def stored(results: Sequence[Upserted | DomainError]) -> list[Upserted]:
    assert not [result for result in results if isinstance(result, DomainError)]
    return [result for result in results if isinstance(result, Upserted)]


async def revision(directory: PostgresDirectory, app: App, recipient_id: str) -> int:
    return (await directory.profile(app.app_id, recipient_id)).revision


async def test_new_recipient_has_defaults(directory: PostgresDirectory, app: App) -> None:
    [result] = await upsert(directory, app, RecipientUpdate("anna", addresses=(TOKEN, PHONE)))

    profile = await directory.profile(app.app_id, "anna")
    assert result.created
    assert (profile.locale, profile.time_zone, profile.country, profile.wishes) == ("en", "UTC", "", NO_WISHES)
    assert {address.masked for address in profile.addresses} == {PHONE.masked, TOKEN.masked}
    assert {address.address_id for address in profile.addresses} == set(result.address_ids)
    assert {address.status for address in profile.addresses} == {AddressStatus.ACTIVE}


async def test_repeated_upsert_changes_nothing_but_the_registration(directory: PostgresDirectory, app: App) -> None:
    update = RecipientUpdate("anna", "ko-KR", "Asia/Seoul", "KR", (TOKEN, PHONE), NO_NEWS)
    [first] = await upsert(directory, app, update)
    before = await directory.profile(app.app_id, "anna")

    [second] = await upsert(directory, app, update)

    after = await directory.profile(app.app_id, "anna")
    assert (second.created, second.address_ids) == (False, first.address_ids)
    assert after.revision == before.revision
    assert min(address.registered_at for address in after.addresses) > max(
        address.registered_at for address in before.addresses
    )


async def test_what_is_not_told_stays(directory: PostgresDirectory, app: App) -> None:
    await upsert(directory, app, RecipientUpdate("anna", "ko-KR", "Asia/Seoul", "KR", (TOKEN,), NO_NEWS))

    await upsert(directory, app, RecipientUpdate("anna", country="JP", addresses=(PHONE,)))

    profile = await directory.profile(app.app_id, "anna")
    assert (profile.locale, profile.time_zone, profile.country) == ("ko-KR", "Asia/Seoul", "JP")
    assert profile.wishes == NO_NEWS
    assert len(profile.addresses) == 2


@pytest.mark.parametrize(
    "change",
    [
        RecipientUpdate("anna", locale="de"),
        RecipientUpdate("anna", time_zone="Asia/Tokyo"),
        RecipientUpdate("anna", country="DE"),
        RecipientUpdate("anna", addresses=(PHONE,)),
        RecipientUpdate("anna", addresses=(ApnsDevice(TOKEN.token, development=True),)),
        RecipientUpdate("anna", wishes=NO_NEWS),
    ],
)
async def test_each_change_raises_the_revision_once(
    directory: PostgresDirectory, app: App, change: RecipientUpdate
) -> None:
    await upsert(directory, app, RecipientUpdate("anna", "en", "UTC", "US", (TOKEN,)))
    before = await revision(directory, app, "anna")

    await upsert(directory, app, change)
    await upsert(directory, app, change)

    assert await revision(directory, app, "anna") == before + 1


async def test_value_that_postgres_refuses_fails_its_item_alone(directory: PostgresDirectory, app: App) -> None:
    updates = [RecipientUpdate(f"r{number}" if number != 3 else "r\0", addresses=(PHONE,)) for number in range(7)]

    results = await directory.upsert(app.app_id, updates)

    refused = [result for result in results if isinstance(result, DomainError)]
    assert [error.reason for error in refused] == [ErrorReason.INVALID_FIELD]
    assert results[3] is refused[0]
    assert [result.created for result in results if isinstance(result, Upserted)] == [True] * 6


async def test_address_moves_to_whoever_registers_it(directory: PostgresDirectory, app: App) -> None:
    [anna, _] = await upsert(directory, app, RecipientUpdate("anna", addresses=(TOKEN, PHONE)), RecipientUpdate("bea"))
    before = await revision(directory, app, "anna")

    moved = await directory.register(app.app_id, "bea", TOKEN)

    assert moved == anna.address_ids[0]
    annas = await directory.profile(app.app_id, "anna")
    beas = await directory.profile(app.app_id, "bea")
    assert [address.address_id for address in annas.addresses] == [anna.address_ids[1]]
    assert [address.address_id for address in beas.addresses] == [moved]
    assert (annas.revision, beas.revision) == (before + 1, 2)


async def test_address_given_twice_in_a_batch_belongs_to_the_last(directory: PostgresDirectory, app: App) -> None:
    await upsert(
        directory,
        app,
        RecipientUpdate("anna", addresses=(TOKEN,)),
        RecipientUpdate("bea", addresses=(TOKEN, ApnsDevice(TOKEN.token, development=True))),
    )

    assert not (await directory.profile(app.app_id, "anna")).addresses
    assert len((await directory.profile(app.app_id, "bea")).addresses) == 1


async def test_same_address_in_two_apps_is_two_addresses(
    directory: PostgresDirectory, app: App, other_app: App
) -> None:
    [ours] = await upsert(directory, app, RecipientUpdate("anna", addresses=(PHONE,)))
    [theirs] = stored(await directory.upsert(other_app.app_id, [RecipientUpdate("anna", addresses=(PHONE,))]))

    assert ours.address_ids != theirs.address_ids
    assert len((await directory.profile(app.app_id, "anna")).addresses) == 1
    with pytest.raises(DomainError, match="no such recipient"):
        await directory.profile(other_app.app_id, "bea")


async def test_removed_address_forgets_its_content_and_can_come_back(directory: PostgresDirectory, app: App) -> None:
    [anna] = await upsert(directory, app, RecipientUpdate("anna", addresses=(PHONE,)))
    before = await revision(directory, app, "anna")

    await directory.remove(app.app_id, "anna", PHONE)
    await directory.remove(app.app_id, "anna", anna.address_ids[0])

    removed = await directory.profile(app.app_id, "anna")
    assert [(address.status, address.masked) for address in removed.addresses] == [(AddressStatus.REMOVED, "")]
    assert removed.revision == before + 1
    assert await directory.register(app.app_id, "anna", PHONE) == anna.address_ids[0]
    back = await directory.profile(app.app_id, "anna")
    assert [(address.status, address.masked) for address in back.addresses] == [(AddressStatus.ACTIVE, PHONE.masked)]


async def test_removing_what_moved_away_leaves_it_there(directory: PostgresDirectory, app: App) -> None:
    await upsert(
        directory, app, RecipientUpdate("anna", addresses=(PHONE,)), RecipientUpdate("bea", addresses=(PHONE,))
    )

    await directory.remove(app.app_id, "anna", PHONE)

    assert (await directory.profile(app.app_id, "bea")).addresses[0].status is AddressStatus.ACTIVE


async def test_stored_addresses_cannot_be_read_from_the_database(
    directory: PostgresDirectory, app: App, database: Database
) -> None:
    await upsert(directory, app, RecipientUpdate("anna", addresses=(MailAddress("canary@example.org", "canary"),)))

    rows = await database.pool.fetch("SELECT a::text AS row FROM preference.address a WHERE app_id = $1", app.app_id)

    assert len(rows) == 1
    assert "canary" not in rows[0]["row"]
    assert b"canary".hex() not in rows[0]["row"]


async def test_unknown_recipient_is_not_found_by_any_method(
    directory: PostgresDirectory, wish_book: PostgresWishBook, app: App
) -> None:
    app_id = app.app_id
    for call in (
        directory.profile(app_id, "nobody"),
        directory.register(app_id, "nobody", PHONE),
        directory.remove(app_id, "nobody", uuid4()),
        wish_book.wishes(app_id, "nobody"),
        wish_book.set_wishes(app_id, "nobody", NO_NEWS, 0, Actor()),
        wish_book.change_wishes(app_id, "nobody", lambda wishes: wishes, Actor()),
        wish_book.changes(app_id, "nobody", 1, None),
    ):
        with pytest.raises(DomainError) as refused:
            await call
        assert (refused.value.reason, refused.value.metadata) == (
            ErrorReason.RECIPIENT_NOT_FOUND,
            {"recipient_id": "nobody"},
        )


async def test_refused_registration_takes_nothing_over(directory: PostgresDirectory, app: App) -> None:
    await upsert(directory, app, RecipientUpdate("anna", addresses=(PHONE,)))

    with pytest.raises(DomainError):
        await directory.register(app.app_id, "nobody", PHONE)

    assert len((await directory.profile(app.app_id, "anna")).addresses) == 1


async def test_unknown_app_is_not_found(directory: PostgresDirectory) -> None:
    with pytest.raises(DomainError) as refused:
        await directory.upsert(999_999, [RecipientUpdate("anna")])

    assert refused.value.reason is ErrorReason.APP_NOT_FOUND


async def test_overlapping_batches_in_any_order_do_not_deadlock(directory: PostgresDirectory, app: App) -> None:
    """Each batch brings the same recipients, half of them new, and takes the addresses of the others over."""
    people = [f"r{number}" for number in range(40)]
    devices = [AndroidDevice(f"token-{number}") for number in range(40)]

    def batch(turn: int) -> list[RecipientUpdate]:
        shifted = devices[turn:] + devices[:turn]
        updates = [RecipientUpdate(id_, addresses=(device,)) for id_, device in zip(people, shifted, strict=True)]
        return updates if turn % 2 else updates[::-1]

    for rounds in range(3):
        async with asyncio.TaskGroup() as group:
            for turn in range(8):
                group.create_task(upsert(directory, app, *batch(turn + rounds)))

    owned: list[UUID] = []
    for person in people:
        owned.extend(address.address_id for address in (await directory.profile(app.app_id, person)).addresses)
    assert len(owned) == len(set(owned)) == len(devices)
