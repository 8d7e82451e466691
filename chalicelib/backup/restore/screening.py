"""Screen the definitions of a backup: refuse what they may not do.

Only the owner can write an encrypted backup, so its definitions are trusted. Anyone who can write to the bucket could
have written an unencrypted one. Then tables, sequences and views may only use the functions and options listed here,
which cannot reach outside their schema, and programs, which run with their definer's rights, need an explicit request.

The server writes names in backticks, so a bare word before a parenthesis is SQL's own. The lists are the functions of
MySQL 9.7 and MariaDB 11.8 that only compute. They leave out functions that read files, wait, lock or call other systems
(LOAD_FILE, SLEEP, BENCHMARK, GET_LOCK, SETVAL, Aurora's LAMBDA_SYNC), and all loadable functions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from chalicelib.backup.restore.statements import RUNNING, Statement, Token
from chalicelib.core.errors import DamagedError, PermanentError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# With types and operators, which may stand before a parenthesis too.
FUNCTIONS = _words("""
    ABS ACOS ADDDATE ADDTIME ADD_MONTHS AES_DECRYPT AES_ENCRYPT AGAINST ALL AND ANY ANY_VALUE AREA AS ASBINARY ASCII
    ASIN ASTEXT ASWKB ASWKT ATAN ATAN2 AVG BETWEEN BIGINT BIN BINARY BIN_TO_UUID BIT BIT_AND BIT_COUNT BIT_LENGTH BIT_OR
    BIT_XOR BLOB BOUNDARY BUFFER BY BYTE CASE CAST CEIL CEILING CENTROID CHAR CHARACTER CHARACTER_LENGTH CHARSET
    CHAR_LENGTH CHR COALESCE COERCIBILITY COLLATION COLUMNS COLUMN_ADD COLUMN_CHECK COLUMN_CREATE COLUMN_DELETE
    COLUMN_EXISTS COLUMN_GET COLUMN_JSON COLUMN_LIST COMPRESS CONCAT CONCAT_OPERATOR_ORACLE CONCAT_WS CONNECTION_ID
    CONTAINS CONV CONVERT CONVERT_TZ CONVEXHULL COS COT COUNT CRC32 CRC32C CROSSES CUME_DIST CURDATE CURRENT_DATE
    CURRENT_ROLE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURTIME DATABASE DATE DATEDIFF DATETIME DATE_ADD
    DATE_FORMAT DATE_SUB DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DEC DECIMAL DECODE DECODE_ORACLE DEFAULT DEGREES
    DENSE_RANK DIMENSION DISJOINT DISTANCE DIV DOUBLE ELSE ELT ENCODE ENCRYPT ENDPOINT ENUM ENVELOPE EQUALS ESCAPE
    EXISTS EXP EXPORT_SET EXTERIORRING EXTRACT EXTRACTVALUE FIELD FIND_IN_SET FIRST_VALUE FIXED FLOAT FLOOR FORMAT
    FORMAT_BYTES FORMAT_PICO_TIME FOUND_ROWS FROM_BASE64 FROM_DAYS FROM_UNIXTIME FROM_VECTOR GEOMCOLLECTION
    GEOMETRYCOLLECTION GEOMETRYFROMTEXT GEOMETRYFROMWKB GEOMETRYN GEOMETRYTYPE GEOMFROMTEXT GEOMFROMWKB GET_FORMAT
    GLENGTH GREATEST GROUPING GROUP_CONCAT GTID_SUBSET GTID_SUBTRACT HEX HOUR IF IFNULL IN INET6_ATON INET6_NTOA
    INET_ATON INET_NTOA INSERT INSTR INT INT1 INT2 INT3 INT4 INT8 INTEGER INTERIORRINGN INTERSECTS INTERVAL IS ISCLOSED
    ISEMPTY ISNULL ISRING ISSIMPLE IS_IPV4 IS_IPV4_COMPAT IS_IPV4_MAPPED IS_IPV6 IS_UUID JSON_ARRAY JSON_ARRAYAGG
    JSON_ARRAY_APPEND JSON_ARRAY_INSERT JSON_ARRAY_INTERSECT JSON_COMPACT JSON_CONTAINS JSON_CONTAINS_PATH JSON_DEPTH
    JSON_DETAILED JSON_DUALITY_OBJECT JSON_EQUALS JSON_EXISTS JSON_EXTRACT JSON_INSERT JSON_KEYS JSON_KEY_VALUE
    JSON_LENGTH JSON_LOOSE JSON_MERGE JSON_MERGE_PATCH JSON_MERGE_PRESERVE JSON_NORMALIZE JSON_OBJECT JSON_OBJECTAGG
    JSON_OBJECT_FILTER_KEYS JSON_OBJECT_TO_ARRAY JSON_OVERLAPS JSON_PRETTY JSON_QUERY JSON_QUOTE JSON_REMOVE
    JSON_REPLACE JSON_SCHEMA_VALID JSON_SCHEMA_VALIDATION_REPORT JSON_SEARCH JSON_SET JSON_STORAGE_FREE
    JSON_STORAGE_SIZE JSON_TABLE JSON_TYPE JSON_UNQUOTE JSON_VALID JSON_VALUE KDF LAG LASTVAL LAST_DAY LAST_INSERT_ID
    LAST_VALUE LCASE LEAD LEAST LEFT LENGTH LENGTHB LIKE LINESTRING LN LOCALTIME LOCALTIMESTAMP LOCATE LOG LOG10 LOG2
    LONGBLOB LONGTEXT LOWER LPAD LPAD_ORACLE LTRIM LTRIM_ORACLE MAKEDATE MAKETIME MAKE_SET MATCH MAX MBRCONTAINS
    MBRCOVEREDBY MBRCOVERS MBRDISJOINT MBREQUAL MBREQUALS MBRINTERSECTS MBROVERLAPS MBRTOUCHES MBRWITHIN MD5 MEDIAN
    MEDIUMBLOB MEDIUMINT MEDIUMTEXT MICROSECOND MID MIN MINUTE MOD MONTH MONTHNAME MONTHS_BETWEEN MULTILINESTRING
    MULTIPOINT MULTIPOLYGON NAME_CONST NATURAL_SORT_KEY NCHAR NEXTVAL NOT NOW NTH_VALUE NTILE NULLIF NUMBER NUMERIC
    NUMGEOMETRIES NUMINTERIORRINGS NUMPOINTS NVARCHAR NVL NVL2 OCT OCTET_LENGTH OF OLD_PASSWORD ON OR ORD OVER OVERLAPS
    PASSWORD PERCENTILE_CONT PERCENTILE_DISC PERCENT_RANK PERIOD_ADD PERIOD_DIFF PI POINT POINTFROMTEXT POINTN
    POINTONSURFACE POLYGON POSITION POW POWER PRECISION QUARTER QUOTE RADIANS RAND RANDOM_BYTES RANK RAW REAL REGEXP
    REGEXP_INSTR REGEXP_LIKE REGEXP_REPLACE REGEXP_SUBSTR REPEAT REPLACE REPLACE_ORACLE REVERSE RIGHT RLIKE ROUND ROW
    ROW_COUNT ROW_NUMBER RPAD RPAD_ORACLE RTRIM RTRIM_ORACLE SCHEMA SECOND SEC_TO_TIME SESSION_USER SET SFORMAT SHA SHA1
    SHA2 SIGN SIN SMALLINT SOME SOUNDEX SPACE SQRT SRID STARTPOINT STATEMENT_DIGEST STATEMENT_DIGEST_TEXT STD STDDEV
    STDDEV_POP STDDEV_SAMP STRCMP STRING_TO_VECTOR STR_TO_DATE ST_AREA ST_ASBINARY ST_ASGEOJSON ST_ASTEXT ST_ASWKB
    ST_ASWKT ST_BOUNDARY ST_BUFFER ST_BUFFER_STRATEGY ST_CENTROID ST_COLLECT ST_CONTAINS ST_CONVEXHULL ST_CROSSES
    ST_DIFFERENCE ST_DIMENSION ST_DISJOINT ST_DISTANCE ST_DISTANCE_SPHERE ST_ENDPOINT ST_ENVELOPE ST_EQUALS
    ST_EXTERIORRING ST_FRECHETDISTANCE ST_GEOHASH ST_GEOMCOLLFROMTEXT ST_GEOMCOLLFROMTXT ST_GEOMCOLLFROMWKB
    ST_GEOMETRYCOLLECTIONFROMTEXT ST_GEOMETRYCOLLECTIONFROMWKB ST_GEOMETRYFROMTEXT ST_GEOMETRYFROMWKB ST_GEOMETRYN
    ST_GEOMETRYTYPE ST_GEOMFROMGEOJSON ST_GEOMFROMTEXT ST_GEOMFROMWKB ST_HAUSDORFFDISTANCE ST_INTERIORRINGN
    ST_INTERSECTION ST_INTERSECTS ST_ISCLOSED ST_ISEMPTY ST_ISRING ST_ISSIMPLE ST_ISVALID ST_LATFROMGEOHASH ST_LATITUDE
    ST_LENGTH ST_LINEFROMTEXT ST_LINEFROMWKB ST_LINEINTERPOLATEPOINT ST_LINEINTERPOLATEPOINTS ST_LINESTRINGFROMTEXT
    ST_LINESTRINGFROMWKB ST_LONGFROMGEOHASH ST_LONGITUDE ST_MAKEENVELOPE ST_MLINEFROMTEXT ST_MLINEFROMWKB
    ST_MPOINTFROMTEXT ST_MPOINTFROMWKB ST_MPOLYFROMTEXT ST_MPOLYFROMWKB ST_MULTILINESTRINGFROMTEXT
    ST_MULTILINESTRINGFROMWKB ST_MULTIPOINTFROMTEXT ST_MULTIPOINTFROMWKB ST_MULTIPOLYGONFROMTEXT ST_MULTIPOLYGONFROMWKB
    ST_NUMGEOMETRIES ST_NUMINTERIORRING ST_NUMINTERIORRINGS ST_NUMPOINTS ST_OVERLAPS ST_POINTATDISTANCE
    ST_POINTFROMGEOHASH ST_POINTFROMTEXT ST_POINTFROMWKB ST_POINTN ST_POINTONSURFACE ST_POLYFROMTEXT ST_POLYFROMWKB
    ST_POLYGONFROMTEXT ST_POLYGONFROMWKB ST_RELATE ST_SIMPLIFY ST_SRID ST_STARTPOINT ST_SWAPXY ST_SYMDIFFERENCE
    ST_TOUCHES ST_TRANSFORM ST_UNION ST_VALIDATE ST_WITHIN ST_X ST_Y SUBDATE SUBSTR SUBSTRING SUBSTRING_INDEX
    SUBSTR_ORACLE SUBTIME SUM SYSDATE SYSTEM_USER SYS_GUID TAN TEXT THEN TIME TIMEDIFF TIMESTAMP TIMESTAMPADD
    TIMESTAMPDIFF TIME_FORMAT TIME_TO_SEC TINYBLOB TINYINT TINYTEXT TOUCHES TO_BASE64 TO_CHAR TO_DATE TO_DAYS TO_NUMBER
    TO_SECONDS TO_VECTOR TRIM TRIM_ORACLE TRUNC TRUNCATE UCASE UNCOMPRESS UNCOMPRESSED_LENGTH UNHEX UNIX_TIMESTAMP
    UPDATEXML UPPER USER USING UTC_DATE UTC_TIME UTC_TIMESTAMP UUID UUID_SHORT UUID_TO_BIN UUID_V4 UUID_V7 VALUE VALUES
    VARBINARY VARCHAR VARCHAR2 VARIANCE VARYING VAR_POP VAR_SAMP VECTOR VECTOR_DIM VECTOR_DISTANCE VECTOR_TO_STRING
    VEC_DISTANCE VEC_DISTANCE_COSINE VEC_DISTANCE_EUCLIDEAN VEC_FROMTEXT VEC_TOTEXT VERSION WEEK WEEKDAY WEEKOFYEAR
    WEIGHT_STRING WHEN WITHIN X XOR Y YEAR YEARWEEK
