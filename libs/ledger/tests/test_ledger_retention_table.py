"""The README says of every table how long it is kept."""

import re
from pathlib import Path

from clarion_ledger.db import pool

README = Path(__file__).parents[1] / "README.md"


def listed() -> list[str]:
    """Tables in the first column of the table under its heading, in order."""
    section = README.read_text().partition("## What is kept how long\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([a-z_.]+)`", row)]


async def test_every_table_is_listed_once(ledger_url: str) -> None:
    async with pool(ledger_url, size=1, application="tables") as connections:
        rows = await connections.fetch(
            """SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
                 AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public')"""
        )

    assert sorted(listed()) == sorted(row["name"] for row in rows)
