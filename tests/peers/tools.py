"""Tools from elsewhere, installed below build/peers from the lock files beside this module."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
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
    """Jaeger, built by a Go toolchain in a copy of its module's source, whose own go.sum pins whatever goes into it.

    Seven minutes of CPU are too many for every run: it is built once and only where CLARION_BUILD_JAEGER asks for it.
    """
    folder = PEERS / "jaeger"
    binary = folder / f"jaeger-{JAEGER_VERSION}"
    if not binary.exists():
        if not os.environ.get("CLARION_BUILD_JAEGER"):
            pytest.skip(
                "no Jaeger in build/peers/jaeger: set CLARION_BUILD_JAEGER=1 to have it built (seven minutes of CPU)"
            )
        go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
        if go is None:
            skip("Jaeger cannot be built here: there is no Go toolchain")
        missing = "Jaeger cannot be built here"
        folder.mkdir(parents=True, exist_ok=True)
        module = f"github.com/jaegertracing/jaeger@{JAEGER_VERSION}"
        source = Path(json.loads(_install([str(go), "mod", "download", "-json", module], folder, missing))["Dir"])
        with tempfile.TemporaryDirectory(dir=folder) as work:
            # The module names replacements, which count in a main module only; the cache of modules is read-only.
            copy = shutil.copytree(source, Path(work) / "source", copy_function=shutil.copyfile)
            copy.chmod(0o755)
            _install(
                [str(go), "build", "-trimpath", "-ldflags=-s", "-o", f"{binary}.new", "./cmd/jaeger"], copy, missing
            )
        Path(f"{binary}.new").rename(binary)
    return binary


def _install(command: list[str], folder: Path, missing: str) -> str:
    """What the command prints; the test is skipped where it fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            timeout=INSTALL_SECONDS,
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "CGO_ENABLED": "0"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        skip(f"{missing}: {error}")
        return ""
    if done.returncode:
        skip(f"{missing}: {done.stderr.strip()[-500:]}")
    return done.stdout


def _digest(sources: list[Path]) -> str:
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def _is_made_from(folder: Path, sources: list[Path]) -> bool:
    mark = folder / ".made-from"
    return mark.exists() and mark.read_text("ascii") == _digest(sources)


def _mark(folder: Path, sources: list[Path]) -> None:
    (folder / ".made-from").write_text(_digest(sources), "ascii")