""")
# Other words before a parenthesis, in tables and in views.
OF_TABLES = _words("ARRAY CHECK HASH INDEX KEY LIST MAXVALUE RANGE SYSTEM_TIME THAN AUTO")
OF_VIEWS = _words("""
    DISTINCT EXCEPT FROM GROUP HAVING INDEX INTERSECT JOIN KEY LATERAL MATERIALIZED PARTITION SELECT STRAIGHT_JOIN UNION
    WHERE WITH
""")
# Options after a table's columns or a sequence's name. Not CONNECTION, DATA DIRECTORY or SELECT.
OPTIONS = _words("""
    ALGORITHM AUTO AUTOEXTEND_SIZE AUTO_INCREMENT AVG_ROW_LENGTH BY CACHE CHARACTER CHARSET CHECKSUM COLLATE COLUMNS
    COMMENT COMPRESSION CURRENT CYCLE DEFAULT DELAY_KEY_WRITE ENCRYPTED ENCRYPTION ENCRYPTION_KEY_ID ENGINE EVERY HASH
    HISTORY IN INCREMENT INSERT_METHOD INTERVAL KEY KEY_BLOCK_SIZE LESS LIMIT LINEAR LIST MAXVALUE MAX_ROWS
    MINVALUE MIN_ROWS NO NOCACHE NOCYCLE NOMAXVALUE NOMINVALUE NULL PACK_KEYS PAGE_CHECKSUM PAGE_COMPRESSED
    PAGE_COMPRESSION_LEVEL PARTITION PARTITIONS RANGE ROW_FORMAT SEQUENCE SET START STARTS STATS_AUTO_RECALC
    STATS_PERSISTENT STATS_SAMPLE_PAGES STORAGE SUBPARTITION SUBPARTITIONS SYSTEM SYSTEM_TIME TABLESPACE THAN TO
    TRANSACTIONAL UNION UNSIGNED VALUES VERSIONING WITH
