"""Keys of apps against a real Postgres."""

import asyncio
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import KeyWrapper
from clarion_ledger import admin, app_keys, db
from clarion_ledger.app_keys import KeyLimits, Proven, Standing
from clarion_ledger.bootstrap import AlreadyBootstrapped, bootstrap
from clarion_testkit.plugin import App, Database

PEPPER = b"pepper"
SCOPES = ["send:*", "status:read"]


async def test_key_authenticates_with_its_secret(database: Database, app: App) -> None:
    key, secret = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    found = await app_keys.authenticate(database.pool, PEPPER, key.app_key, secret)

    assert found == Proven(key, 1)
    assert (key.app_id, key.scopes) == (app.app_id, frozenset(SCOPES))


async def test_secret_is_stored_nowhere(database: Database, app: App) -> None:
    _, secret = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    stored = await database.pool.fetchval("SELECT string_agg(k::text, '') FROM ledger.app_key k")

    assert secret not in stored
    assert secret.encode().hex() not in stored


@pytest.mark.parametrize("fault", ["wrong secret", "unknown key", "other pepper", "revoked", "expired", "app disabled"])
async def test_key_that_is_not_live_authenticates_nobody(database: Database, app: App, fault: str) -> None:
    key, secret = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)
    app_key, pepper = key.app_key, PEPPER
    match fault:
        case "wrong secret":
            secret += "x"
        case "unknown key":
            app_key = "ck_unknown"
        case "other pepper":
            pepper = b"salt"
        case "revoked":
            await app_keys.revoke_key(database.pool, app_key)
        case "expired":
            await database.pool.execute("UPDATE ledger.app_key SET expires_at = now()")
        case "app disabled":
            await database.pool.execute("UPDATE ledger.app SET enabled = false")

    assert await app_keys.authenticate(database.pool, pepper, app_key, secret) is None


async def test_key_that_expires_later_is_live(database: Database, app: App) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    key, secret = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES, later)

    assert await app_keys.authenticate(database.pool, PEPPER, key.app_key, secret) == Proven(key, 1)
    assert key.expires_at == later


async def test_two_keys_of_an_app_live_side_by_side(database: Database, app: App) -> None:
    old, old_secret = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)
    new, new_secret = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    await app_keys.revoke_key(database.pool, old.app_key)

    assert await app_keys.authenticate(database.pool, PEPPER, new.app_key, new_secret) == Proven(new, 1)
    assert await app_keys.authenticate(database.pool, PEPPER, old.app_key, old_secret) is None
    assert {row.app_key for row in await app_keys.keys(database.pool, app.app_id)} == {old.app_key, new.app_key}


async def test_second_revocation_keeps_the_first_time(database: Database, app: App) -> None:
    key, _ = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    first = await app_keys.revoke_key(database.pool, key.app_key)
    second = await app_keys.revoke_key(database.pool, key.app_key)

    assert first is not None
    assert first.revoked_at is not None
    assert second == first
    assert await app_keys.revoke_key(database.pool, "ck_unknown") is None


async def test_keys_whose_tokens_must_not_be_believed_are_named(database: Database, app: App, kek: KeyWrapper) -> None:
    live, revoked, expired = [
        (await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES))[0] for _ in range(3)
    ]
    await app_keys.revoke_key(database.pool, revoked.app_key)
    await database.pool.execute(
        "UPDATE ledger.app_key SET expires_at = now() - interval '1 minute' WHERE app_key = $1", expired.app_key
    )
    other = await admin.create_app(database.pool, kek, "closed")
    closed, _ = await app_keys.create_key(database.pool, PEPPER, other.app_id, SCOPES)
    await database.pool.execute("UPDATE ledger.app SET enabled = false WHERE app_id = $1", other.app_id)

    standing = await app_keys.standing(database.pool)

    assert standing == Standing(dead=frozenset({revoked.app_key, expired.app_key, closed.app_key}))
    assert live.app_key not in standing.dead


async def test_key_that_ended_an_hour_ago_is_forgotten(database: Database, app: App) -> None:
    key, _ = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES, datetime.now(UTC) + timedelta(days=1))
    await app_keys.revoke_key(database.pool, key.app_key)
    assert (await app_keys.standing(database.pool)).dead == {key.app_key}

    await database.pool.execute("UPDATE ledger.app_key SET revoked_at = now() - interval '61 minutes'")

    assert await app_keys.standing(database.pool) == Standing()


async def test_former_secret_is_good_for_its_grace(database: Database, app: App) -> None:
    key, first = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    rotated, second = await app_keys.rotate_key(database.pool, PEPPER, key.app_key, timedelta(days=7))

    assert (rotated.secret_version, rotated.former_until is not None) == (2, True)
    assert await app_keys.authenticate(database.pool, PEPPER, key.app_key, first) == Proven(rotated, 1)
    assert await app_keys.authenticate(database.pool, PEPPER, key.app_key, second) == Proven(rotated, 2)
    assert await app_keys.standing(database.pool) == Standing()
    await database.pool.execute("UPDATE ledger.app_key SET former_until = now() - interval '1 second'")
    assert await app_keys.authenticate(database.pool, PEPPER, key.app_key, first) is None
    assert await app_keys.standing(database.pool) == Standing(oldest={key.app_key: 2})


async def test_rotation_without_grace_ends_the_former_secret_at_once(database: Database, app: App) -> None:
    key, first = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    rotated, second = await app_keys.rotate_key(database.pool, PEPPER, key.app_key, timedelta(0))

    assert rotated.former_until is None
    assert await app_keys.authenticate(database.pool, PEPPER, key.app_key, first) is None
    assert await app_keys.authenticate(database.pool, PEPPER, key.app_key, second) == Proven(rotated, 2)


