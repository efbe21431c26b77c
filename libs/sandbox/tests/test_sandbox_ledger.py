"""The sandbox's ledger: numbers, batches, restarts."""

import hashlib
import json
from pathlib import Path

import pytest

from clarion_sandbox import content
from clarion_sandbox.ledger import Ledger


def accept(ledger: Ledger, destination: str = "d", digest: str = "0" * 64, body: bytes = b"x") -> int:
    return ledger.accept(
        "fcm", answer="200", message_id="m", destination=destination, digest=digest, content=body, our_id='a"b'
    )


async def test_attempt_counts_the_same_content_to_the_same_destination(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.ndjson")
    for destination, digest in (("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")):
        accept(ledger, destination, digest)
    entries = [json.loads(line) for line in ledger.read(0, 10).splitlines()]
    assert [entry["attempt"] for entry in entries] == [1, 2, 1, 1]
    assert entries[0]["our_id"] == 'a"b'
    ledger.close()


async def test_restart_goes_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    first = Ledger(path)
    for _ in range(100):
        accept(first)
    first.refuse("fcm", answer="404 UNREGISTERED")
    summary = first.summary()
    first.close()
    second = Ledger(path)
    assert second.summary() == summary
    assert accept(second) == 102
    assert json.loads(second.read(101, 1))["attempt"] == 101
    second.close()


async def test_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    ledger = Ledger(path)
    accept(ledger)
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    again = Ledger(path)
    assert accept(again) == 2
    assert [json.loads(line)["n"] for line in again.read(0, 10).splitlines()] == [1, 2]
    again.close()


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    path.write_text('{"n": 7}\n')
    with pytest.raises(ValueError, match="another number"):
        Ledger(path)


async def test_only_the_newest_messages_are_kept_whole(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.ndjson", keep=3, keep_bytes=100)
    for _ in range(4):
        accept(ledger)
    assert [ledger.arrival(n) is not None for n in (1, 2, 3, 4)] == [False, True, True, True]
    accept(ledger, body=b"x" * 99)
    assert [ledger.arrival(n) is not None for n in (3, 4, 5)] == [False, True, True]
    ledger.close()


def test_digest_is_the_same_on_every_push_channel() -> None:
    expected = hashlib.sha256('{"body":"Größe","title":"Hi"}'.encode()).hexdigest()
    shown = {"title": "Hi", "body": "Größe"}
    assert content.of_apns({"aps": {"alert": shown}, "id": 1}) == expected
    assert content.of_fcm({"token": "t", "notification": shown}) == expected
    assert (
        content.of_fcm({"token": "t", "notification": {"title": "x"}, "android": {"notification": shown}}) == expected
    )
    assert content.of_fcm({"token": "t", "data": {**shown, "k": "v"}}) == expected
    assert content.of_web(json.dumps({"notification": shown}).encode()) == expected


def test_digest_of_mail_is_subject_and_body() -> None:
    first = b"Date: 1\r\nSubject: Hi\r\n there\r\n\r\nbody"
    second = b"Subject: Hi\r\n there\r\nDate: 2\r\n\r\nbody"
    assert content.of_mail(first) == content.of_mail(second)
    assert content.of_mail(first) == hashlib.sha256(b"Hi\r\n there\0body").hexdigest()
    assert content.of_mail(first) != content.of_mail(first.replace(b"there", b"you"))
