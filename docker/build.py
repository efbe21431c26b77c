"""Builds one image without a registry of images and tries it: the base comes from Debian, the builder is buildah.

    python docker/build.py planner

Needs root, buildah and debootstrap; without them it says so and ends well, with CI=true it fails. Everything lies below
build/image and is kept for the next time but the containers.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build" / "image"
WHEELS = PLACE / "wheels"
SUITE = "bookworm"
"""Has the Python of the locked wheels."""
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates,binutils"
BASE = "localhost/clarion-base"
LIMIT_MEGABYTES = 120
"""Above the base image."""
STEP_SECONDS = 1_200
TRIED_DAEMON = (
    ("/opt/clarion/bin/clarion-service", 2, "CLARION_"),
    ("/opt/clarion/bin/clarion-probe", 2, "usage"),
)
"""Programs of an image, how each ends without settings, and a word it says."""
TRIED = {
    "cli": (
        ("/opt/clarion/bin/clarion migrate status", 2, "CLARION_DATABASE_URL"),
        ("/opt/clarion/bin/clarion-prepare", 2, "clarion-prepare files"),
        ("/opt/clarion/bin/clarion-probe", 2, "usage"),
    ),
    "sandbox": (("/opt/clarion/bin/clarion-service", 2, "CLARION_SANDBOX_DIR"),),
}
"""The same for images that are no daemon."""
NOBODY = "65532:65532"


class Failed(Exception):
    """A step of the build, or a check of the image."""


def build(service: str) -> None:
    """Build, measure and try. Raises Failed."""
    PLACE.mkdir(parents=True, exist_ok=True)
    _wheels()
    _base()
    image = f"localhost/clarion-{service.replace('_', '-')}"
    (WHEELS / "uv.toml").write_text('no-index = true\nfind-links = ["/wheelhouse"]\n')
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheelhouse", "UV_CONFIG_FILE": "/wheelhouse/uv.toml"}
    arguments = {"SERVICE": service, "BASE": BASE, **offline}
    _buildah(
        "build",
        "--file",
        "docker/Dockerfile",
        "--ignorefile",
        "docker/Dockerfile.dockerignore",
        "--volume",
        f"{WHEELS}:/wheelhouse:ro",
        *(part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")),
        "--tag",
        image,
        ".",
    )
    container = _buildah("from", image).strip()
    try:
        _check(container, service)
    finally:
        _buildah("rm", container)


def _wheels() -> None:
    """Every wheel an image may need, by hash, for this platform; those that are there are kept."""
    lock = PLACE / "runtime.lock"
    # The base's Python may be another patch release than ours: what only one of them needs is fetched as well.
    lock.write_text(
        re.sub(r" ; python_full_version < '3\.11\.[0-9]+'", "", _run([sys.executable, "docker/runtime_lock.py"]))
    )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    _run([*command, "--only-binary", ":all:", "--requirement", str(lock), "--dest", str(WHEELS)])


def _base() -> None:
    """Debian with Python, as an image; made once."""
    if _buildah("images", "--quiet", "--filter", f"reference={BASE}").strip():
        return
    system = PLACE / "debian"
    shutil.rmtree(system, ignore_errors=True)
    _run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(system)])
    container = _buildah("from", "scratch").strip()
    _buildah("add", "--quiet", container, str(system), "/")
    _buildah("commit", "--quiet", "--rm", container, BASE)
    shutil.rmtree(system)


def _check(container: str, service: str) -> None:
    """Size, owner, labels, and that its programs run as nobody. Raises Failed."""
    size = int(_inside(container, "du", "-sm", "/opt/clarion")[1].split()[0])
    sys.stdout.write(f"{service}: {size} MB above the base\n")
    if size > LIMIT_MEGABYTES:
        raise Failed(f"more than {LIMIT_MEGABYTES} MB above the base")
    described = _buildah("inspect", "--type", "container", container)
    for part in (f'"User": "{NOBODY}"', "org.opencontainers.image.version", "/opt/clarion/bin/clarion-service"):
        if part not in described:
            raise Failed(f"the image does not say {part}")
    writable = _inside(container, "find", "/opt/clarion", "-writable")[1]
    if writable:
        raise Failed(f"may be written by the image's user: {writable.split()[0]}")
    for program, status, words in TRIED.get(service, TRIED_DAEMON):
        ended, output = _inside(container, *program.split())
        if ended != status or words not in output:
            raise Failed(f"{program} ends with {ended} and says: {output.strip() or 'nothing'}")


def _inside(container: str, *command: str) -> tuple[int, str]:
    """Exit status and output of a command in the container, as its user."""
    done = subprocess.run(
        [*_command("run"), "--user", NOBODY, container, "--", *command],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_SECONDS,
    )
    return done.returncode, done.stdout


def _command(verb: str) -> list[str]:
    """buildah with storage of its own, without the kernel's overlays: it works inside containers too."""
    isolated = ["--isolation", "chroot"] if verb in ("build", "run") else []
    storage = ["--root", str(PLACE / "storage"), "--runroot", str(PLACE / "run"), "--storage-driver", "vfs"]
    return ["buildah", *storage, verb, *isolated]


def _buildah(verb: str, *arguments: str) -> str:
    return _run([*_command(verb), *arguments])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=False, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=STEP_SECONDS)
    if done.returncode:
        raise Failed(f"{' '.join(command[:1])} ended with status {done.returncode}\n{done.stdout[-2_000:]}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """0: built and tried, or skipped by name; 1: not."""
    if len(arguments) != 1:
        sys.stderr.write("usage: build.py SERVICE\n")
        return 2
    missing = [tool for tool in ("buildah", "debootstrap") if shutil.which(tool) is None]
    if os.geteuid():
        missing.append("root")
    if missing:
        sys.stderr.write(f"skipped: image of {arguments[0]} (missing: {', '.join(missing)})\n")
        return 1 if os.environ.get("CI") == "true" else 0
    began = time.monotonic()
    try:
        build(arguments[0])
    except (Failed, subprocess.TimeoutExpired) as failed:
        sys.stderr.write(f"{failed}\n")
        return 1
    sys.stdout.write(f"{arguments[0]}: built and tried in {time.monotonic() - began:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
