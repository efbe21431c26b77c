"""What the mesh is made of: `python -m tests.supply sbom | audit | secrets | harmless`; see README.md."""

import sys
from pathlib import Path

from docker.closure import closure_of

from . import licences, locked, sbom, secret_scan, vulnerabilities


def write_sboms() -> int:
    """Bills of materials and the list of licences, in build/sbom."""
    folder = locked.ROOT / "build" / "sbom"
    folder.mkdir(parents=True, exist_ok=True)
    runtime, everything = locked.runtime(), locked.locked(locked.LOCK.read_text())
    (folder / "runtime.cdx.json").write_text(sbom.bom("clarion", runtime))
    (folder / "everything.cdx.json").write_text(sbom.bom("clarion-workspace", everything))
    (folder / "licences.txt").write_text(licences.table(runtime))
    sys.stdout.write(licences.table(runtime))
    sys.stdout.write(f"{len(runtime)} packages in images, {len(everything)} locked; written to build/sbom\n")
    return 0


def write_image_sbom(image: str, path: Path, found: list[str]) -> int:
    """The bill of materials of one image: of what it needs here, or of what was found in it, whose Python may need more."""
    title = f"clarion-{image.replace('_', '-')}"
    inside = [one for one in locked.locked(locked.LOCK.read_text()) if one.name in found]
    path.write_text(sbom.bom(title, inside) if found else sbom.bom_of(title, closure_of(image).packages))
    return 0


def look_for_secrets() -> int:
    """Name every secret that is found; gives the exit status."""
    found = secret_scan.news(secret_scan.scan(secret_scan.tracked_files()))
    for one in found:
        sys.stderr.write(f"{one.file}:{one.line}: {one.kind}\n")
    return 1 if found else 0


def call_harmless() -> int:
    """Accept everything that the scanner finds now: read it first."""
    secret_scan.accept(secret_scan.scan(secret_scan.tracked_files()))
    return 0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["sbom"]:
            return write_sboms()
        case ["sbom", image, path, *found]:
            return write_image_sbom(image, Path(path), found)
        case ["audit"]:
            return vulnerabilities.run()
        case ["secrets"]:
            return look_for_secrets()
        case ["harmless"]:
            return call_harmless()
    sys.stderr.write("usage: python -m tests.supply sbom [IMAGE FILE [FOUND...]] | audit | secrets | harmless\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
