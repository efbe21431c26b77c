"""`clarion apps`, `keys`, `audit-log` and `bootstrap` against a gateway of the real contract, over real TLS."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import grpc
import pytest
from typer.testing import Result

from clarion.app.v1 import app_service_pb2 as pb
from clarion.app.v1 import app_service_pb2_grpc
from clarion.auditlog.v1 import audit_log_service_pb2 as audit_pb
from clarion.auditlog.v1 import audit_log_service_pb2_grpc
from clarion.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from clarion_kit.keyfiles import load_token_keys, new_secret_file, new_token_key_file
from clarion_ledger.audit_log import GENESIS, Entry, hash_of
from clarion_local.authority import Authority
from clarion_local.cli.remembered import AppKey, RememberedApps

from .scripted_stack import clarion, scripted_stack

Context = grpc.ServicerContext
NEW_SECRET = "cs_canary_of_a_rotated_key"
_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
_SERVED_AT_ONCE = 3
"""Entries of a page, whatever is asked for: the log is followed over several."""


def log(count: int) -> list[Entry]:
    """A whole log."""
    made: list[Entry] = []
    former = GENESIS
    for seq in range(1, count + 1):
        fields = (
            seq,
            _AT + timedelta(microseconds=seq),
            1,
            2,
            "ck_admin",
            "UpdateApp",
            f"app a{seq}",
            "",
            '{"a":1}',
            "",
        )
        former = hash_of(Entry(*fields, b""), former)
        made.append(Entry(*fields, former))
    return made


def shown(entry: Entry) -> audit_pb.AuditEntry:
    made = audit_pb.AuditEntry(
        seq=entry.seq,
        app_id=entry.app_id,
        actor_app_id=entry.actor_app,
        actor_key=entry.actor_key,
        act=entry.act,
        target=entry.target,
        before=entry.before,
        after=entry.after,
        trace_id=entry.trace_id,
        hash=entry.hash,
        app="shop",
    )
    made.at.FromDatetime(entry.at)
    return made


class Databases(Protocol):
    def fresh(self) -> AbstractAsyncContextManager[str]: ...


class Gateway(
    auth_service_pb2_grpc.AuthServiceServicer,
    app_service_pb2_grpc.AppServiceServicer,
    audit_log_service_pb2_grpc.AuditLogServiceServicer,
):
    """Remembers what it was asked; has a log of seven acts."""

    def __init__(self) -> None:
        self.apps: list[pb.UpdateAppRequest] = []
        self.created: list[pb.CreateKeyRequest] = []
        self.rotated: list[pb.RotateKeyRequest] = []
        self.limited: list[pb.UpdateKeyRequest] = []
        self.log = log(7)
        self.head = audit_pb.AuditHead(seq=7, hash=self.log[-1].hash, base_hash=GENESIS)

    def IssueToken(
        self, request: auth_service_pb2.IssueTokenRequest, context: Context
    ) -> auth_service_pb2.IssueTokenResponse:
        answer = auth_service_pb2.IssueTokenResponse(token="t")
        answer.expires_at.FromSeconds(4_000_000_000)
        return answer

    def CreateApp(self, request: pb.CreateAppRequest, context: Context) -> pb.CreateAppResponse:
        raise AssertionError("not asked for here")

    def ListApps(self, request: pb.ListAppsRequest, context: Context) -> pb.ListAppsResponse:
        return pb.ListAppsResponse(apps=[pb.App(name="shop", enabled=True, sms_countries=["KR"])])

    def RevokeKey(self, request: pb.RevokeKeyRequest, context: Context) -> pb.RevokeKeyResponse:
        raise AssertionError("not asked for here")

    def UpdateApp(self, request: pb.UpdateAppRequest, context: Context) -> pb.UpdateAppResponse:
        self.apps.append(request)
        app = pb.App(name=request.app, enabled=request.enabled, sms_countries=request.sms_countries.codes)
        return pb.UpdateAppResponse(app=app)

    def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.CreateKeyResponse:
        self.created.append(request)
        return pb.CreateKeyResponse(key=pb.Key(app_key="ck_new", scopes=request.scopes), app_secret=NEW_SECRET)

    def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        key = pb.Key(app_key="ck_1", scopes=["send:*"], networks=["192.0.2.0/24"])
        key.quotas.requests_per_second = 1_000
        key.last_used_at.FromDatetime(_AT)
        return pb.ListKeysResponse(keys=[key])

    def RotateKey(self, request: pb.RotateKeyRequest, context: Context) -> pb.RotateKeyResponse:
        self.rotated.append(request)
        key = pb.Key(app_key=request.app_key, secret_version=2)
        if request.grace.seconds:
            key.former_secret_until.FromDatetime(_AT)
        return pb.RotateKeyResponse(key=key, app_secret=NEW_SECRET)

    def UpdateKey(self, request: pb.UpdateKeyRequest, context: Context) -> pb.UpdateKeyResponse:
        self.limited.append(request)
        key = pb.Key(app_key=request.app_key, networks=request.networks.cidrs, quotas=request.quotas)
        return pb.UpdateKeyResponse(key=key)

    def ListAuditLog(self, request: audit_pb.ListAuditLogRequest, context: Context) -> audit_pb.ListAuditLogResponse:
        if request.HasField("after"):
            found = [entry for entry in self.log if entry.seq > request.after]
        else:
            found = [entry for entry in self.log[::-1] if not request.before or entry.seq < request.before]
        size = min(request.page_size, _SERVED_AT_ONCE)
        return audit_pb.ListAuditLogResponse(
            entries=[shown(entry) for entry in found[:size]], more=len(found) > size, head=self.head
        )


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def stack(tmp_path: Path, authority: Authority, gateway: Gateway) -> Iterator[Path]:
    services = (
        auth_service_pb2_grpc.add_AuthServiceServicer_to_server,
        app_service_pb2_grpc.add_AppServiceServicer_to_server,
        audit_log_service_pb2_grpc.add_AuditLogServiceServicer_to_server,
    )
    with scripted_stack(tmp_path, authority, *(partial(add, gateway) for add in services)) as folder:
        yield folder


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


# ---------------------------------------------------------------- apps and keys


def test_app_is_turned_off_on_and_changed(stack: Path, gateway: Gateway) -> None:
    assert "KR" in done(clarion(stack, "apps", "list"))
    assert "disabled" in done(clarion(stack, "apps", "disable", "shop"))
    assert "enabled" in done(clarion(stack, "apps", "enable", "shop"))
    assert "KR" in done(clarion(stack, "apps", "update", "shop", "--sms-country", "KR", "--sender-domain", "a.org"))
    done(clarion(stack, "apps", "update", "shop", "--all-countries", "--all-domains"))

    off, on, set_, cleared = gateway.apps
    assert (off.HasField("enabled"), off.enabled, on.enabled) == (True, False, True)
    assert (set_.HasField("enabled"), list(set_.sms_countries.codes)) == (False, ["KR"])
    assert list(set_.sender_domains.names) == ["a.org"]
    assert (cleared.HasField("sms_countries"), list(cleared.sms_countries.codes)) == (True, [])
    assert cleared.HasField("sender_domains")


def test_key_is_made_with_limits_and_shows_them(stack: Path, gateway: Gateway) -> None:
    limits = ("--network", "192.0.2.0/24", "--requests-per-second", "5")
    done(clarion(stack, "keys", "create", "shop", "--scope", "send:*", *limits))

    [request] = gateway.created
    assert list(request.networks.cidrs) == ["192.0.2.0/24"]
    assert (request.quotas.requests_per_second, request.quotas.HasField("notifications_per_day")) == (5, False)
    listed = json.loads(done(clarion(stack, "keys", "list", "shop", "--json")))
    assert listed["keys"][0]["last_used_at"].startswith("2026-01-02T03:04:05")


@pytest.mark.parametrize(("given", "seconds"), [((), 0), (("--grace", "0"), 0), (("--grace", "7d"), 604_800)])
def test_key_is_rotated_and_kept_for_the_next_commands(
    stack: Path, gateway: Gateway, given: tuple[str, ...], seconds: int
) -> None:
    RememberedApps(stack).put("shop", AppKey("ck_1", "cs_former"))

    told = done(clarion(stack, "keys", "rotate", "ck_1", *given))

    [request] = gateway.rotated
    assert request.grace.seconds == seconds
    assert NEW_SECRET in told
    assert ("good until" if seconds else "has ended") in told
    assert RememberedApps(stack).all()["shop"].app_secret == NEW_SECRET
    assert RememberedApps(stack).all()["demo"].app_secret != NEW_SECRET


def test_key_is_limited_in_what_is_given(stack: Path, gateway: Gateway) -> None:
    told = done(clarion(stack, "keys", "limit", "ck_1", "--network", "192.0.2.0/24", "--notifications-per-day", "1000"))
    done(clarion(stack, "keys", "limit", "ck_1", "--everywhere"))
    done(clarion(stack, "keys", "limit", "ck_1", "--no-quotas"))

    both, everywhere, unlimited = gateway.limited
    assert "192.0.2.0/24; 1,000 a day" in told
    assert (list(both.networks.cidrs), both.quotas.notifications_per_day) == (["192.0.2.0/24"], 1_000)
    assert (everywhere.HasField("networks"), everywhere.HasField("quotas")) == (True, False)
    assert (unlimited.HasField("networks"), unlimited.HasField("quotas")) == (False, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "limit", "ck_1"),
        ("keys", "limit", "ck_1", "--network", "192.0.2.0/24", "--everywhere"),
        ("keys", "limit", "ck_1", "--requests-per-second", "5", "--no-quotas"),
        ("keys", "limit", "ck_1", "--requests-per-second", "0"),
        ("keys", "limit", "ck_1", "--notifications-per-day", "-1"),
        ("keys", "rotate", "ck_1", "--grace", "a while"),
        ("apps", "update", "shop", "--sms-country", "KR", "--all-countries"),
        ("audit-log", "verify", "--since-head", "xyz"),
        ("audit-log", "verify", "--since-head", "ab"),
    ],
)
def test_contradictions_are_refused_before_anybody_is_asked(
    stack: Path, gateway: Gateway, arguments: tuple[str, ...]
) -> None:
    assert clarion(stack, *arguments).exit_code == 2
    assert (gateway.limited, gateway.rotated, gateway.apps) == ([], [], [])


# ---------------------------------------------------------------- audit log


def test_log_is_listed_newest_first_over_several_pages(stack: Path) -> None:
    lines = done(clarion(stack, "audit-log", "list", "--limit", "5", "--json")).splitlines()

    assert [json.loads(line)["target"] for line in lines] == [f"app a{number}" for number in (7, 6, 5, 4, 3)]
    assert "ck_admin" in done(clarion(stack, "audit-log", "list"))


def test_whole_log_gives_its_head(stack: Path, gateway: Gateway) -> None:
    found = json.loads(done(clarion(stack, "audit-log", "verify", "--json")))
    earlier = gateway.log[2].hash.hex()

    assert found == {
        "entries": 7,
        "forgotten": 0,
        "head": gateway.log[-1].hash.hex(),
        "whole": True,
        "broken_at": None,
        "what": "",
    }
    assert gateway.log[-1].hash.hex() in done(clarion(stack, "audit-log", "verify", "--since-head", earlier))


def test_log_that_somebody_touched_is_told_by_where(stack: Path, gateway: Gateway) -> None:
    gateway.log[3] = replace(gateway.log[3], actor_key="ck_x")

    result = clarion(stack, "audit-log", "verify", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["broken_at"] == 4


def test_log_whose_end_was_cut_off_is_found_by_a_head_from_before(stack: Path, gateway: Gateway) -> None:
    noted = gateway.log[-1].hash.hex()
    del gateway.log[-1]
    shorter = clarion(stack, "audit-log", "verify", "--json")
    gateway.head.seq, gateway.head.hash = 6, gateway.log[-1].hash

    assert json.loads(shorter.stdout)["broken_at"] == 7
    assert clarion(stack, "audit-log", "verify").exit_code == 0
    assert clarion(stack, "audit-log", "verify", "--since-head", noted).exit_code == 1


# ---------------------------------------------------------------- files of whoever installs the mesh


def test_token_key_is_replaced_in_two_steps(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    new_token_key_file(file)

    assert clarion(tmp_path, "keys", "rotate-token-key", str(file), "--activate").exit_code == 1
    assert "t2 verifies now" in done(clarion(tmp_path, "keys", "rotate-token-key", str(file)))
    assert json.loads(done(clarion(tmp_path, "keys", "rotate-token-key", str(file), "--activate", "--json"))) == {
        "key": "t2",
        "signs": True,
    }
    assert load_token_keys(file).active == "t2"


def test_file_without_token_keys_is_a_fault_of_usage(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("{}")

    for name in ("tokens.json", "nowhere.json"):
        assert clarion(tmp_path, "keys", "rotate-token-key", str(tmp_path / name)).exit_code == 2


async def test_bootstrap_shows_the_first_admin_key_and_then_refuses(
    tmp_path: Path, postgres_databases: Databases, kek_file: Path
) -> None:
    new_secret_file(tmp_path / "pepper")
    async with postgres_databases.fresh() as url:
        env = {
            "CLARION_DATABASE_URL": url,
            "CLARION_KEK_FILE": str(kek_file),
            "CLARION_PEPPER_FILE": str(tmp_path / "pepper"),
        }
        # In a thread: the command runs a loop of its own.
        first = await asyncio.to_thread(clarion, tmp_path, "bootstrap", "--json", env=env)
        second = await asyncio.to_thread(clarion, tmp_path, "bootstrap", env=env)

    made = json.loads(done(first))
    assert (made["app"], made["key"][:3], made["secret"][:3]) == ("operators", "ck_", "cs_")
    assert second.exit_code == 1
    assert "admin key" in second.output
    assert "cs_" not in second.output


@pytest.mark.parametrize(
    "env", [{}, {"CLARION_DATABASE_URL": "mysql://x"}, {"CLARION_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x"}]
)
def test_bootstrap_names_what_it_lacks(tmp_path: Path, env: dict[str, str]) -> None:
    settings = dict.fromkeys(("CLARION_KEK_FILE", "CLARION_PEPPER_FILE"), "") | env

    result = clarion(tmp_path, "bootstrap", env=settings)

    assert result.exit_code == 2
    assert "CLARION_" in result.output
