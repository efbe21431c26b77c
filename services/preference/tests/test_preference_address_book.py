"""Batches of planner and dispatchers in Postgres, as the daemon's own role."""

import asyncio
from datetime import datetime, timedelta

import pytest

from clarion_kit.sealing import recipient_reference
from clarion_kit.vocabulary import Channel
from clarion_ledger import db
from clarion_ledger.db import LedgerUnavailable, Pool, pool
from clarion_preference.adapters.address_book import MAX_USED, PostgresAddressBook
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_preference.adapters.sealed_address import unseal
from clarion_preference.addresses import Address, AndroidDevice, PhoneNumber
from clarion_preference.domain import Wishes
from clarion_preference.recipients import AddressStatus, DeadAddress, KnownAddress, RecipientUpdate, Sought, Upserted
from clarion_testkit.plugin import App, Database

PHONE = PhoneNumber("+821012345678")
OLD_DEVICE = AndroidDevice("old")
NEW_DEVICE = AndroidDevice("new", huawei=True)
ALL = [int(channel) for channel in Channel]


def sought(app_id: int, recipient_id: str, *channels: int) -> Sought:
    return Sought(app_id, recipient_reference(app_id, recipient_id), channels or ALL)


async def store(directory: PostgresDirectory, app_id: int, recipient_id: str, *addresses: Address) -> None:
    [result] = await directory.upsert(app_id, [RecipientUpdate(recipient_id, addresses=addresses)])
    assert isinstance(result, Upserted)


async def only_address(directory: PostgresDirectory, app: App, recipient_id: str) -> KnownAddress:
    [address] = (await directory.profile(app.app_id, recipient_id)).addresses
    return address


def dead(app_id: int, address: KnownAddress, since: datetime) -> DeadAddress:
    return DeadAddress(app_id, address.address_id, since)


async def test_answers_come_in_the_order_of_the_questions(
    book: PostgresAddressBook, directory: PostgresDirectory, app: App, other_app: App
) -> None:
    await directory.upsert(app.app_id, [RecipientUpdate("anna", "ko-KR", "Asia/Seoul", "KR", (PHONE,))])
    await directory.upsert(other_app.app_id, [RecipientUpdate("anna", wishes=Wishes(opted_out=True))])

    ours, nobody, theirs, again = await book.reachable(
        [
            sought(app.app_id, "anna"),
            sought(app.app_id, "nobody"),
            sought(other_app.app_id, "anna"),
            sought(app.app_id, "anna"),
        ]
    )

    assert nobody is None
    assert ours is not None
    assert (ours.locale, ours.time_zone, ours.country, ours.wishes.opted_out) == ("ko-KR", "Asia/Seoul", "KR", False)
    assert list(ours.addresses) == [Channel.SMS]
    assert again == ours
    assert theirs is not None
    assert (theirs.locale, theirs.time_zone, theirs.wishes.opted_out, theirs.addresses) == ("en", "UTC", True, {})


async def test_addresses_come_sealed_newest_first_and_only_of_the_channels_asked_for(
    book: PostgresAddressBook, directory: PostgresDirectory, app: App
) -> None:
    await store(directory, app.app_id, "anna", OLD_DEVICE, PHONE)
    await store(directory, app.app_id, "anna", NEW_DEVICE)

    [found] = await book.reachable([sought(app.app_id, "anna", Channel.ANDROID)])

    assert found is not None
    [newest, oldest] = found.addresses.pop(Channel.ANDROID)
    assert not found.addresses
    assert (newest.hint, oldest.hint) == ("huawei", "fcm")
    known = {address.address_id.bytes: address for address in (await directory.profile(app.app_id, "anna")).addresses}
    sealer = await app.keys.sealer(app.app_id)
    assert unseal(sealer, known[newest.address_id].address_id, newest.sealed) == NEW_DEVICE


async def test_dead_and_removed_addresses_are_not_used(
    book: PostgresAddressBook, directory: PostgresDirectory, app: App
) -> None:
    await store(directory, app.app_id, "anna", PHONE, OLD_DEVICE)
    device, phone = (await directory.profile(app.app_id, "anna")).addresses
    await directory.remove(app.app_id, "anna", phone.address_id)
    await book.report_dead([dead(app.app_id, device, device.registered_at + timedelta(seconds=1))])

    [found] = await book.reachable([sought(app.app_id, "anna")])

    assert found is not None
    assert found.addresses == {}