""")
# Engines that store rows in the server. Others may read rows from anywhere.
ENGINES = _words("""
    ARCHIVE ARIA BLACKHOLE COLUMNSTORE CSV INNODB MEMORY MERGE MROONGA MRG_MYISAM MYISAM NDB NDBCLUSTER ROCKSDB
""")


# Limits memory. A table of 4,096 columns and 8,192 partitions has half as many.
MAX_TOKENS = 500_000
_SIGNS = frozenset("(),.=<>+-*/%&|^~!:@")
_PLACED_BY = {"TABLE", "KEY", "INDEX", "REFERENCES", "FOR", "PARTITION", "SEQUENCE"}
_ENDS_FROM = {"SELECT", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "WINDOW", "UNION", "EXCEPT", "INTERSECT", "MINUS"}
_OF_SEQUENCES = {"NEXTVAL", "LASTVAL", "SETVAL"}
# Before the first and after the last token.
_NOTHING = Token("space", "")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What definitions may do.

    `is_trusted` is whether the backup's author is known. `is_foreign` returns whether definitions may not refer to a
    schema. `may_refer` allows foreign keys to refer to it.
    """

    is_trusted: bool
    is_foreign: Callable[[str], bool]
    may_refer: bool = False


def screen(statements: Iterable[Statement], limits: Limits) -> None:
    """Raise PermanentError for a definition that violates the limits."""
    for statement in statements:
        name = f"the {statement.kind.lower()} {statement.name.decode(errors='replace')} of the backup"
        try:
            tokens = list(islice(statement.tokens(), MAX_TOKENS + 1))
            if len(tokens) > MAX_TOKENS:
                raise DamagedError(f"has more than {MAX_TOKENS:,} words and signs")
            code = [token for token in tokens if token.kind != "comment"]
            unsafe = next(_unsafe(statement.kind, tokens), None) if not limits.is_trusted else None
            foreign = next(_foreign(statement.kind, code, limits), None)
        except DamagedError as error:
            unsafe, foreign = str(error), None
        if unsafe is not None:
            raise PermanentError(
                f"{name} {unsafe}, which an unencrypted backup may not do, because anyone who can write to the bucket "
                "could have made it; if you trust it, repeat with --programs"
            )
        if foreign is not None:
            raise PermanentError(
                f"{name} {foreign}, outside of the schema that it is restored into; to allow that, repeat with "
                "--allow-cross-schema"
            )


