"""`make jaeger`: Jaeger's receiver, memory and query API, built by a Go toolchain in a copy of its module's source, whose own
go.sum pins whatever goes into them. Where that cannot be done, it says so by name; the test of it is skipped then."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.peers.tools import INSTALL_SECONDS, JAEGER_VERSION, jaeger_path

PROGRAM = Path(__file__).with_name("main.go")
MODULE = f"github.com/jaegertracing/jaeger@{JAEGER_VERSION}"


def build(binary: Path) -> None:
    """Two minutes of CPU, once. Raises FileNotFoundError (no Go), CalledProcessError, TimeoutExpired."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise FileNotFoundError("there is no Go toolchain")
    binary.parent.mkdir(parents=True, exist_ok=True)
    source = Path(json.loads(_run([go, "mod", "download", "-json", MODULE], binary.parent))["Dir"])
    with tempfile.TemporaryDirectory(dir=binary.parent) as work:
        # The module names replacements, which count in a main module only; the cache of modules is read-only.
        copy = shutil.copytree(source, Path(work) / "source", copy_function=shutil.copyfile)
        for place in (copy, copy / "cmd"):
            place.chmod(0o755)
        (copy / "cmd" / "peer").mkdir()
        shutil.copy(PROGRAM, copy / "cmd" / "peer")
        _run([go, "build", "-trimpath", "-ldflags=-s -w", "-o", f"{binary}.new", "./cmd/peer"], copy)
    Path(f"{binary}.new").rename(binary)


def _run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "CGO_ENABLED": "0"}
    return subprocess.run(
        command, cwd=folder, timeout=INSTALL_SECONDS, check=True, capture_output=True, text=True, env=environment
    ).stdout


def main() -> int:
    binary = jaeger_path()
    try:
        if not binary.exists():
            build(binary)
    except FileNotFoundError as missing:
        sys.stdout.write(f"skipped: Jaeger, {missing}\n")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failed:
        told = str(failed.stderr or "").strip().splitlines()[-3:]
        sys.stdout.write(f"skipped: Jaeger, it cannot be built here: {failed.cmd[1:3]}: {' '.join(told)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
