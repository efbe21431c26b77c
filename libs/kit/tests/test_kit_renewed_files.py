"""Certificates and passwords in files that are replaced: what is seen, and when."""

import logging
import ssl
from pathlib import Path

import pytest

from clarion_kit.bus_login import CredentialFile
from clarion_kit.tls import FileWatch, RenewingContext, TlsFiles
from clarion_local.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "ca")


@pytest.fixture
def files(authority: Authority) -> TlsFiles:
    return TlsFiles.in_dir(authority.issue("tracker").cert.parent)


def test_each_change_is_told_once(authority: Authority, files: TlsFiles) -> None:
    watch = FileWatch(files)

    seen = [watch.changed()]
    for _ in range(2):
        authority.issue("tracker")
        seen += [watch.changed(), watch.changed()]

    assert seen == [False, True, False, True, False]


def test_key_without_its_certificate_waits_for_it(authority: Authority, files: TlsFiles) -> None:
    fresh = TlsFiles.in_dir(authority.issue("other").cert.parent)
    watch = FileWatch(files)

    files.key.write_bytes(fresh.key.read_bytes())
    half = watch.changed()
    files.certificate.write_bytes(fresh.certificate.read_bytes())

    assert (half, watch.changed()) == (False, True)


@pytest.mark.parametrize("name", ["ca", "certificate", "key"])
def test_missing_file_is_no_change(files: TlsFiles, name: str) -> None:
    watch = FileWatch(files)
    path: Path = getattr(files, name)
    path.unlink()

    assert not watch.changed()


def test_context_is_made_anew_for_new_files_only(authority: Authority, files: TlsFiles) -> None:
    context = RenewingContext(files, TlsFiles.server_context)
    first, same = context.latest(), context.latest()
    authority.issue("tracker")
    second = context.latest()

    assert first is same
    assert second is not first


def test_context_that_cannot_be_made_leaves_the_former_one(authority: Authority, files: TlsFiles) -> None:
    def make(given: TlsFiles) -> ssl.SSLContext:
        if made:
            raise ssl.SSLError("changed again in this moment")
        made.append(given.server_context())
        return made[0]

    made: list[ssl.SSLContext] = []
    context = RenewingContext(files, make)
    authority.issue("tracker")

    assert context.latest() is made[0]


def test_servers_for_anybody_take_no_old_tls(files: TlsFiles) -> None:
    assert files.server_context().minimum_version is ssl.TLSVersion.TLSv1_2


def test_password_is_read_at_each_connection(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    path.write_text("planner:first")
    login = CredentialFile(path)
    before = (login.user(), login.password())
    path.write_text("planner2:second")

    assert before == ("planner", "first")
    assert (login.user(), login.password()) == ("planner2", "second")


def test_password_file_that_cannot_be_read_changes_nothing_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "bus"
    path.write_text("planner:first4711")
    login = CredentialFile(path)
    caplog.set_level(logging.WARNING)
    path.write_text("planner")
    half = (login.user(), login.password())
    path.unlink()

    assert half == (login.user(), login.password()) == ("planner", "first4711")
    assert len(caplog.records) == 2
    assert "4711" not in caplog.text


def test_start_without_a_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bus"):
        CredentialFile(tmp_path / "bus")
