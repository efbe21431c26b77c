"""The scanner finds a planted secret of each kind, and nothing in this repository that was not looked at."""

import base64
import json
from pathlib import Path

import pytest

from . import secret_scan
from .secret_scan import Found, news, scan

LETTERS = "Zq3xT9vLk2Wm8RbN5cYd7HfJ1sPgA4eU6iVo0KtX"
"""Of no key; parts are put together here, so that this file holds none either."""

PLANTED = {
    "AWS Access Key": "AK" + "IA" + "QX7ZP3M9WK4TRV2L",
    "Azure Storage Account access key": "Account" + "Key=" + (LETTERS * 3)[:86] + "==",
    "Basic Auth Credentials": "https://admin:" + "Tr0ub4dor" + "@example.com/",
    "GitHub Token": "gh" + "p_" + LETTERS[:36],
    "GitLab Token": "gl" + "pat-" + LETTERS[:20],
    "JSON Web Token": ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890"})
    )
    + "."
    + LETTERS[:32],
    "Private Key": "-----BEGIN" + " EC PRIVATE KEY-----",
    "SendGrid API Key": "SG" + "." + LETTERS[:22] + "." + (LETTERS * 2)[:43],
    "Slack Token": "xo" + "xb-123456789012-" + "abcdefghij0123456789wxyz",
    "Stripe Access Key": "sk_" + "live_" + LETTERS[:24],
    "Twilio API Key": "S" + "K" + "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "Clarion app secret": "c" + "s_" + (LETTERS * 2)[:43],
    "Clarion key file": json.dumps({"active": "k1", "keys": {"k1": base64.b64encode(LETTERS[:32].encode()).decode()}}),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_secret_is_found(tmp_path: Path, kind: str) -> None:
    (tmp_path / "notes.txt").write_text(f"first line\nkept: {PLANTED[kind]}\n")

    found = scan(["notes.txt"], tmp_path)

    assert (kind, 2) in {(one.kind, one.line) for one in found}
    assert news(found) == found
    assert PLANTED[kind] not in repr(found)


def test_file_without_a_secret_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("password = os.environ['PASSWORD']\nsha256:" + "ab" * 32)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe\x00")

    assert scan(["notes.txt", "picture.png"], tmp_path) == []


def test_line_that_says_so_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes.py").write_text(f'KEY = "{PLANTED["GitHub Token"]}"  # pragma: allowlist secret\n')

    assert scan(["notes.py"], tmp_path) == []


def test_what_is_called_harmless_is_so_in_its_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_scan, "HARMLESS", tmp_path / "harmless.json")
    known = Found("a.txt", "GitHub Token", "d1", 3)

    secret_scan.accept([known])

    moved, copied, changed = (
        Found("a.txt", "GitHub Token", "d1", 9),
        Found("b.txt", "GitHub Token", "d1", 3),
        Found("a.txt", "GitHub Token", "d2", 3),
    )
    assert news([known, moved, copied, changed]) == [copied, changed]


def test_everything_called_harmless_is_still_there() -> None:
    names = {one["file"] for one in json.loads(secret_scan.HARMLESS.read_text())}
    found = {one.known_as for one in scan(sorted(names))}

    listed = {(one["file"], one["kind"], one["sha256"]) for one in json.loads(secret_scan.HARMLESS.read_text())}
    assert listed <= found
