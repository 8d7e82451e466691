"""What MySQL and MariaDB ask for differently, or say in other words, as far as the tests meet it."""

from typing import Any

from nightshift.local.servers import MYSQL_FOLDER

# How a replication that never starts is made and ended, and what its lag is called, on MySQL and on MariaDB.
REPLICATION = {
    False: {
        "begin": "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_USER = 'nobody'",
        "end": "RESET REPLICA ALL",
        "seconds": "Seconds_Behind_Source",
    },
    True: {
        "begin": "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_USER = 'nobody'",
        "end": "RESET SLAVE ALL",
        "seconds": "Seconds_Behind_Master",
    },
}


def is_mariadb(connection: Any) -> bool:
    """Return whether PyMySQL's connection leads to a MariaDB."""
    return "MariaDB" in connection.get_server_info()


def series(last: int) -> str:
    """Return a table of the numbers from 1 to `last` in its column `seq`, for a FROM clause.

    MariaDB has such tables in an engine of its own (`seq_1_to_9`), MySQL has none.
    """
    array = f"CONVERT(CONCAT('[0', REPEAT(',0', {last - 1}), ']') USING utf8mb4)"
    numbers = f"JSON_TABLE({array}, '$[*]' COLUMNS (seq FOR ORDINALITY)) AS numbered"
    return f"(SELECT CAST(seq AS SIGNED) AS seq FROM {numbers}) AS series"


def new_schema(name: str, *, collation: str = "utf8mb4_unicode_ci") -> list[str]:
    """Return the statements that leave an empty schema of this name: MySQL has no CREATE OR REPLACE."""
    quoted = "`" + name.replace("`", "``") + "`"
    charset = collation.partition("_")[0]
    return [f"DROP SCHEMA IF EXISTS {quoted}", f"CREATE SCHEMA {quoted} CHARACTER SET {charset} COLLATE {collation}"]


def new_user(name: str) -> list[str]:
    """Return the statements that leave a user of this name at localhost without any privilege."""
    return [f"DROP USER IF EXISTS {name}@localhost", f"CREATE USER {name}@localhost"]


def client(connection: Any, *options: str) -> list[str]:
    """Return the command of the plain client that comes with the server of PyMySQL's connection, without encryption."""
    of_mariadb = is_mariadb(connection)
    program = "mariadb" if of_mariadb else str(MYSQL_FOLDER / "bin" / "mysql")
    return _command(connection, program, options)


def dumper(connection: Any, *options: str) -> list[str]:
    """Return the command of the dumper that comes with the server of PyMySQL's connection, without encryption."""
    of_mariadb = is_mariadb(connection)
    program = "mariadb-dump" if of_mariadb else str(MYSQL_FOLDER / "bin" / "mysqldump")
    # What MySQL's writes of them loads into no server that has them.
    positions = [] if of_mariadb else ["--set-gtid-purged=OFF"]
    return _command(connection, program, (*positions, *options))


def _command(connection: Any, program: str, options: tuple[str, ...]) -> list[str]:
    plain = "--skip-ssl" if is_mariadb(connection) else "--ssl-mode=DISABLED"
    where = [f"--host={connection.host}", f"--port={connection.port}", f"--user={connection.user.decode()}"]
    return [program, "--no-defaults", *where, plain, *options]
