"""Apps and their keys against a real Postgres."""

from datetime import UTC, datetime, timedelta

import pytest

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import KeyWrapper
from clarion_ledger import admin
from clarion_testkit.plugin import App, Database

PEPPER = b"pepper"
SCOPES = ["send:*", "status:read"]


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


async def test_key_authenticates_with_its_secret(database: Database, app: App) -> None:
    key, secret = await admin.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    found = await admin.authenticate(database.pool, PEPPER, key.app_key, secret)

    assert found == key
    assert found is not None
    assert (found.app_id, found.scopes) == (app.app_id, frozenset(SCOPES))


async def test_secret_is_stored_nowhere(database: Database, app: App) -> None:
    _, secret = await admin.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    stored = await database.pool.fetchval("SELECT string_agg(k::text, '') FROM ledger.app_key k")

    assert secret not in stored
    assert secret.encode().hex() not in stored


@pytest.mark.parametrize("fault", ["wrong secret", "unknown key", "other pepper", "revoked", "expired", "app disabled"])
async def test_key_that_is_not_live_authenticates_nobody(database: Database, app: App, fault: str) -> None:
    key, secret = await admin.create_key(database.pool, PEPPER, app.app_id, SCOPES)
    app_key, pepper = key.app_key, PEPPER
    match fault:
        case "wrong secret":
            secret += "x"
        case "unknown key":
            app_key = "ck_unknown"
        case "other pepper":
            pepper = b"salt"
        case "revoked":
            await admin.revoke_key(database.pool, app_key)
        case "expired":
            await database.pool.execute("UPDATE ledger.app_key SET expires_at = now()")
        case "app disabled":
            await database.pool.execute("UPDATE ledger.app SET enabled = false")

    assert await admin.authenticate(database.pool, pepper, app_key, secret) is None


async def test_key_that_expires_later_is_live(database: Database, app: App) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    key, secret = await admin.create_key(database.pool, PEPPER, app.app_id, SCOPES, later)

    assert await admin.authenticate(database.pool, PEPPER, key.app_key, secret) == key
    assert key.expires_at == later


async def test_two_keys_of_an_app_live_side_by_side(database: Database, app: App) -> None:
    old, old_secret = await admin.create_key(database.pool, PEPPER, app.app_id, SCOPES)
    new, new_secret = await admin.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    await admin.revoke_key(database.pool, old.app_key)

    assert await admin.authenticate(database.pool, PEPPER, new.app_key, new_secret) == new
    assert await admin.authenticate(database.pool, PEPPER, old.app_key, old_secret) is None
    assert {row.app_key for row in await admin.keys(database.pool, app.app_id)} == {old.app_key, new.app_key}


async def test_second_revocation_keeps_the_first_time(database: Database, app: App) -> None:
    key, _ = await admin.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    first = await admin.revoke_key(database.pool, key.app_key)
    second = await admin.revoke_key(database.pool, key.app_key)

    assert first is not None
    assert first.revoked_at is not None
    assert second == first
    assert await admin.revoke_key(database.pool, "ck_unknown") is None


async def test_keys_whose_tokens_must_not_be_believed_are_named(database: Database, app: App, kek: KeyWrapper) -> None:
    live, revoked, expired = [(await admin.create_key(database.pool, PEPPER, app.app_id, SCOPES))[0] for _ in range(3)]
    await admin.revoke_key(database.pool, revoked.app_key)
    await database.pool.execute(
        "UPDATE ledger.app_key SET expires_at = now() - interval '1 minute' WHERE app_key = $1", expired.app_key
    )
    other = await admin.create_app(database.pool, kek, "closed")
    closed, _ = await admin.create_key(database.pool, PEPPER, other.app_id, SCOPES)
    await database.pool.execute("UPDATE ledger.app SET enabled = false WHERE app_id = $1", other.app_id)

    dead = await admin.dead_keys(database.pool)

    assert dead == {revoked.app_key, expired.app_key, closed.app_key}
    assert live.app_key not in dead
