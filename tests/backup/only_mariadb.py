"""What a backup must bring back that MariaDB has and MySQL has not: the statements that make it."""

TABLES = [
    "CREATE TABLE addresses (u UUID PRIMARY KEY, i4 INET4, i6 INET6 NOT NULL)",
    "CREATE TABLE in_aria (n INT, KEY (n)) ENGINE=Aria",
    "CREATE TABLE versioned (id INT PRIMARY KEY, n INT) WITH SYSTEM VERSIONING",
    "CREATE SEQUENCE numbering START WITH 5 INCREMENT BY 3 CACHE 10",
    "CREATE SEQUENCE `down``;` START WITH -1 INCREMENT BY -1 MINVALUE -1000 MAXVALUE -1 NOCACHE CYCLE",
    "CREATE TABLE numbered (id BIGINT PRIMARY KEY DEFAULT (NEXTVAL(numbering)), t VARCHAR(40) DEFAULT"
    " 'nextval(`x`.`y`)')",
]
ROWS = [
    "INSERT INTO addresses VALUES ('123e4567-e89b-12d3-a456-426655440000', '255.0.39.92', '::ffff:192.168.0.1'),"
    " ('00000000-0000-0000-0000-000000000000', NULL, '2001:db8::ff00:42:8329'),"
    " ('ffffffff-ffff-ffff-ffff-ffffffffffff', '0.0.0.0', '::')",
    "INSERT INTO in_aria VALUES (3), (1), (NULL), (1)",
    "INSERT INTO versioned VALUES (1, 1), (2, 2)",
    "UPDATE versioned SET n = 3 WHERE id = 1",
    "INSERT INTO numbered (t) VALUES ('one'), ('two')",
    "DO NEXTVAL(`down``;`)",
]
PROGRAMS = [
    ("NAMES utf8mb4", "CREATE VIEW b_view AS SELECT NEXTVAL(numbering) AS n, {schema}.shouted(v) AS t FROM texts"),
    ("NAMES utf8mb4", "CREATE VIEW a_view AS SELECT b.n AS c_view, shouted('`x`.`shouted`(') AS n FROM b_view b"),
    ("sql_mode='ORACLE'", "CREATE PACKAGE parcel AS FUNCTION weight RETURN INT; END"),
    ("sql_mode='ORACLE'", "CREATE PACKAGE BODY parcel AS FUNCTION weight RETURN INT AS BEGIN RETURN 1; END; END"),
]
