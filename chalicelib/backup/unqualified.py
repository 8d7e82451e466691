"""Definitions without the name of their own schema, so that they load into any other.

The server names the schema where it need not: before a stored function, before a sequence, and wherever a trigger's
author did. MariaDB also does so before each table and column of a view whose definer is gone, or that selects from
another schema.
"""

import re

from chalicelib.backup.quoting import quoted

_STRING = rb"'(?:[^'\\]|\\.|'')*+'"
_NAME = rb"`(?:[^`]|``)++`"


def unqualified(definition: bytes, schema: str) -> bytes:
    """Return a table's or a view's definition, as the server wrote it, without its schema's name.

    A name before a parenthesis is a function's, an argument of these three a sequence's, what follows FROM or JOIN a
    table's, and of three names the first is a schema's; elsewhere the same name may be a table's.
    """
    own = re.escape(quoted(schema)) + rb"\."
    of_function = own + rb"(?=" + _NAME + rb"\()"
    of_sequence = rb"(?P<call>\b(?:nextval|lastval|setval)\()" + own
    of_column = own + rb"(?=" + _NAME + rb"\.`)"
    of_table = rb"(?P<before>\b(?:from|(?:straight_)?join) \(*)" + own + rb"(?=" + _NAME + rb"(?!\.))"
    # What is kept comes last, whole, so that nothing is found within it.
    kept = rb"(?P<kept>" + _STRING + rb"|" + _NAME + rb")"
    pattern = b"|".join([of_function, of_sequence, of_column, of_table, kept])
    return re.sub(
        pattern, lambda found: found["kept"] or found["call"] or found["before"] or b"", definition, flags=re.DOTALL
    )


def unqualified_trigger(definition: bytes, schema: str, *, name: str, table: str) -> bytes:
    """Return a trigger's definition without its schema's name in its head, which is as its author wrote it."""
    own = rb"(?:" + _written(schema) + rb"\s*\.\s*)?"
    user = rb"(?:%b|\"(?:[^\"]|\"\")*+\")" % _NAME
    definer = rb"(?:DEFINER\s*=\s*%b@%b\s+)?" % (user, user)
    create = rb"\A(CREATE\s+(?:OR\s+REPLACE\s+)?" + definer + rb"TRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?)"
    moment = rb"(" + _written(name) + rb"\s*(?:BEFORE|AFTER)\s+[\w\s,]+?\s+ON\s*)"
    head = create + own + moment + own + rb"(?=" + _written(table) + rb")"
    return re.sub(head, rb"\1\2", definition, flags=re.IGNORECASE)


def _written(name: str) -> bytes:
    plain, octets = re.escape(name.encode()), name.encode()
    return rb"(?:%b|\"%b\"|%b)" % (re.escape(quoted(name)), re.escape(octets.replace(b'"', b'""')), plain)