def _unsafe(kind: str, tokens: Sequence[Token]) -> Iterator[str]:
    if kind in RUNNING:
        yield "runs"
    elif kind in {"TABLE", "SEQUENCE", "VIEW"}:
        yield from _unsafe_text(kind, tokens)
        yield from _unsafe_calls(kind, tokens)
        yield from _unsafe_query(tokens) if kind == "VIEW" else _unsafe_options(kind, tokens)


def _unsafe_text(kind: str, tokens: Sequence[Token]) -> Iterator[str]:
    """Find what the server itself never writes, and what servers parse differently."""
    depth, depth_outside, is_within = 0, 0, False
    for n, token in enumerate(tokens):
        if token.kind == "comment" or (token.kind == "mark" and kind == "VIEW"):
            yield "has a comment"
        elif token.kind == "sign" and token.text not in _SIGNS:
            yield f"has the sign {token.text!r}"
        elif token.text.startswith('"'):
            yield "has a text in double quotes"
        elif token.kind == "mark":
            # Some servers execute the text inside, others skip it. Neither may see another call, name or option.
            after = tokens[n + 1] if n + 1 < len(tokens) else _NOTHING
            if after.text in {"(", ".", "="} or tokens[n - 1].text in {".", "="} or tokens[n - 1].word == "ENGINE":
                yield "has a comment within an expression"
            is_within = not is_within
            if not is_within and depth != depth_outside:
                yield "has an unbalanced parenthesis in a comment"
            depth_outside = depth
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth < 0 or (is_within and depth < depth_outside):
            yield "has an unbalanced parenthesis"
    if depth or is_within:
        yield "has an unclosed parenthesis or comment"


