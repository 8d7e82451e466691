"""What a backup must bring back that MySQL has and MariaDB has not: the statements that make it."""

from tests.servers import series

TABLES = [
    # An index on an expression, one on each element of an array, one that no plan uses.
    "CREATE TABLE products (id INT PRIMARY KEY AUTO_INCREMENT, doc JSON NOT NULL, tags JSON DEFAULT (JSON_ARRAY()),"
    " price DECIMAL(10,2) AS (CAST(doc->>'$.price' AS DECIMAL(10,2))) STORED, name VARCHAR(50) AS (doc->>'$.name'),"
    " KEY by_word ((LOWER(name)) DESC, price), KEY by_tag ((CAST(tags->'$[*]' AS UNSIGNED ARRAY))),"
    " KEY unused (price) INVISIBLE, UNIQUE KEY `by;hash` ((CAST(SHA2(doc->>'$.name', 256) AS CHAR(64)))),"
    " CONSTRAINT `not``;now` CHECK (price > 0) NOT ENFORCED, CONSTRAINT named CHECK (CHAR_LENGTH(name) > 0))",
    "CREATE TABLE places (id INT PRIMARY KEY, p POINT NOT NULL SRID 4326, g GEOMETRY SRID 0, SPATIAL KEY (p))",
    "CREATE TABLE expressions (id BINARY(16) PRIMARY KEY DEFAULT (UUID_TO_BIN(UUID())), t TEXT DEFAULT ('it''s; \\\\'),"
    " d DATE DEFAULT (CURRENT_DATE + INTERVAL 1 YEAR), p POINT DEFAULT (POINT(1, 2)), j JSON DEFAULT ('{\"a\": 1.5}'))",
    "CREATE TABLE collations (a VARCHAR(20) COLLATE utf8mb4_0900_ai_ci, b VARCHAR(20) COLLATE utf8mb4_0900_as_cs,"
    " c VARCHAR(20) COLLATE utf8mb4_0900_bin, d VARCHAR(20) COLLATE utf8mb4_ja_0900_as_cs_ks,"
    " PRIMARY KEY (a DESC, b, c)) COLLATE utf8mb4_sv_0900_as_cs",
    "CREATE TABLE vectors (id INT PRIMARY KEY, v VECTOR(3) NOT NULL, w VECTOR)",
    "SET SESSION sql_generate_invisible_primary_key=1",
    "CREATE TABLE key_of_the_server (a INT, b TEXT)",
    "SET SESSION sql_generate_invisible_primary_key=0",
    "CREATE TABLE in_lists (id INT NOT NULL, land VARCHAR(2) NOT NULL, n INT, PRIMARY KEY (id, land))"
    " PARTITION BY LIST COLUMNS (land) SUBPARTITION BY KEY (id)"
    " (PARTITION p1 VALUES IN ('de', 'at') (SUBPARTITION a, SUBPARTITION `b;`),"
    " PARTITION p2 VALUES IN ('fr') COMMENT='it''s' (SUBPARTITION c, SUBPARTITION d))",
    "CREATE TABLE in_the_system_tablespace (id INT PRIMARY KEY) TABLESPACE innodb_system STATS_PERSISTENT=1",
    "CREATE TABLE growing (id INT PRIMARY KEY, n INT) AUTOEXTEND_SIZE=4194304",
    "CREATE TABLE zipped (id INT PRIMARY KEY, t TEXT) COMPRESSION='zlib'",
    "CREATE TABLE checked (a INT, b INT CHECK (b > 0), CHECK (a < b), PRIMARY KEY (a))",
]
ROWS = [
    "INSERT INTO products (doc, tags) SELECT JSON_OBJECT('price', seq, 'name', CONCAT('Name ', seq)),"
    f" JSON_ARRAY(seq, seq % 7) FROM {series(300)}",
    'INSERT INTO products (doc, tags) VALUES (\'{"name": "it\'\'s \\\\"quoted\\\\" \\\\\\\\ ü 🦊"}\', NULL),'
    ' (\'{"name": "n", "price": 2, "deep": [[[null, true, -1.5e-10, "\\\\u0000"]]]}\', DEFAULT)',
    "INSERT INTO places VALUES (1, ST_GeomFromText('POINT(52.5 13.4)', 4326), POINT(1, 2)),"
    " (2, ST_GeomFromText('POINT(-90 180)', 4326), NULL)",
    "INSERT INTO expressions () VALUES (), (), ()",
    "INSERT INTO collations VALUES ('ä', 'a', 'x ', 'か'), ('a', 'A', 'x', 'カ'), ('b', '', '', NULL)",
    "INSERT INTO vectors VALUES (1, STRING_TO_VECTOR('[1,-2.5,3e10]'), NULL),"
    " (2, X'0A0D1A275C220000000000FF', STRING_TO_VECTOR('[0.1]'))",
    "INSERT INTO key_of_the_server VALUES (3, 'c'), (1, 'a'), (3, 'c')",
    "DELETE FROM key_of_the_server WHERE a = 1",
    f"INSERT INTO in_lists SELECT seq, ELT(1 + seq % 3, 'de', 'at', 'fr'), seq FROM {series(200)}",
    "INSERT INTO in_the_system_tablespace VALUES (1), (2)",
    "INSERT INTO growing VALUES (1, 1)",
    "INSERT INTO zipped VALUES (1, REPEAT('x', 10000))",
    "INSERT INTO checked VALUES (1, 2)",
]
PROGRAMS = [
    # A collation of text on what is binary where the session's character set is binary.
    (
        "NAMES utf8mb4",
        "CREATE VIEW by_uuid AS SELECT CONCAT('a', BIN_TO_UUID(id)) COLLATE utf8mb4_general_ci AS u FROM expressions",
    ),
    ("NAMES utf8mb4", "CREATE VIEW b_view AS SELECT {schema}.shouted(v) AS t FROM texts"),
    ("NAMES utf8mb4", "CREATE VIEW a_view AS SELECT b.t AS c_view, shouted('`x`.`shouted`(') AS n FROM b_view b"),
    (
        "NAMES utf8mb4",
        "CREATE VIEW of_documents AS SELECT p.id, j.tag FROM products p,"
        " JSON_TABLE(p.tags, '$[*]' COLUMNS (tag INT PATH '$')) j WHERE 1 MEMBER OF (p.tags)",
    ),
    (
        "NAMES utf8mb4",
        "CREATE DEFINER=`a role`@`%` SQL SECURITY INVOKER VIEW windowed AS WITH RECURSIVE c AS"
        " (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 3) SELECT n, SUM(n) OVER (ORDER BY n) AS s FROM c",
    ),
    (
        "sql_mode='ANSI_QUOTES'",
        'CREATE DEFINER=`a role`@`%` PROCEDURE of_a_role () SQL SECURITY DEFINER SELECT "a" FROM "checked"',
    ),
    (
        "time_zone='-03:00'",
        "CREATE EVENT hourly ON SCHEDULE EVERY '1:30' HOUR_MINUTE STARTS '2037-01-01 00:00:00'"
        " ENDS '2037-12-31 00:00:00' DISABLE ON SLAVE COMMENT 'ü;' DO CALL of_a_role()",
    ),
]
