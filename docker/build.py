"""Builds images without a registry of images and tries them: the base comes from Debian, the builder is buildah.

    python docker/build.py planner
    python docker/build.py all

Needs root that may mount, buildah and debootstrap; without them it says so and ends well. Everything lies below build/image
and is kept for the next time but the containers; beside it what each image is made of, as <image>.cdx.json (CycloneDX).
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clarion_kit import mesh

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build" / "image"
WHEELS = PLACE / "wheels"
SUITE = "bookworm"
"""Has the Python of the locked wheels."""
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates,binutils"
BASE = "localhost/clarion-base"
IMAGES = (*mesh.DAEMONS, "cli", "sandbox")
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
INSTALLED = "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()))"


class Failed(Exception):
    """A step of the build, or a check of the image."""


def prepare() -> None:
    """Fetch what every image is made of, the base and the wheels at the same time. Raises Failed."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as threads:
        for step in [threads.submit(_wheels), threads.submit(_base)]:
            step.result()
    (WHEELS / "uv.toml").write_text('no-index = true\nfind-links = ["/wheelhouse"]\n')


def build(service: str, *, layers: bool) -> None:
    """Build, measure and try. `layers`: keep each step, so that other images begin with those they share. Raises Failed."""
    image = f"localhost/clarion-{service.replace('_', '-')}"
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheelhouse", "UV_CONFIG_FILE": "/wheelhouse/uv.toml"}
    arguments = {"SERVICE": service, "BASE": BASE, **offline}
    _buildah(
        "build",
        f"--layers={str(layers).lower()}",
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
        _told(container, service, PLACE / f"{image.partition('/')[2]}.cdx.json")
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


def _told(container: str, service: str, path: Path) -> None:
    """Write the image's bill of materials: everything installed must be locked. Raises Failed."""
    status, output = _inside(container, "/opt/clarion/bin/python", "-c", INSTALLED)
    installed = {_canonical(line) for line in output.split() if not line.startswith("clarion")}
    names = sorted(line.partition("==")[0] for line in installed)
    if status or not names:
        raise Failed(f"what is installed in {service} cannot be told: {output.strip()}")
    _run([sys.executable, "-m", "tests.supply", "sbom", service, str(path), *names])
    named = {f"{part['name']}=={part['version']}" for part in json.loads(path.read_text())["components"]}
    if installed != named:
        raise Failed(f"{service} holds what is not locked: {', '.join(sorted(installed ^ named))}")


def _canonical(pinned: str) -> str:
    name, _, version = pinned.partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


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
    """buildah with storage of its own; it runs steps without a container runtime."""
    isolated = ["--isolation", "chroot"] if verb in ("build", "run") else []
    return ["buildah", *_storage(_driver()), verb, *isolated]


@functools.cache
def _driver() -> str:
    """Overlays, or whole copies where the kernel refuses them (inside containers)."""
    tried = subprocess.run(
        ["buildah", *_storage("overlay"), "info"], check=False, capture_output=True, timeout=STEP_SECONDS
    )
    return "vfs" if tried.returncode else "overlay"


def _storage(driver: str) -> list[str]:
    place = PLACE / driver
    return ["--root", str(place / "storage"), "--runroot", str(place / "run"), "--storage-driver", driver]


def _buildah(verb: str, *arguments: str) -> str:
    return _run([*_command(verb), *arguments])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=False, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=STEP_SECONDS)
    if done.returncode:
        raise Failed(f"{' '.join(command[:1])} ended with status {done.returncode}\n{done.stdout[-2_000:]}")
    return done.stdout


def lacking() -> list[str]:
    """What a build needs and is not there, by name."""
    missing = [tool for tool in ("buildah", "debootstrap") if shutil.which(tool) is None]
    if os.geteuid():
        missing.append("root")
    elif subprocess.run(
        ["unshare", "--mount", "true"], check=False, capture_output=True, timeout=STEP_SECONDS
    ).returncode:
        missing.append("the right to mount")
    return missing


def main(arguments: list[str]) -> int:
    """0: built and tried, or skipped by name; 1: not."""
    wanted = IMAGES if arguments == ["all"] else tuple(arguments)
    if not wanted or not set(wanted) <= set(IMAGES):
        sys.stderr.write(f"usage: build.py all | {' | '.join(IMAGES)} …\n")
        return 2
    if missing := lacking():
        sys.stderr.write(
            f"skipped: {'images' if len(wanted) > 1 else 'image'} of {', '.join(wanted)} (missing: {', '.join(missing)})\n"
        )
        return 0
    try:
        began = time.monotonic()
        prepare()
        for service in wanted:
            build(service, layers=len(wanted) > 1)
            sys.stdout.write(f"{service}: built and tried after {time.monotonic() - began:.0f} s\n")
    except (Failed, subprocess.TimeoutExpired) as failed:
        sys.stderr.write(f"{failed}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
