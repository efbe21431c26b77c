"""Apps against a real Postgres."""

from datetime import UTC, datetime

import pytest

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import KeyWrapper
from clarion_ledger import admin
from clarion_testkit.plugin import App, Database


async def test_name_of_an_app_is_taken_once(database: Database, app: App, kek: KeyWrapper) -> None:
    with pytest.raises(DomainError) as refused:
        await admin.create_app(database.pool, kek, "shop")

    assert refused.value.reason is ErrorReason.NAME_TAKEN
    assert [row.name for row in await admin.apps(database.pool)] == ["shop"]
    assert await admin.app_id_of(database.pool, "shop") == app.app_id


async def test_unknown_app_is_not_found(database: Database) -> None:
    with pytest.raises(DomainError) as refused:
        await admin.app_id_of(database.pool, "nobody")

    assert refused.value.reason is ErrorReason.APP_NOT_FOUND


async def test_app_changes_in_what_is_given_alone(database: Database, app: App) -> None:
    await admin.update_app(database.pool, "shop", sms_countries=["KR", "DE", "KR"], sender_domains=["example.org"])
    off = await admin.update_app(database.pool, "shop", enabled=False)
    back = await admin.update_app(database.pool, "shop", enabled=True, sms_countries=[])

    assert (off.enabled, off.sms_countries, off.sender_domains) == (
        False,
        frozenset({"KR", "DE"}),
        frozenset({"example.org"}),
    )
    assert (back.enabled, back.sms_countries, back.sender_domains) == (True, frozenset(), frozenset({"example.org"}))
    assert await admin.apps(database.pool) == [back]


async def test_unknown_app_cannot_be_changed(database: Database) -> None:
    with pytest.raises(DomainError) as refused:
        await admin.update_app(database.pool, "nobody", enabled=False)

    assert refused.value.reason is ErrorReason.APP_NOT_FOUND


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("news@example.org", True),
        ("news@mail.Example.org", True),
        ("news@example.org.", True),
        ("news@badexample.org", False),
        ("news@example.org.evil.com", False),
        ("news@evil.com", False),
        ("", False),
    ],
)
async def test_mail_comes_from_allowed_domains_and_those_below_them(address: str, allowed: bool) -> None:
    limited = admin.AppRow(1, "shop", True, datetime.now(UTC), sender_domains=frozenset({"example.org"}))

    assert limited.may_send_from(address) is allowed
    assert admin.AppRow(1, "shop", True, datetime.now(UTC)).may_send_from(address)
