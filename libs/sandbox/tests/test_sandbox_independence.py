"""The sandbox must not share the mistakes of what it checks."""

import ast
from pathlib import Path

import clarion_sandbox


def imported_packages(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def test_nothing_of_clarion_but_the_sandbox_itself_is_imported() -> None:
    files = sorted(Path(clarion_sandbox.__file__).parent.rglob("*.py"))
    imported = set().union(*(imported_packages(file.read_text("utf-8")) for file in files))
    assert {name for name in imported if name.startswith("clarion")} == {"clarion_sandbox"}
