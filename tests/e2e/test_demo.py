"""What a newcomer types: the demo runs, accounts for everything, and leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import psutil
import pytest

STATES = ("sent", "suppressed", "failed", "expired", "cancelled", "dead_lettered", "in_flight")
MARK = "CLARION_TEST_MARK"


@pytest.mark.timeout(300)
def test_demo_accounts_for_every_delivery_and_leaves_no_process(tmp_path: Path) -> None:
    mark = str(tmp_path)
    clarion = Path(sys.executable).with_name("clarion")

    ended = subprocess.run(
        [str(clarion), "demo"],
        env={"PATH": str(clarion.parent), "TMPDIR": mark, MARK: mark},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-3_000:] + ended.stderr[-3_000:]
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report["accepted"] >= 5_000
    assert report["deliveries"] == sum(report[state] for state in STATES)
    assert (report["in_flight"], report["unaccounted"], report["provider_mismatch"]) == (0, 0, 0)
    assert {channel for channel, counts in report["channels"].items() if counts["sent"] > 0} == {
        "ios",
        "android",
        "web",
        "sms",
        "email",
    }
    assert report["suppressed"] > 0
    assert report["failed"] > 0
    assert report["scenes"] == {
        "quiet_hours": {"deferred": True, "reminder": "sent", "offer": "suppressed: quiet_hours"},
        "cap": {"sent": 3, "capped": 1},
        "digest": {"sent": 1, "merged": 4},
        "escalation": {"ios": "sent", "sms": "sent"},
        "escalation_not_needed": {"email": "sent", "sms": "cancelled: not_needed"},
        "broadcast": {"subscribers": 160, "paused_after": ANY, "planned": 160},
    }
    assert 0 < report["scenes"]["broadcast"]["paused_after"] < 160
    assert not _marked(mark), "processes were left behind"


def _marked(mark: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if mark in " ".join(process.cmdline()) or process.environ().get(MARK) == mark:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found
