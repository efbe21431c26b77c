"""Tools from elsewhere, installed below build/; where that is impossible the test is skipped by name, in CI it fails."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NPM_TIMEOUT_SECONDS = 180


@pytest.fixture(scope="session")
def npm_install() -> Callable[..., Path]:
    """Installs exact versions from npm; gives the folder that holds `node_modules`."""

    def install(name: str, *packages: str) -> Path:
        folder = ROOT / "build" / "peers" / name
        if all((folder / "node_modules" / package.rpartition("@")[0]).is_dir() for package in packages):
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        npm = shutil.which("npm")
        command = [
            npm or "npm",
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--no-save",
            "--no-package-lock",
            *packages,
        ]
        done = npm and subprocess.run(command, cwd=folder, timeout=NPM_TIMEOUT_SECONDS, check=False).returncode == 0
        if not done:
            missing = f"npm cannot install {', '.join(packages)} here"
            if os.environ.get("CI") == "true":
                pytest.fail(missing)
            pytest.skip(missing)
        return folder

    return install
