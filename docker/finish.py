"""Last step of an image: its programs, without what only compilers and tests read, everything compiled.

Runs with the interpreter of the environment it finishes.
"""

import compileall
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ENTRY = {
    "cli": "from clarion_local.cli.main import main\n\nmain()\n",
    "sandbox": "import sys\n\nfrom clarion_sandbox.__main__ import main\n\nsys.exit(main())\n",
}
DAEMON = "from clarion_{service}.__main__ import main\n\nmain()\n"
SOURCES = {".pyx", ".pxd", ".pxi", ".c", ".cc", ".cpp", ".h", ".hpp", ".pyi"}
"""Read by compilers and type checkers alone."""


UNUSED = (
    # Names of places, carriers and zones behind numbers: nobody asks for them.
    "phonenumbers/geodata",
    "phonenumbers/carrierdata",
    "phonenumbers/tzdata",
    # For those who test dialects of their own.
    "sqlalchemy/testing",
    "alembic/testing",
    # Languages that the command shows nothing in: all but Python, and those that share its initial.
    "pygments/lexers/_*_builtins.py",
    "pygments/lexers/[!_p]*.py",
)
"""Parts of packages that no program of ours reads, as patterns."""


def main(service: str) -> None:
    """Make `bin/clarion-service`, `bin/clarion-probe` and, for the cli, `bin/clarion` and `bin/clarion-prepare`."""
    scripts = Path(sysconfig.get_path("scripts"))
    site = Path(sysconfig.get_path("purelib"))
    for path in scripts.iterdir():
        if not path.name.startswith("python"):
            path.unlink() if path.is_file() or path.is_symlink() else shutil.rmtree(path)
    _program(scripts / "clarion-service", ENTRY.get(service, DAEMON.format(service=service)))
    if service != "sandbox":
        _program(scripts / "clarion-probe", Path(__file__).with_name("probe.py").read_text(), "-IS")
    if service == "cli":
        _program(scripts / "clarion", ENTRY["cli"])
        _program(scripts / "clarion-prepare", Path(__file__).with_name("prepare.py").read_text())
    # What uv leaves behind may be written by anybody.
    for left in (".lock", ".gitignore", "CACHEDIR.TAG"):
        (Path(sys.prefix) / left).unlink(missing_ok=True)
    for folder in [path for path in site.rglob("tests") if path.is_dir()]:
        shutil.rmtree(folder)
    for path in [path for pattern in UNUSED for path in site.glob(pattern)]:
        path.unlink() if path.is_file() else shutil.rmtree(path)
    for path in [path for path in site.rglob("*") if path.suffix in SOURCES]:
        path.unlink()
    # A sixth of an image is debugging information of two libraries (measured).
    libraries = [str(path) for path in site.rglob("*.so*") if path.is_file()]
    subprocess.run(["strip", "--strip-debug", *libraries], check=True)
    # Compared by hash, so that the same sources give the same bytes whenever they were copied.
    by_hash = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(site, quiet=2, invalidation_mode=by_hash):
        sys.stderr.write("some files of packages do not compile; they are compiled when imported, or never\n")


def _program(path: Path, text: str, flags: str = "-I") -> None:
    path.write_text(f"#!{sys.executable} {flags}\n{text}")
    path.chmod(0o755)


if __name__ == "__main__":
    main(sys.argv[1])
