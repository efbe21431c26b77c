"""Tools from elsewhere, installed below build/peers from the lock files beside this module."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PEERS = HERE.parents[1] / "build" / "peers"
INSTALL_SECONDS = 600
JAEGER_VERSION = "v1.76.0"


def skip(missing: str) -> None:
    """Skip the test by the name of what is missing; in CI that is a failure.

    Raises:
        pytest.skip.Exception, pytest.fail.Exception: always.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def npm_modules() -> Path:
    """The node_modules of package-lock.json."""
    folder = PEERS / "npm"
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        skip("node and npm are not installed here")
    sources = [HERE / name for name in ("package.json", "package-lock.json", ".npmrc")]
    if not _is_made_from(folder, sources):
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copy(source, folder)
        _install([str(npm), "ci", "--silent"], folder, "npm cannot install what package-lock.json names here")
        _mark(folder, sources)
    return folder / "node_modules"


def twisted_python() -> Path:
    """The interpreter of an environment with what requirements.lock names."""
    folder = PEERS / "twisted"
    python = folder / "bin" / "python"
    lock = HERE / "requirements.lock"
    if not _is_made_from(folder, [lock]):
        folder.parent.mkdir(parents=True, exist_ok=True)
        uv = str(Path(sys.executable).with_name("uv"))
        missing = "smpp.twisted3 cannot be installed here"
        _install([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], folder.parent, missing)
        install = [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(lock)]
        _install(install, folder.parent, missing)
        _mark(folder, [lock])
    return python


def jaeger_binary() -> Path:
    """What `make jaeger` built; the test is skipped where that was not asked for, or cannot be done."""
    binary = jaeger_path()
    if not binary.exists():
        pytest.skip("no Jaeger in build/peers/jaeger: make jaeger builds it with a Go toolchain (two minutes of CPU)")
    return binary


def jaeger_path() -> Path:
    """Where the binary is, once it was built."""
    return PEERS / "jaeger" / f"jaeger-{JAEGER_VERSION}-{_digest([HERE / 'jaeger' / 'main.go'])[:16]}"


def _install(command: list[str], folder: Path, missing: str) -> None:
    """The test is skipped where it fails or takes too long."""
    try:
        done = subprocess.run(command, cwd=folder, timeout=INSTALL_SECONDS, check=False, capture_output=True, text=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        skip(f"{missing}: {error}")
        return
    if done.returncode:
        skip(f"{missing}: {done.stderr.strip()[-500:]}")


def _digest(sources: list[Path]) -> str:
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def _is_made_from(folder: Path, sources: list[Path]) -> bool:
    mark = folder / ".made-from"
    return mark.exists() and mark.read_text("ascii") == _digest(sources)


def _mark(folder: Path, sources: list[Path]) -> None:
    (folder / ".made-from").write_text(_digest(sources), "ascii")
