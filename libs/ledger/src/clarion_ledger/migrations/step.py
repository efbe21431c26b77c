"""How a step of the history runs the SQL of its owner."""

from importlib.resources import files

from alembic import op


def run_sql(package: str, name: str) -> None:
    """Execute `sql/<name>` of an installed member, several statements at once."""
    connection = op.get_bind()
    driver_connection = connection.connection.dbapi_connection
    if driver_connection is None:
        raise RuntimeError("no connection to migrate")
    driver_connection.cursor().execute(files(package).joinpath("sql", name).read_text())
