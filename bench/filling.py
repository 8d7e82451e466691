"""A database worth backing up: four tables as applications have them, whose rows are made by the server itself."""

from typing import Any
from urllib.parse import urlsplit

import pymysql

from bench.servers import mixed, numbers

WORDS = (
    "'the', 'quick', 'brown', 'fox', 'jumps', 'over', 'a', 'lazy', 'dog', 'and', 'nobody', 'knows', 'why', 'it', 'did'"
)
# Of each million rows: their share, the table, and a row made from its number.
TABLES = [
    (
        0.43,
        "orders (id BIGINT PRIMARY KEY, customer INT NOT NULL, amount DECIMAL(10,2) NOT NULL,"
        " status ENUM('new','paid','sent') NOT NULL, note VARCHAR(100), created_at DATETIME NOT NULL, KEY (customer))",
        "seq, seq * 7919 % 100003, seq * 31 % 100000 / 100, 1 + seq % 3, IF(seq % 4, NULL, CONCAT('note of ', seq)),"
        " '2020-01-01' + INTERVAL seq SECOND",
    ),
    (
        0.22,
        "posts (id BIGINT PRIMARY KEY, author VARCHAR(60) NOT NULL, title VARCHAR(200) NOT NULL, body TEXT NOT NULL,"
        " points INT, score DOUBLE, created_at BIGINT NOT NULL)",
        "seq, CONCAT('user', seq * 7919 % 5003), CONCAT('About \"things\", it''s Ünïcödé ', seq),"
        f" CONCAT_WS(' ', {', '.join(f'ELT(1 + CRC32(seq + {n}000000000) % 15, {WORDS})' for n in range(40))}, '\n',"
        f" REPEAT({mixed('seq % 1000')}, seq % 5)), IF(seq % 10, seq % 977, NULL), seq / 7, 1456000000000 + seq",
    ),
    (
        0.2,
        "sessions (id CHAR(36) PRIMARY KEY, user_id CHAR(36) NOT NULL, user_agent VARCHAR(200), created_at"
        " BIGINT NOT NULL,"
        " updated_at BIGINT NOT NULL)",
        f"INSERT({mixed('seq')}, 9, 0, '-'), UUID(), 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"
        " (KHTML, like Gecko) Chrome/126.0 Safari/537.36', 1456000000000 + seq, 1456000000000 + seq * 2",
    ),
    (
        0.15,
        "activity (id BIGINT PRIMARY KEY, user_id INT NOT NULL, event VARCHAR(40) NOT NULL, data JSON,"
        " at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3))",
        "seq, seq * 31 % 7001, ELT(1 + seq % 4, 'login', 'logout', 'page_view', 'purchase'),"
        " JSON_OBJECT('ip', CONCAT('10.0.', seq % 256, '.', seq % 77), 'path', CONCAT('/posts/', seq), 'n', seq),"
        " '2024-01-01' + INTERVAL seq SECOND",
    ),
]


def fill(url: str, *, rows: int, schema: str = "nightshift") -> None:
    """Make the tables that are backed up."""
    address = urlsplit(url)
    where: dict[str, Any] = {"host": address.hostname, "port": address.port, "user": "root", "database": schema}
    with pymysql.connect(**where, autocommit=True) as connection, connection.cursor() as cursor:
        for share, definition, values in TABLES:
            name = definition.partition(" ")[0]
            cursor.execute(f"CREATE TABLE {definition}")
            cursor.execute(f"INSERT INTO {name} SELECT {values} FROM {numbers(int(rows * share))} ORDER BY 1")  # noqa: S608
            cursor.execute(f"ANALYZE TABLE {name}")
