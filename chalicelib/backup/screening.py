"""What a backup's definitions may do: nothing outside of the schema that they are restored into, unless allowed.

A backup under a key was made by its owner, and its programs are what they were. Of any other it is not known who made
it, and a program that somebody put there would run with its definer's rights as soon as the application uses its table.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise

from chalicelib.backup.statement import Statement
from chalicelib.backup.tokens import Token
from chalicelib.errors import DamagedError, PermanentError

SYSTEM = frozenset({"mysql", "sys", "information_schema", "performance_schema"})
# Their rows are the server's own; those of another engine may be anywhere.
ENGINES = frozenset({"INNODB", "MYISAM", "ARIA", "MEMORY", "ARCHIVE", "CSV", "BLACKHOLE", "MRG_MYISAM", "ROCKSDB"})
ENGINES |= {"NDB", "NDBCLUSTER", "COLUMNSTORE", "MROONGA"}
# By which a definition reaches files, accounts, the server itself, or anything by a name that it makes up.
FAR = frozenset({"GRANT", "REVOKE", "GLOBAL", "PERSIST", "PREPARE", "EXECUTE", "OUTFILE", "DUMPFILE", "INFILE"})
FAR |= {"LOAD_FILE", "SONAME", "SHUTDOWN", "KILL", "FLUSH", "RESET", "PURGE", "BINLOG", "INSTALL", "UNINSTALL"}
_MAKING = ("CREATE", "REPLACE", "ALTER", "DROP", "RENAME")
FAR_PAIRS = {(word, what) for word in _MAKING for what in ("USER", "ROLE", "SERVER", "DATABASE", "SCHEMA")}
FAR_PAIRS |= {("SET", "PASSWORD"), ("SET", "ROLE"), ("CHANGE", "MASTER"), ("CHANGE", "REPLICATION")}
FAR_OF_TABLES = frozenset({"SELECT", "CONNECTION", "DIRECTORY"})


def refuse_foreign(statements: Iterable[Statement], *, schemas: Collection[str], is_sealed: bool) -> None:
    """Raise PermanentError where a definition names one of `schemas`, or, unless sealed, could reach further."""
    foreign = {schema.lower() for schema in schemas}
    for statement in statements:
        try:
            code = list(statement.tokens())
            reasons = [*_names(code, foreign), *([] if is_sealed else _ways(statement.kind, code))]
        except DamagedError as error:
            reasons = [str(error)]
        if reasons:
            name = statement.name.decode(errors="replace")
            raise PermanentError(
                f"the {statement.kind.lower()} {name} of the backup {reasons[0]}, and might reach what lies outside of "
                "the schema that it is restored into; if that is meant, say that definitions may reach elsewhere"
            )


def _names(code: Sequence[Token], foreign: Collection[str]) -> Iterator[str]:
    for n, token in enumerate(code):
        if token.text != "." or not n:
            continue
        # What some servers skip and others execute could stand between a name and its dot.
        if "mark" in {near.kind for near in code[n - 1 : n + 2]}:
            yield "has a name with a comment in it"
        # Of a variable, what stands before the dot is its scope.
        if (code[n - 1].name or "").lower() in foreign and (n < 2 or code[n - 2].text not in {".", "@"}):
            yield f"names the schema {code[n - 1].name}"


def _ways(kind: str, code: Sequence[Token]) -> Iterator[str]:
    words = [token.word for token in code]
    far = FAR | FAR_OF_TABLES if kind == "TABLE" else FAR
    yield from (f"has the word {word}" for word in words if word in far)
    yield from (f"has the words {' '.join(pair)}" for pair in pairwise(words) if pair in FAR_PAIRS)
    if kind == "TABLE":
        for n, word in enumerate(words):
            engine = next((token.text for token in code[n + 1 : n + 3] if token.text != "="), "")
            if word == "ENGINE" and engine.upper() not in ENGINES:
                yield f"has the engine {engine}"
    elif "mark" in {token.kind for token in code}:
        # MySQL itself writes such only into tables.
        yield "has a comment that only some servers execute"
