"""What a schema has and no backup holds."""

from sqlalchemy import Connection, text

from chalicelib.backup.plan import Plan

VERSIONED = text(
    "SELECT table_name FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_type = 'SYSTEM VERSIONED' ORDER BY table_name"
)
# MySQL has libraries from 9.2 on.
HAS_LIBRARIES = text(
    "SELECT COUNT(*) FROM information_schema.tables"
    " WHERE table_schema = 'information_schema' AND table_name = 'LIBRARIES'"
)
LIBRARIES = text(
    "SELECT library_name FROM information_schema.libraries WHERE library_schema = DATABASE() ORDER BY library_name"
)


def find_left_out(connection: Connection, plan: Plan) -> dict[str, list[str]]:
    """Return the names of what a backup by the plan leaves out, by the summary's field; nothing for what is not there.

    These are MariaDB's system-versioned tables, of which it holds the present rows and not their history, and MySQL's
    libraries of JavaScript or WebAssembly. Raises DBAPIError.
    """
    versioned = connection.scalars(VERSIONED).all()
    libraries = connection.scalars(LIBRARIES).all() if connection.scalar(HAS_LIBRARIES) else []
    found = {
        "without_history": [name for name in versioned if plan.takes(name) and plan.takes_rows(name)],
        "without_libraries": [name for name in libraries if plan.takes(name)],
    }
    return {field: names for field, names in found.items() if names}