def _unsafe_calls(kind: str, tokens: Sequence[Token]) -> Iterator[str]:
    """Find calls of functions that are not on the list."""
    allowed = FUNCTIONS | (OF_VIEWS if kind == "VIEW" else OF_TABLES)
    # Whether each open parenthesis is a key's, in which a column may have a length.
    keys: list[bool] = []
    for n, token in enumerate(tokens):
        if token.text == ")" and keys:
            keys.pop()
        if token.text != "(":
            continue
        before, called = tokens[n - 2] if n > 1 else _NOTHING, tokens[n - 1]
        if kind == "VIEW" and called.name is not None and _names_columns(tokens, n):
            is_known = True
        elif called.kind == "word":
            is_known = (called.word in allowed or called.text.isdigit()) and before.text != "."
        elif kind == "VIEW":
            is_known = called.kind != "name" or before.word == "VIEW"
        else:
            is_known = called.kind != "name" or before.word in _PLACED_BY or (any(keys[-1:]) and _is_length(tokens, n))
        if not is_known:
            yield f"calls {called.text}"
        keys.append(called.word == "KEY" or (called.kind == "name" and before.word in {"KEY", "INDEX"}))


def _is_length(tokens: Sequence[Token], at: int) -> bool:
    return len(tokens) > at + 2 and tokens[at + 1].text.isdigit() and tokens[at + 2].text == ")"


def _names_columns(tokens: Sequence[Token], at: int) -> bool:
    """Return whether the parenthesis lists the columns of a common table expression."""
    end = next((n for n in range(at, len(tokens)) if tokens[n].text == ")"), len(tokens))
    is_list = all(token.name is not None or token.text == "," for token in tokens[at + 1 : end])
    return is_list and [token.text.upper() for token in tokens[end + 1 : end + 3]] == ["AS", "("]