async def test_only_the_newest_of_very_many_addresses_are_used(
    book: PostgresAddressBook, directory: PostgresDirectory, app: App
) -> None:
    for start in (0, 32, 64):
        await store(directory, app.app_id, "anna", *(AndroidDevice(f"t{start + n}") for n in range(32)))

    [found] = await book.reachable([sought(app.app_id, "anna")])

    assert found is not None
    assert len(found.addresses[Channel.ANDROID]) == MAX_USED


async def test_address_is_disabled_only_if_it_was_not_registered_again_since(
    book: PostgresAddressBook, directory: PostgresDirectory, app: App
) -> None:
    await store(directory, app.app_id, "anna", PHONE)
    first = await only_address(directory, app, "anna")
    await store(directory, app.app_id, "anna", PHONE)
    second = await only_address(directory, app, "anna")
    between = first.registered_at + (second.registered_at - first.registered_at) / 2

    assert await book.report_dead([dead(app.app_id, second, between)]) == 0
    assert await book.report_dead([dead(app.app_id, second, second.registered_at)]) == 0
    assert (await only_address(directory, app, "anna")).status is AddressStatus.ACTIVE
    assert await book.report_dead([dead(app.app_id, second, second.registered_at + timedelta(milliseconds=1))]) == 1
    assert (await only_address(directory, app, "anna")).status is AddressStatus.DEAD


async def test_reporting_a_death_twice_counts_it_once(
    book: PostgresAddressBook, directory: PostgresDirectory, app: App
) -> None:
    await store(directory, app.app_id, "anna", PHONE)
    address = await only_address(directory, app, "anna")
    before = (await directory.profile(app.app_id, "anna")).revision
    report = dead(app.app_id, address, address.registered_at + timedelta(seconds=1))

    assert await book.report_dead([report, report]) == 1
    assert await book.report_dead([report]) == 0
    assert (await directory.profile(app.app_id, "anna")).revision == before + 1


async def test_death_reported_for_another_app_disables_nothing(
    book: PostgresAddressBook, directory: PostgresDirectory, app: App
) -> None:
    await store(directory, app.app_id, "anna", PHONE)
    address = await only_address(directory, app, "anna")

    assert await book.report_dead([dead(app.app_id + 1, address, address.registered_at + timedelta(seconds=1))]) == 0


async def test_registration_brings_a_dead_address_back(
    book: PostgresAddressBook, directory: PostgresDirectory, app: App
) -> None:
    await store(directory, app.app_id, "anna", PHONE)
    address = await only_address(directory, app, "anna")
    await book.report_dead([dead(app.app_id, address, address.registered_at + timedelta(seconds=1))])

    await directory.register(app.app_id, "anna", PHONE)

    assert (await only_address(directory, app, "anna")).status is AddressStatus.ACTIVE


async def test_database_without_the_schema_is_away(database: Database, daemon_pool: Pool) -> None:
    unmigrated = f"{database.url.rpartition('/')[0]}/postgres"

    await db.ping(daemon_pool, "preference.address")
    async with pool(unmigrated, size=1, application="test") as connections:
        with pytest.raises(LedgerUnavailable):
            await db.ping(connections, "preference.address")


async def test_reports_and_registrations_of_the_same_addresses_do_not_deadlock(
    book: PostgresAddressBook, directory: PostgresDirectory, app: App
) -> None:
    updates = [RecipientUpdate(f"r{n}", addresses=(AndroidDevice(f"t{n}"),)) for n in range(30)]
    results = await directory.upsert(app.app_id, updates)
    ids = [result.address_ids[0] for result in results if isinstance(result, Upserted)]
    [somebody] = (await directory.profile(app.app_id, "r0")).addresses
    reports = [DeadAddress(app.app_id, id_, somebody.registered_at + timedelta(days=1)) for id_ in ids]

    async with asyncio.TaskGroup() as group:
        for turn in range(12):
            order = slice(None, None, -1 if turn % 2 else 1)
            group.create_task(directory.upsert(app.app_id, updates[order]))
            group.create_task(book.report_dead(reports[order]))

    assert len(ids) == 30
