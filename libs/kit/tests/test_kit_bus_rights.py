"""Which subjects each daemon's user of the bus may touch."""

from pathlib import Path

import pytest

from clarion_kit import mesh
from clarion_kit.bus_rights import inbox, read_credentials, rights
from clarion_kit.subjects import Subjects

ON_THE_BUS = {"gateway", "planner", "scheduler", "monitor", *mesh.DISPATCHERS}


def test_only_daemons_with_business_on_the_bus_have_a_user() -> None:
    assert {daemon for daemon in mesh.DAEMONS if rights(daemon) is not None} == ON_THE_BUS


@pytest.mark.parametrize("daemon", sorted(ON_THE_BUS))
def test_nobody_may_do_everything_or_read_anothers_answers(daemon: str) -> None:
    given = rights(daemon)

    assert given is not None
    assert given.subscribe == (f"{inbox(daemon)}.>",)
    assert not any("*" in subject for subject in given.publish)
    assert all(subject.startswith("$JS.ACK.") for subject in given.publish if ">" in subject)


@pytest.mark.parametrize("daemon", sorted(ON_THE_BUS - {"scheduler"}))
def test_only_the_scheduler_makes_and_deletes_streams(daemon: str) -> None:
    given = rights(daemon)

    assert given is not None
    assert not any(f".STREAM.{act}." in subject for subject in given.publish for act in ("CREATE", "UPDATE", "DELETE"))


def test_dispatcher_reads_its_own_channel_and_feeds_nobody() -> None:
    given = rights("dispatcher_sms")

    assert given is not None
    assert all("-sms-" in subject for subject in given.publish)
    assert not any(subject.startswith("clarion.") for subject in given.publish)


def test_rights_follow_the_prefix() -> None:
    given = rights("gateway", Subjects("blue"))

    assert given is not None
    assert set(given.publish) == {
        *(f"blue.v1.plan.{priority}" for priority in ("urgent", "normal", "bulk")),
        *(f"$JS.API.CONSUMER.INFO.blue-PLAN.plan-{priority}" for priority in ("urgent", "normal", "bulk")),
    }


def test_stranger_has_no_rights() -> None:
    with pytest.raises(KeyError):
        rights("operator")


def test_credentials_are_user_and_password(tmp_path: Path) -> None:
    file = tmp_path / "nats"
    file.write_text("planner:pa:ss\n")

    assert read_credentials(file) == ("planner", "pa:ss")


@pytest.mark.parametrize("content", [b"", b"planner", b":secret4711", b"planner:", b"\xff\xfe"])
def test_faulty_credentials_are_refused_without_telling_them(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "nats"
    file.write_bytes(content)

    with pytest.raises(ValueError, match="nats") as refused:
        read_credentials(file)

    assert "4711" not in str(refused.value)
    with pytest.raises(ValueError, match="cannot be read"):
        read_credentials(tmp_path / "absent")