def _unsafe_options(kind: str, tokens: Sequence[Token]) -> Iterator[str]:
    """Find options after a table's columns or a sequence's name, and engines, that are not on the lists."""
    # A partition's expression may have a column without backticks.
    options_within: list[bool] = []
    is_behind = kind == "SEQUENCE"
    for n, token in enumerate(tokens):
        before, earlier = tokens[n - 1] if n else _NOTHING, tokens[n - 2] if n > 1 else _NOTHING
        if before.word == "ENGINE" or (before.text == "=" and earlier.word == "ENGINE"):
            if token.text != "=" and token.text.upper() not in ENGINES:
                yield f"has the engine {token.text}"
        elif token.word == "SELECT":
            yield "has a query"
        elif is_behind and all(options_within) and n > 2 and token.word and before.text != "=":
            names_anything = before.word in {"PARTITION", "SUBPARTITION", "CHARSET", "COLLATE", "SET", "AS"}
            is_literal = token.text.startswith("_") or token.text[0].isdigit()
            if not (names_anything or is_literal or token.word in OPTIONS | FUNCTIONS):
                yield f"has the option {token.text}"
        if token.text == "(":
            options_within.append(tokens[n + 1].word in {"PARTITION", "SUBPARTITION"})
        elif token.text == ")":
            options_within.pop()
            is_behind = is_behind or not options_within


def _unsafe_query(tokens: Sequence[Token]) -> Iterator[str]:
    if any(token.word == "INTO" for token in tokens):
        yield "writes what it reads to a file or a variable"


def _foreign(kind: str, code: Sequence[Token], limits: Limits) -> Iterator[str]:
    """Find names of schemas that may not be used."""
    schemas = _schemas_of_view(code) if kind == "VIEW" else _schemas_anywhere(code)
    for schema, before in schemas:
        if limits.is_foreign(schema) and not (limits.may_refer and before.word == "REFERENCES"):
            yield f"names the schema {schema}"


def _schemas_anywhere(code: Sequence[Token]) -> Iterator[tuple[str, Token]]:
    """Yield each name before a dot that may be a schema's, and the token before it."""
    for n, token in enumerate(code):
        if token.text != "." or not n:
            continue
        # Between a name and its dot, some servers execute a comment that others skip.
        if "mark" in {near.kind for near in code[n - 1 : n + 2]}:
            raise DamagedError("has a comment within a name")
        name, before = code[n - 1].name, code[n - 2] if n > 1 else _NOTHING
        # Before the dot of a variable is its scope.
        if name and not name.isdigit() and before.text not in {".", "@"}:
            yield name, before


def _schemas_of_view(code: Sequence[Token]) -> Iterator[tuple[str, Token]]:
    """Yield each schema's name before a table, a sequence or a function, and the token before it.

    The name before a column is a table's or an alias.
    """
    # For each open parenthesis: whether it has a SELECT, so that FROM is not a function's, and whether it lists tables.
    selects, lists = [False], [False]
    is_table = False
    for n, token in enumerate(code):
        before, after = code[n - 1] if n else _NOTHING, code[n + 1] if n + 1 < len(code) else _NOTHING
        is_qualified = token.name is not None and after.text == "." and before.text != "."
        if is_qualified and (is_table or (n + 3 < len(code) and code[n + 3].text == "(")):
            yield token.name or "", before
        if token.text == "(":
            selects.append(False)
            lists.append(is_table)
            is_table = is_table or before.word in _OF_SEQUENCES
        elif token.text == ")":
            selects, lists, is_table = selects[:-1] or [False], lists[:-1] or [False], False
        elif token.text == ",":
            is_table = lists[-1]
        elif token.word in _ENDS_FROM:
            selects[-1] = selects[-1] or token.word == "SELECT"
            lists[-1] = is_table = False
        elif token.word == "FROM" and selects[-1]:
            lists[-1] = is_table = True
        else:
            is_table = token.word in {"JOIN", "STRAIGHT_JOIN", "TABLE"} or (
                token.word == "FOR" and before.word == "VALUE"
            )
