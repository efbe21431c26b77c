import json
from dataclasses import fields
from pathlib import Path

import pytest

from clarion_local.cli.connection import (
    DEFAULT_APP,
    STACK_FILE,
    Connection,
    Given,
    Identity,
    StackFile,
    read_stack,
    resolve,
    server_url,
)
from clarion_local.cli.failures import UsageFault
from clarion_local.cli.remembered import FILE_NAME, AppKey, RememberedApps
from clarion_local.stack import Endpoints

OWN = {"CLARION_APP_SECRET": "cs_own"}
STACK = {
    "gateway": "127.0.0.1:7443",
    "ca_file": "/ca.crt",
    "admin_key": "ck_admin",
    "admin_secret": "cs_admin",
    "database_url": "postgresql://stack",
    "nats_url": "nats://stack",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / STACK_FILE).write_text(json.dumps({**STACK, "peers": {}}))
    return tmp_path


def test_stack_file_has_what_the_stack_writes() -> None:
    assert {part.name for part in fields(StackFile)} <= {part.name for part in fields(Endpoints)}


def test_operator_is_the_stacks_admin(folder: Path) -> None:
    assert resolve(Given(folder), {}, Identity.OPERATOR) == Connection(
        "127.0.0.1:7443", AppKey("ck_admin", "cs_admin"), Path("/ca.crt"), folder
    )


def test_app_is_the_only_one_remembered_or_the_first_or_the_one_named(folder: Path) -> None:
    apps = RememberedApps(folder)
    shop, demo = AppKey("ck_shop", "s1"), AppKey("ck_demo", "s2")
    apps.put("shop", shop)
    assert resolve(Given(folder), {}, Identity.APP).key == shop

    apps.put(DEFAULT_APP, demo)
    assert resolve(Given(folder), {}, Identity.APP).key == demo
    assert resolve(Given(folder, app="shop"), {}, Identity.APP).key == shop


def test_app_without_a_remembered_key_says_how_to_make_one(folder: Path) -> None:
    with pytest.raises(UsageFault, match="clarion keys create shop"):
        resolve(Given(folder, app="shop"), {}, Identity.APP)


def test_own_key_wins_over_the_stacks(folder: Path) -> None:
    connection = resolve(Given(folder, app_key="ck_own"), OWN, Identity.OPERATOR)

    assert (connection.endpoint, connection.key) == ("127.0.0.1:7443", AppKey("ck_own", "cs_own"))


def test_keys_of_a_stack_are_never_sent_to_another_gateway(folder: Path) -> None:
    RememberedApps(folder).put(DEFAULT_APP, AppKey("ck", "cs"))

    for identity in Identity:
        with pytest.raises(UsageFault, match="no key"):
            resolve(Given(folder, endpoint="elsewhere:443"), {}, identity)


def test_named_gateway_needs_no_stack(tmp_path: Path) -> None:
    given = Given(tmp_path, endpoint="elsewhere:443", app_key="ck_own")

    assert resolve(given, OWN, Identity.APP) == Connection("elsewhere:443", AppKey("ck_own", "cs_own"), None, None)


@pytest.mark.parametrize(("key", "env"), [("ck", {}), ("", OWN)])
def test_key_and_secret_belong_together(folder: Path, key: str, env: dict[str, str]) -> None:
    with pytest.raises(UsageFault, match="belong together"):
        resolve(Given(folder, app_key=key), env, Identity.APP)


def test_folder_without_a_stack_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="clarion up"):
        resolve(Given(tmp_path), {}, Identity.APP)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null"])
def test_damaged_stack_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / STACK_FILE).write_text(text)

    with pytest.raises(UsageFault, match="no description"):
        read_stack(tmp_path)


def test_server_urls_come_from_the_environment_before_the_stack(folder: Path) -> None:
    env = {"CLARION_NATS_URL": "nats://production"}

    assert server_url(Given(folder), env, "CLARION_NATS_URL") == "nats://production"
    assert server_url(Given(folder), env, "CLARION_DATABASE_URL") == "postgresql://stack"


def test_remembered_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    RememberedApps(tmp_path).put("shop", AppKey("ck", "cs_canary"))

    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_newest_key_replaces_and_a_revoked_one_is_forgotten(tmp_path: Path) -> None:
    apps = RememberedApps(tmp_path)
    apps.put("shop", AppKey("ck_1", "cs"))
    apps.put("shop", AppKey("ck_2", "cs"))

    apps.forget("ck_1")
    assert apps.all() == {"shop": AppKey("ck_2", "cs")}
    apps.forget("ck_2")
    assert apps.all() == {}


def test_damaged_memory_is_told_without_its_content(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"shop": "cs_canary"}')

    with pytest.raises(UsageFault) as fault:
        RememberedApps(tmp_path).all()
    assert "canary" not in str(fault.value)


def test_secrets_hide_from_repr() -> None:
    connection = Connection("e", AppKey("ck", "cs_canary"), None, None)

    assert "canary" not in repr(connection)
    assert "cs_admin" not in repr(StackFile(**STACK))
