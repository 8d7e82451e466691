"""Column types of several tables."""

from sqlalchemy import Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT

LongText = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
