"""Every type, character, name and program that a backup must bring back: the statements that make them.

What only one server has stands in `only_mysql` and `only_mariadb`.
"""

from tests.servers import series

EVERY_BYTE = bytes(range(256))
# In rows of 4,096; surrogates are no characters.
CHARACTERS = {
    first: "".join(chr(code) for code in range(first, first + 4096) if not 0xD800 <= code < 0xE000)
    for first in range(0, 0x110000, 4096)
}
# What a careless reader takes for the end of a value, a row, a packet, a statement or a section.
TRAPS = [
    *("", " ", "'", "\\", "\\'", "''", '"', "`", ";", "NULL", "\\N", "\0", "\x1a", "\r\n", "\n", "\r", "--", "/*", "#"),
    "),\n(1,'x');\nDROP TABLE country;\n",
    "',\x1a\x05\0\0\0\n",
    "\x1aLONG",
    "DELIMITER $$\n$$\n",
    "trailing spaces   ",
    "\\0\\n\\r\\Z\\\\\\'",
    "🦊 ünïcödé",
]
HOSTILE_TABLE = "a`b'c\"d;e\\f\ng -- h/* i */.$$ DELIMITER #ü"
HOSTILE_COLUMNS = ["select", "`", "a`,`b", "') VALUES\n(1); --", '"', "\\", " x", "$$", "ÿ漢", "%s", "{0}", "a\nb"]
HOSTILE = "x`\n;'\"\\"

TABLES = [
    "CREATE TABLE numbers (id INT PRIMARY KEY, t TINYINT, tu TINYINT UNSIGNED, s SMALLINT, m MEDIUMINT UNSIGNED, i INT,"
    " z INT(8) ZEROFILL, b BIGINT, bu BIGINT UNSIGNED NOT NULL, d DECIMAL(65,30), dd DECIMAL(65,0), n"
    " NUMERIC(5,2) NOT NULL,"
    " f FLOAT, ff FLOAT(10,2), fz FLOAT ZEROFILL NOT NULL, g DOUBLE, gg DOUBLE(20,5) NOT NULL, y YEAR, yn YEAR"
    " NOT NULL,"
    " b1 BIT(1), b10 BIT(10), b64 BIT(64) NOT NULL, o BOOLEAN)",
    "CREATE TABLE moments (id INT PRIMARY KEY, d DATE, dn DATE NOT NULL, t TIME, t6 TIME(6) NOT NULL, dt DATETIME,"
    " dt6 DATETIME(6) NOT NULL, ts TIMESTAMP NULL, ts6 TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)"
    " ON UPDATE CURRENT_TIMESTAMP(6))",
    "CREATE TABLE texts (id INT PRIMARY KEY, c CHAR(60), v VARCHAR(200), tt TINYTEXT, t TEXT, mt MEDIUMTEXT, lt"
    " LONGTEXT,"
    " e ENUM('', 'a', 'it''s', ',', 'ü') NOT NULL, s SET('a', 'it''s', '\\\\', 'ü'))",
    "CREATE TABLE blobs (id INT PRIMARY KEY, b BINARY(16), vb VARBINARY(300), tb TINYBLOB, bb BLOB, mb MEDIUMBLOB,"
    " lb LONGBLOB NOT NULL)",
    "CREATE TABLE characters (first INT PRIMARY KEY, all_of_them TEXT CHARACTER SET utf8mb4)",
    "CREATE TABLE documents (id INT PRIMARY KEY, j JSON, jn JSON NOT NULL)",
    "CREATE TABLE shapes (id INT PRIMARY KEY, g GEOMETRY, p POINT NOT NULL, l LINESTRING, o POLYGON, mp MULTIPOINT,"
    " ml MULTILINESTRING, mo MULTIPOLYGON, gc GEOMETRYCOLLECTION, SPATIAL KEY (p))",
    "CREATE TABLE `generated` (a INT, v INT AS (a * 2) VIRTUAL, `s;` VARCHAR(20) AS (CONCAT(a, 'x')) STORED, b INT,"
    " PRIMARY KEY (b), KEY (v))",
    "CREATE TABLE unseen (id INT PRIMARY KEY, seen INT, hidden VARCHAR(10) INVISIBLE DEFAULT 'x',"
    " defaulted VARCHAR(40) DEFAULT (CONCAT('it''s ', id)) COMMENT 'it''s;\\r\\n`$$` a \\\\ comment')"
    " COMMENT='line 1\\r\\nline 2; ''quoted'''",
    "CREATE TABLE defaults (c VARCHAR(9) CHARACTER SET latin1 DEFAULT 'ü', b BINARY(4) DEFAULT '\\0\\r\\n', f FLOAT"
    " DEFAULT 0.1, d DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3), i BIT(4) DEFAULT b'101', z DATE DEFAULT '0000-00-00',"
    " e ENUM('ü', 'é') CHARACTER SET utf16le DEFAULT 'é' COMMENT 'ü') COMMENT='漢'",
    "CREATE TABLE keyless (a INT, b VARCHAR(20), f FLOAT)",
    "CREATE TABLE unique_only (a INT NOT NULL, b VARCHAR(20) NOT NULL, c INT, UNIQUE KEY (c), UNIQUE KEY (b, a))",
    "CREATE TABLE prefix_key (a VARCHAR(100) NOT NULL, b TEXT, PRIMARY KEY (a(5)), UNIQUE KEY (b(20)))",
    "CREATE TABLE collated_key (name VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci, n INT,"
    " PRIMARY KEY (name DESC, n))",
    "CREATE TABLE binary_key (id BINARY(16) PRIMARY KEY, n INT) ROW_FORMAT=COMPRESSED",
    "CREATE TABLE from_zero (id INT PRIMARY KEY AUTO_INCREMENT, n INT) AUTO_INCREMENT=1000",
    "CREATE TABLE empty_one (id INT PRIMARY KEY AUTO_INCREMENT, a INT)",
    "CREATE TABLE in_partitions (id INT NOT NULL, at DATE NOT NULL, n INT, PRIMARY KEY (id, at))"
    " PARTITION BY RANGE (YEAR(at)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2"
    " (PARTITION `p;1` VALUES LESS THAN (2000), PARTITION p2 VALUES LESS THAN MAXVALUE)",
    "CREATE TABLE not_transactional (id INT PRIMARY KEY, n INT) ENGINE=MyISAM CHECKSUM=1",
    "CREATE TABLE in_memory (id INT PRIMARY KEY, n INT) ENGINE=MEMORY",
    "CREATE TABLE merged (id INT NOT NULL, n INT, KEY (id)) ENGINE=MERGE UNION=(not_transactional)",
]

