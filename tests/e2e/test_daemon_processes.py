"""Daemons as processes: what they say when they cannot start."""

import os
import subprocess
import sys

import pytest

from clarion_kit import mesh
from clarion_kit.settings import EXIT_BAD_SETTINGS

REQUIRED = {
    "gateway": ("DATABASE_URL", "NATS_URL", "KEK_FILE", "TOKEN_KEYS_FILE", "PEPPER_FILE"),
    "preference": ("DATABASE_URL", "KEK_FILE"),
    "template": ("DATABASE_URL",),
    "rate_limiter": ("VALKEY_URL",),
    "planner": ("DATABASE_URL", "NATS_URL", "KEK_FILE"),
    **dict.fromkeys(mesh.DISPATCHERS, ("DATABASE_URL", "NATS_URL", "KEK_FILE")),
    "scheduler": ("DATABASE_URL", "NATS_URL"),
    "tracker": ("DATABASE_URL", "KEK_FILE"),
    "monitor": ("DATABASE_URL", "NATS_URL"),
}


@pytest.mark.parametrize("daemon", mesh.DAEMONS)
def test_daemon_without_settings_names_every_missing_one_and_exits_2(daemon: str) -> None:
    env = {"PATH": os.environ["PATH"], "CLARION_GRPC_LISTEN": "nonsense", "CLARION_TRACE_RATIO": "7"}

    ended = subprocess.run(
        [sys.executable, "-m", f"clarion_{daemon}"], env=env, capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.returncode == EXIT_BAD_SETTINGS, ended.stderr
    for name in (*REQUIRED[daemon], "GRPC_LISTEN", "TRACE_RATIO"):
        assert f"CLARION_{name}:" in ended.stderr
    assert "Traceback" not in ended.stderr
