"""The type of a column that refers to a user."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from chalicelib.application import users
from chalicelib.columns import Id


def user_id_type() -> sa.types.TypeEngine[str]:
    """Return the type that `users.id` has in the database.

    MySQL refuses to join columns of two collations, and does not use an index to join columns of two types.
    """
    bind = op.get_bind()
    if bind.dialect.name == "sqlite":
        return users.c.id.type
    column: Any = next(iter(users.c.id.base_columns))
    columns = sa.inspect(bind).get_columns(column.table.name, column.table.schema)
    found = next(each["type"] for each in columns if each["name"] == column.name)
    return sa.CHAR(36, collation=getattr(found, "collation", None)) if column.type is Id else found