ROWS = [
    "INSERT INTO numbers VALUES"
    " (1, -128, 255, -32768, 16777215, -2147483648, 42, -9223372036854775808, 18446744073709551615,"
    " 12345678901234567890123456789012345.123456789012345678901234567890, -99999999999999999999999999999999999999999999"
    "999999999999999999999, 999.99, 3.4028234e38, 0.1, 1.5, 1.7976931348623157e308, 0.1, 1901, 2155, b'1',"
    " b'1111111111',"
    " 0xFFFFFFFFFFFFFFFF, TRUE),"
    " (0, 127, 0, 32767, 0, 2147483647, 0, 9223372036854775807, 0, -0.000000000000000000000000000001, 0, -0.01,"
    " 1.17549435e-38, -12345.67, 0, 2.2250738585072014e-308, -0.33333, 0, 0, b'0', b'0', 0, FALSE),"
    " (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, NULL, NULL, 0, NULL, NULL, 16777217, NULL, 1e14, NULL,"
    " 2026, NULL,"
    " NULL, 0x000A0D1A275C2200, NULL)",
    # Digits that the server does not show of a FLOAT unless asked as a DOUBLE.
    "INSERT INTO numbers (id, bu, n, f, fz, g, gg, yn, b64) SELECT seq, 0, 0, seq / 7, seq * 1234567.891, 1 /"
    f" seq, seq / 3, 2000, seq * 2654435761 FROM {series(400)} WHERE seq >= 10",
    "INSERT INTO moments VALUES"
    " (1, '0000-00-00', '0000-00-00', '-838:59:59', '838:59:59.999999', '0000-00-00 00:00:00',"
    " '9999-12-31 23:59:59.999999', '1970-01-01 00:00:01', '2038-01-19 03:14:07.999999'),"
    " (2, '2020-00-00', '2020-02-00', '100:00:00', '-00:00:00.000001', '2020-00-00 12:00:00', '1000-01-01"
    " 00:00:00.000001',"
    " '0000-00-00 00:00:00', '0000-00-00 00:00:00'),"
    # An hour that there is twice in many a zone.
    " (3, NULL, '9999-12-31', NULL, '00:00:00', NULL, '2026-10-25 02:30:00', NULL, '2026-10-25 01:30:00')",
    "INSERT INTO documents VALUES (1, '{\"a\": \"it''s \\\\\"quoted\\\\\" \\\\\\\\ \\\\n \\\\u0000 🦊\"}', '[]'),"
    ' (2, NULL, \'null\'), (3, \'{"big": 123456789012345678901234567890.5, "a": 1, "a": 2}\', \'"\\\\r\\\\n"\')',
    "INSERT INTO shapes VALUES (1, ST_GeomFromText('POINT(1 2)', 4326), POINT(0.1, -1e300), NULL, NULL, NULL,"
    " NULL, NULL, NULL),"
    " (2, ST_GeomFromText('LINESTRING(0 0,1 1)'), POINT(10, 13), ST_GeomFromText('LINESTRING(0 0,9 9,3 3)', 3857),"
    " ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 10,0 0),(5 5,7 5,7 7,5 7,5 5))'), ST_GeomFromText('MULTIPOINT(0"
    " 0,20 20)'),"
    " ST_GeomFromText('MULTILINESTRING((10 48,10 21),(16 0,16 23,16 48))'),"
    " ST_GeomFromText('MULTIPOLYGON(((28 26,28 0,84 0,84 42,28 26),(52 18,66 23,73 9,48 6,52 18)))'),"
    " ST_GeomFromText('GEOMETRYCOLLECTION(POINT(0 0),LINESTRING(0 0,10 10))'))",
    "INSERT INTO `generated` (a, b) VALUES (1, 1), (NULL, 2), (-3, 3)",
    "INSERT INTO unseen (id, seen, hidden) VALUES (1, 1, NULL), (2, NULL, 'shown'), (3, 3, DEFAULT)",
    "INSERT INTO defaults () VALUES (), ()",
    f"INSERT INTO keyless SELECT seq % 7, IF(seq % 5, CONCAT('b', seq % 3), NULL), seq % 4 / 3 FROM {series(200)}",
    "INSERT INTO unique_only VALUES (2, 'b', NULL), (1, 'b', NULL), (3, 'a', 7)",
    "INSERT INTO prefix_key VALUES ('bbbbb and more', 'x'), ('aaaaa', NULL), ('AB', REPEAT('y', 3000))",
    "INSERT INTO collated_key VALUES ('ä', 1), ('b', 1), ('Ä', 2), ('', 0), ('ß', 1), ('z', -1)",
    f"INSERT INTO binary_key SELECT UNHEX(LEFT(SHA2(seq, 256), 32)), seq FROM {series(300)}",
    "INSERT INTO from_zero VALUES (0, 1), (-5, 2), (7, 3)",
    f"INSERT INTO in_partitions SELECT seq, '1990-01-01' + INTERVAL seq MONTH, seq FROM {series(300)}",
    f"INSERT INTO not_transactional SELECT seq, 1000 - seq FROM {series(50)}",
    "DELETE FROM not_transactional WHERE id % 7 = 0",
    "INSERT INTO not_transactional VALUES (1000, 0), (7, 1)",
    "INSERT INTO in_memory VALUES (2, 1), (1, 2)",
]
# By character set, an encoding of Python's of the same characters or most of them.
CHARSETS = {
    "ascii": "ascii",
    "latin1": "cp1252",
    "latin2": "iso8859-2",
    "cp1251": "cp1251",
    "koi8r": "koi8-r",
    "utf8mb3": "utf-8",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    # Of these, the second byte of a character may be a backslash or a quote.
    "sjis": "shift_jis",
    "cp932": "cp932",
    "gbk": "gbk",
    "big5": "big5",
    "gb2312": "gb2312",
    "euckr": "euc_kr",
    "ujis": "euc_jp",
    "eucjpms": "euc_jp",
    "binary": "utf-8",
}

