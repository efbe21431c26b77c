"""All that a superuser reads in the database, as text."""

from io import BytesIO

from clarion_ledger.db import Pool, connection

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY 1, 2
"""


async def dump(pool: Pool) -> dict[str, bytes]:
    """The rows of each table as COPY writes them: a line each, tabs between, bytea in hex."""
    found: dict[str, bytes] = {}
    async with connection(pool) as db:
        for row in await db.fetch(_TABLES):
            schema, table = row["nspname"], row["relname"]
            rows = BytesIO()
            await db.copy_from_query(f'SELECT * FROM "{schema}"."{table}"', output=rows)
            found[f"{schema}.{table}"] = rows.getvalue()
    return found
