"""What tells a table from another one of its name: a rename or an exchanged partition swaps rows, and no read fails."""

from collections import defaultdict
from typing import Any

from pymysql import err
from pymysql.constants import ER

from chalicelib.backup.quoting import literal, quoted
from chalicelib.backup.session import ask, tell

# When it was made, and the numbers that InnoDB gives to it or to its partitions, as far as they are shown.
Identity = tuple[object, ...]

# InnoDB's list is of all tables of the server and is read as a whole: for more tables than this, once for each is slow.
MOST_TABLES = 1000
# MariaDB's name and MySQL's.
_LISTS = (b"INNODB_SYS_TABLES", b"INNODB_TABLES")
# The names in it are those of files. A name of other than plain characters looks different there, and is not found.
_NUMBERS = (
    b"SELECT SUBSTRING_INDEX(REPLACE(CAST(NAME AS BINARY),'#P#','#p#'),'#p#',1),TABLE_ID FROM information_schema.%b"
    b" WHERE NAME LIKE CONCAT(DATABASE(),'/%%') ORDER BY TABLE_ID"
)


def read_identities(connection: Any, *, table: str | None = None, with_numbers: bool = True) -> dict[str, Identity]:
    """Return the identities of the tables of the connection's schema by name, or of one table.

    Raises pymysql.err.Error.
    """
    query = b"SELECT TABLE_NAME,CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()"
    made = tell(connection, query if table is None else query + b" AND TABLE_NAME=" + literal(table.encode()))
    numbers = _read_numbers(connection) if with_numbers else {}
    return {name: (moment, *numbers.get(name, ())) for name, moment in made}


def _read_numbers(connection: Any) -> dict[str, list[int]]:
    """Return InnoDB's numbers by table; of none where the user lacks PROCESS."""
    numbers: dict[str, list[int]] = defaultdict(list)
    is_mysql = b"MariaDB" not in ask(connection, b"SELECT VERSION()")[0][0]
    try:
        found = tell(connection, _NUMBERS % _LISTS[is_mysql])
    except err.OperationalError as error:
        if error.args[0] != ER.SPECIFIC_ACCESS_DENIED_ERROR:
            raise
        found = []
    for name, number in found:
        numbers[name.rpartition("/")[2]].append(number)
    return numbers


def read_definition(connection: Any, table: str) -> bytes:
    """Return a table's definition as the server writes it. Raises pymysql.err.Error."""
    definition: bytes = ask(connection, b"SHOW CREATE TABLE " + quoted(table))[0][1]
    return definition