# Settings of a session, and what is created under them.
PROGRAMS = [
    (
        "sql_mode='ANSI_QUOTES,PIPES_AS_CONCAT'",
        "CREATE TRIGGER {schema}.from_zero_inserted BEFORE INSERT\nON `{schema}` . from_zero\nFOR EACH ROW"
        ' SET @said = \'a\' || "NEW"."n"',
    ),
    ("sql_mode=''", "CREATE TRIGGER {hostile} AFTER UPDATE ON {hostile_table} FOR EACH ROW BEGIN SET @a = ';'; END"),
    (
        "sql_mode='NO_BACKSLASH_ESCAPES'",
        "CREATE PROCEDURE {hostile} (INOUT {hostile} TEXT) BEGIN SET {hostile} = CONCAT({hostile}, '\\', '$$',"
        ' "\'"); END',
    ),
    (
        "sql_mode='STRICT_ALL_TABLES,NO_ZERO_DATE'",
        "CREATE PROCEDURE strict () SELECT CAST('$$$' AS DATE), 'DELIMITER ;\n//'",
    ),
    (
        "sql_mode=''",
        "CREATE FUNCTION shouted (t TEXT) RETURNS TEXT CHARACTER SET utf8mb4 DETERMINISTIC RETURN CONCAT(t, '🦊!')",
    ),
    ("NAMES latin1", "CREATE FUNCTION latin (t TEXT) RETURNS TEXT DETERMINISTIC RETURN CONCAT(t, 'é ü')"),
    ("NAMES latin1", "CREATE VIEW `in latin ü` AS SELECT id AS `é`, CONCAT(v, 'ü') AS v FROM texts WHERE v <> 'é'"),
    ("NAMES latin1", "CREATE VIEW `ähnlich` AS SELECT `é` FROM `in latin ü`"),
    ("NAMES latin1", "CREATE VIEW `after ähnlich` AS SELECT `é` FROM `ähnlich`"),
    ("NAMES sjis", "CREATE FUNCTION japanese () RETURNS TEXT DETERMINISTIC RETURN '日本'"),
    ("NAMES utf8mb4", 'CREATE VIEW {hostile} AS SELECT `select`, `a``,``b`, `"` AS {hostile} FROM {hostile_table}'),
    # Each of these names the other's name, and neither needs it first.
    ("NAMES utf8mb4", "CREATE VIEW c_view AS SELECT id AS d_view, 'x' AS b FROM texts"),
    ("NAMES utf8mb4", "CREATE VIEW d_view AS SELECT c.d_view AS c_view FROM c_view c"),
    (
        "time_zone='+05:30'",
        "CREATE EVENT {hostile} ON SCHEDULE AT '2037-01-01 03:00:00' ON COMPLETION PRESERVE DISABLE DO SET @at = ';'",
    ),
]
# What the plain client takes out unless it is told otherwise, comments and CR, or takes for a backslash.
UNPLAIN_PROGRAMS = [
    ("NAMES sjis", "CREATE FUNCTION hard_japanese () RETURNS TEXT DETERMINISTIC RETURN '能表ソ'"),
    ("NAMES utf8mb4", "CREATE PROCEDURE commented () BEGIN\n  -- it's; one\n  SELECT /* it's two */ 1; # three\nEND"),
    ("NAMES utf8mb4", "CREATE PROCEDURE of_windows ()\r\nBEGIN\r\n  SELECT 'a\r\nb';\r\nEND"),
]
OTHER_COLLATION = "CREATE FUNCTION older (t VARCHAR(10)) RETURNS VARCHAR(10) DETERMINISTIC RETURN t"
