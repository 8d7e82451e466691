"""What the declarations of several tables share."""

from sqlalchemy import Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from chalicelib.application import TABLE_PREFIX

LongText = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


def table_name(name: str) -> str:
    """Return the name that one of Nightshift's own tables has in this database."""
    return f"{TABLE_PREFIX}{name}"
