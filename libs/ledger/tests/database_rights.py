"""The rights of the daemons' roles as a database has them, one line for each role and object.

`python -m libs.ledger.tests.database_rights URL` prints them of a migrated database; `roles_expected.txt` is what they are to be.
"""

import asyncio
import sys
from pathlib import Path

import asyncpg

EXPECTED = Path(__file__).with_name("roles_expected.txt")

_RIGHTS = r"""
WITH roles AS (SELECT oid, rolname FROM pg_roles WHERE rolname LIKE 'clarion\_%'),
granted AS (
    SELECT a.grantee, n.nspname || '.' || c.relname AS object, a.privilege_type AS what, NULL::name AS part
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
    UNION ALL
    SELECT a.grantee, n.nspname || '.' || c.relname, a.privilege_type, t.attname
    FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
         aclexplode(t.attacl) a
    UNION ALL
    SELECT a.grantee, 'schema ' || n.nspname, a.privilege_type, NULL FROM pg_namespace n, aclexplode(n.nspacl) a
    UNION ALL
    SELECT a.grantee, 'function ' || n.nspname || '.' || p.proname, a.privilege_type, NULL
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(p.proacl) a
), told AS (
    SELECT grantee, object, what || CASE WHEN count(part) > 0 THEN ' (' || string_agg(part, ', ' ORDER BY part) || ')' ELSE '' END AS what
    FROM granted GROUP BY grantee, object, what, part IS NULL
)
SELECT r.rolname || ': ' || t.object || ': ' || string_agg(t.what, ', ' ORDER BY t.what) AS line
FROM told t JOIN roles r ON r.oid = t.grantee GROUP BY r.rolname, t.object
UNION ALL
SELECT m.rolname || ': may become ' || r.rolname || CASE WHEN a.inherit_option THEN ' and inherits' ELSE '' END
FROM pg_auth_members a JOIN roles m ON m.oid = a.member JOIN roles r ON r.oid = a.roleid
ORDER BY 1
"""


async def rights(connection: "asyncpg.Connection[asyncpg.Record] | asyncpg.Pool[asyncpg.Record]") -> list[str]:
    """Sorted lines."""
    return sorted({row["line"] for row in await connection.fetch(_RIGHTS)})


async def _print(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        sys.stdout.write("\n".join(await rights(connection)) + "\n")
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(_print(sys.argv[1]))
