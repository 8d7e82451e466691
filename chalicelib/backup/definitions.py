"""The text that defines a schema: its tables before any row, its programs after all of them."""

from collections.abc import Collection, Iterable

from chalicelib.backup.programs import Program
from chalicelib.backup.quoting import literal, quoted
from chalicelib.backup.tables import Sequence, Table

# What each part begins with, so that each loads by itself. Definitions are in UTF-8, as the server keeps them; values
# are the bytes that their columns keep. No row is refused, and no value made up.
_MODE = b"sql_mode='NO_AUTO_VALUE_ON_ZERO',time_zone='+00:00'"
_HEADER = b"SET NAMES utf8mb4;\nSET SESSION " + _MODE + b",foreign_key_checks=0,unique_checks=0;\n"
ROWS_HEADER = _HEADER.replace(b"utf8mb4", b"binary")


def define_tables(sequences: Iterable[Sequence], tables: Iterable[Table]) -> bytes:
    """Return the text that makes tables. Their foreign keys may refer to later ones, their defaults to sequences."""
    statements = []
    for sequence in sequences:
        statements += [sequence.definition, b"DO SETVAL(%b,%d,0)" % (quoted(sequence.name), sequence.next)]
    return _text(statements + [table.definition for table in tables])


def define_programs(programs: Iterable[Program], *, collation: str) -> bytes:
    """Return the text that makes programs, in this order.

    `collation` is the schema's own; a program keeps that of the time when it was made.
    """
    statements, now = [], collation
    for program in programs:
        if (program.schema_collation or collation) != now:
            now = program.schema_collation or collation
            statements.append(b"ALTER DATABASE COLLATE " + now.encode())
        statements += [_settings(program), program.definition]
    if now != collation:
        statements.append(b"ALTER DATABASE COLLATE " + collation.encode())
    return _text([*statements, b"SET NAMES utf8mb4", b"SET SESSION " + _MODE])


def _settings(program: Program) -> bytes:
    settings = {"character_set_client": program.charset, "collation_connection": program.collation}
    settings |= {"sql_mode": program.sql_mode or "", "time_zone": program.time_zone or "+00:00"}
    return b"SET SESSION " + b",".join(b"%b=%b" % (k.encode(), literal(v.encode())) for k, v in settings.items())


def _text(statements: Collection[bytes]) -> bytes:
    delimiter = b"$$"
    while any(delimiter in statement for statement in statements):
        delimiter += b"$"
    end = b"\n" + delimiter + b"\n"
    return _HEADER + b"DELIMITER " + delimiter + b"\n" + b"".join(s + end for s in statements) + b"DELIMITER ;\n"
