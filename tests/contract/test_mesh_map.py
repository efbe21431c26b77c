"""services/README.md tells the truth about the mesh: its tables equal the contracts and the caller matrix."""

import re
from pathlib import Path

import pytest

from clarion_kit import mesh
from clarion_kit.subjects import Stream, Subjects, all_lanes

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "services" / "README.md").read_text()


def _edges() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| `(clarion\.[a-z0-9.]+\.[A-Za-z]+)` \| ([a-z_]+) \| ([a-z_, ]+) \|$", README, re.MULTILINE)
    return {service: (served_by, callers) for service, served_by, callers in rows}


def test_every_service_is_listed_with_its_daemon_and_callers() -> None:
    expected = {}
    for service in mesh.public_services():
        by = mesh.served_by(service)
        expected[service.full_name] = (by, "clients" if by == mesh.GATEWAY else mesh.GATEWAY)
    for service in mesh.internal_services():
        callers = ", ".join(sorted(mesh.callers(service.full_name)))
        expected[service.full_name] = (mesh.served_by(service), callers)

    assert _edges() == expected


def test_every_lane_fits_a_listed_subject_and_durable() -> None:
    patterns = {
        stream: (_pattern(subject), _pattern(durable))
        for stream, subject, durable in re.findall(r"^\| `([A-Z]+)` \| `([^`]+)` \| `([^`]+)`", README, re.MULTILINE)
    }
    subjects = Subjects()

    for lane in all_lanes():
        subject, durable = patterns[lane.stream]
        assert re.fullmatch(subject, subjects.subject(lane)), lane
        assert re.fullmatch(durable, lane.name), lane
    assert set(patterns) == {Stream.PLAN, Stream.DISPATCH, Stream.RETRY}


@pytest.mark.parametrize("daemon", mesh.DAEMONS)
def test_every_daemon_is_a_folder_with_a_readme_and_one_shape(daemon: str) -> None:
    folder = ROOT / "services" / daemon
    package = folder / "src" / f"clarion_{daemon}"

    assert f"{daemon}/README.md" in README
    for name in (folder / "README.md", folder / "pyproject.toml", package / "app.py", package / "settings.py"):
        assert name.is_file(), name


def _pattern(listed: str) -> str:
    return (
        re.escape(listed).replace("<prio>", "(urgent|normal|bulk)").replace("<channel>", "(ios|android|web|sms|email)")
    )
