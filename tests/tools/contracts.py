"""Contracts at work: generate the stubs, find drift, lint, and refuse breaking changes.

`lint` and `breaking` need buf, which comes from npm (pinned below). Where npm is missing they are skipped by
name; with CI=true that is an error.
"""

import filecmp
import io
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.resources import files
from pathlib import Path

from google.rpc import status_pb2

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
STUBS = ROOT / "libs" / "contracts" / "src"
BUILD = ROOT / "build"
BUF_PACKAGE = "@bufbuild/buf@1.75.0"
"""Brings the binary of each platform as a package of the same version, and nothing else."""
BUF = BUILD / "tools" / "node_modules" / ".bin" / "buf"


def generate(target: Path) -> None:
    """Write .py and .pyi for every proto below `target`."""
    binaries = Path(sys.executable).parent
    site_packages = Path(str(files("grpc_tools"))).parent
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{PROTOS}",
        f"-I{site_packages / 'grpc_tools' / '_proto'}",
        f"-I{site_packages}",
        *(f"--plugin=protoc-gen-{name}={binaries / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")),
        *(f"--{kind}_out={target}" for kind in ("python", "grpc_python")),
        *(f"--{kind}_out=quiet:{target}" for kind in ("mypy", "mypy_grpc")),
        *sorted(str(proto) for proto in PROTOS.rglob("*.proto")),
    ]
    subprocess.run(command, check=True)


def drift() -> int:
    """Compare fresh stubs with the checked-in ones; name each file that differs, is missing, or is left over."""
    fresh = BUILD / "stubs"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    generate(fresh)
    made = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    kept = {path.relative_to(STUBS) for path in STUBS.rglob("*_pb2*") if path.suffix in (".py", ".pyi")}
    faults = [f"not checked in: {path}" for path in sorted(made - kept)]
    faults += [f"left over: {path}" for path in sorted(kept - made)]
    faults += [
        f"differs: {path}" for path in sorted(made & kept) if not filecmp.cmp(fresh / path, STUBS / path, shallow=False)
    ]
    for fault in faults:
        sys.stderr.write(f"{fault} (run make protos)\n")
    return 1 if faults else 0


def buf(*arguments: str) -> int:
    """Run buf on the workspace, or say that it is skipped."""
    if not BUF.exists() and not _install_buf():
        sys.stderr.write(f"skipped: buf {arguments[0]} (npm cannot install @bufbuild/buf here)\n")
        return 1 if os.environ.get("CI") == "true" else 0
    _link_googleapis(BUILD / "googleapis")
    return subprocess.run([str(BUF), *arguments], cwd=ROOT, check=False).returncode


def breaking() -> int:
    """Refuse changes that break wire or source against the commit before: HEAD if protos are edited, else its parent."""
    edited = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "protos"], cwd=ROOT, check=False).returncode
    reference = "HEAD" if edited else "HEAD~1"
    archive = subprocess.run(
        ["git", "archive", reference, "protos", "buf.yaml"], cwd=ROOT, check=False, capture_output=True
    )
    if archive.returncode:
        sys.stderr.write(f"no contracts at {reference}: nothing to compare with\n")
        return 0
    against = BUILD / "against"
    shutil.rmtree(against, ignore_errors=True)
    against.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(against, filter="data")
    _link_googleapis(against / "build" / "googleapis")
    return buf("breaking", "--against", str(against))


def _install_buf() -> bool:
    npm = shutil.which("npm")
    if npm is None:
        return False
    tools = BUILD / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--no-save", "--no-package-lock", BUF_PACKAGE]
    done = subprocess.run(command, cwd=tools, check=False)
    return done.returncode == 0 and BUF.exists()


def _link_googleapis(target: Path) -> None:
    """google/rpc/status.proto as its wheel brings it, where buf.yaml expects it."""
    source = Path(status_pb2.__file__).with_name("status.proto")
    copy = target / "google" / "rpc" / "status.proto"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, copy)


def main(arguments: list[str]) -> int:
    match arguments:
        case ["generate"]:
            generate(STUBS)
            return 0
        case ["drift"]:
            return drift()
        case ["lint"]:
            return buf("lint")
        case ["breaking"]:
            return breaking()
    sys.stderr.write("usage: contracts.py generate | drift | lint | breaking\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
