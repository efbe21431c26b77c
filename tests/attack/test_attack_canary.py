"""Personal data that went through the mesh is nowhere to be found afterwards."""

import base64
from pathlib import Path

import pytest

from . import canary
from .finding import Size
from .needles import forms, search
from .stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECRET = "zoequartermain"  # pragma: allowlist secret


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("plain", f"to {SECRET}@example.com".encode()),
        ("upper", SECRET.upper().encode()),
        ("hex", b"\x01\x02".hex().encode() + SECRET.encode().hex().encode()),
        ("base64 at 0", base64.b64encode(f"abc{SECRET}".encode())),
        ("base64 at 1", base64.b64encode(f"a{SECRET}bc".encode())),
        ("base64 at 2", base64.b64encode(f"ab{SECRET}!".encode())),
        ("UTF-16LE", SECRET.encode("utf-16-le")),
        ("UTF-16BE", SECRET.encode("utf-16-be")),
        ("percent", "".join(f"%{ord(letter):02x}" for letter in SECRET).encode()),
        ("escaped", "".join(f"\\u{ord(letter):04x}" for letter in SECRET).encode()),
    ],
)
async def test_a_value_is_found_in_every_form(tmp_path: Path, form: str, content: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\0" * 5_000 + content + b"\0")

    hits, looked_at = search([tmp_path], {"name": SECRET})

    assert {hit.label for hit in hits} == {"name"}
    assert form in {hit.form for hit in hits}
    assert looked_at == 5_001 + len(content)


async def test_another_value_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"".join(forms("xavierstanhope").values()))

    assert search([tmp_path], {"name": SECRET}) == ([], (tmp_path / "file").stat().st_size)


async def test_personal_data_is_nowhere_to_be_found(stage: Stage) -> None:
    finding = await canary.attack(stage, Size.SHORT)

    assert list(finding.escapes) == []
    assert finding.notes["looked_at_mb"]