async def test_at_most_two_secrets_are_good(database: Database, app: App) -> None:
    key, first = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)
    _, second = await app_keys.rotate_key(database.pool, PEPPER, key.app_key, timedelta(days=7))
    rotated, third = await app_keys.rotate_key(database.pool, PEPPER, key.app_key, timedelta(days=7))

    found = [
        await app_keys.authenticate(database.pool, PEPPER, key.app_key, secret) for secret in (first, second, third)
    ]

    assert found == [None, Proven(rotated, 2), Proven(rotated, 3)]
    assert (await app_keys.standing(database.pool)).oldest == {key.app_key: 2}


@pytest.mark.parametrize("end", ["revoked", "expired", "never made"])
async def test_key_that_ended_cannot_be_changed(database: Database, app: App, end: str) -> None:
    key, _ = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)
    if end == "revoked":
        await app_keys.revoke_key(database.pool, key.app_key)
    elif end == "expired":
        await database.pool.execute("UPDATE ledger.app_key SET expires_at = now()")
    app_key = "ck_nobody" if end == "never made" else key.app_key
    wanted = ErrorReason.APP_NOT_FOUND if end == "never made" else ErrorReason.KEY_ENDED

    with pytest.raises(DomainError) as rotating:
        await app_keys.rotate_key(database.pool, PEPPER, app_key, timedelta(0))
    with pytest.raises(DomainError) as limiting:
        await app_keys.limit_key(database.pool, app_key, networks=[])

    assert (rotating.value.reason, limiting.value.reason) == (wanted, wanted)


async def test_limits_change_in_what_is_given_alone(database: Database, app: App) -> None:
    home = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    key, _ = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES, None, KeyLimits(home, 5, None))

    limited = await app_keys.limit_key(database.pool, key.app_key, quotas=(None, 1_000))
    standing = await app_keys.standing(database.pool)
    everywhere = await app_keys.limit_key(database.pool, key.app_key, networks=[])

    assert key.limits == KeyLimits(home, 5, None)
    assert limited.limits == KeyLimits(home, None, 1_000)
    assert standing.limits == {key.app_key: limited.limits}
    assert everywhere.limits == KeyLimits((), None, 1_000)


async def test_last_use_only_moves_on_and_wakes_nobody(database: Database, app: App) -> None:
    key, _ = await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)
    revision = await database.pool.fetchval("SELECT revision FROM ledger.config_revision")
    now = datetime.now(UTC)

    await app_keys.note_uses(database.pool, {key.app_key: now, "ck_nobody": now})
    await app_keys.note_uses(database.pool, {key.app_key: now - timedelta(minutes=1)})

    assert [row.used_at for row in await app_keys.keys(database.pool, app.app_id)] == [now]
    assert await database.pool.fetchval("SELECT revision FROM ledger.config_revision") == revision


@pytest.mark.parametrize("asked", ["ck_0", "ck_zzz"])
async def test_unknown_key_reads_the_row_of_another(database: Database, app: App, asked: str) -> None:
    """The same work as for a known one, also before the first and behind the last key."""
    await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    row = await database.pool.fetchrow(app_keys._PROVE, asked)

    assert row is not None
    assert row["known"] is False
    assert len(row["secret_hash"]) == 32


# ---------------------------------------------------------------- the first key


async def test_first_admin_key_is_made_once(database: Database, kek: KeyWrapper) -> None:
    key, secret = await bootstrap(database.pool, kek, PEPPER, "operators")

    with pytest.raises(AlreadyBootstrapped):
        await bootstrap(database.pool, kek, PEPPER, "operators")
    proven = await app_keys.authenticate(database.pool, PEPPER, key.app_key, secret)
    assert proven == Proven(key, 1)
    assert key.scopes == {"admin"}


async def test_first_admin_key_that_could_not_be_put_away_was_never_made(database: Database, kek: KeyWrapper) -> None:
    kept: list[tuple[str, str]] = []

    async def away(key: app_keys.KeyRow, secret: str) -> None:
        raise ConnectionRefusedError

    async def keep(key: app_keys.KeyRow, secret: str) -> None:
        kept.append((key.app_key, secret))

    with pytest.raises((ConnectionRefusedError, db.LedgerUnavailable)):
        await bootstrap(database.pool, kek, PEPPER, "operators", away)
    key, secret = await bootstrap(database.pool, kek, PEPPER, "operators", keep)

    assert kept == [(key.app_key, secret)]


async def test_admin_key_that_was_revoked_is_an_admin_key_that_was(
    database: Database, app: App, kek: KeyWrapper
) -> None:
    key, _ = await app_keys.create_key(database.pool, PEPPER, app.app_id, ["admin", "send:*"])
    await app_keys.revoke_key(database.pool, key.app_key)

    with pytest.raises(AlreadyBootstrapped):
        await bootstrap(database.pool, kek, PEPPER, "operators")


async def test_of_many_bootstraps_at_once_one_wins(database: Database, app: App, kek: KeyWrapper) -> None:
    await app_keys.create_key(database.pool, PEPPER, app.app_id, SCOPES)

    made = await asyncio.gather(
        *(bootstrap(database.pool, kek, PEPPER, "operators") for _ in range(6)), return_exceptions=True
    )

    assert sorted(type(one).__name__ for one in made) == ["AlreadyBootstrapped"] * 5 + ["tuple"]
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.app_key WHERE 'admin' = ANY (scopes)") == 1
