"""What the definitions of a backup may do.

Only the owner can write a backup under a key, so its definitions are trusted. Without a key, anyone who may write to
the bucket may have written them. Then tables, sequences and views may call and ask for nothing but what is known to
stay within their schema, and programs are made only on request: what was slipped into one runs with its definer's
rights.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from chalicelib.backup.statement import RUNNING, Statement
from chalicelib.backup.tokens import Token
from chalicelib.backup.vocabulary import ENGINES, FUNCTIONS, OF_TABLES, OF_VIEWS, OPTIONS
from chalicelib.core.errors import DamagedError, PermanentError

# They take memory beside their text. A table of 4,096 columns and 8,192 partitions has half as many.
MOST_TOKENS = 500_000
_SIGNS = frozenset("(),.=<>+-*/%&|^~!:@")
_PLACED_BY = {"TABLE", "KEY", "INDEX", "REFERENCES", "FOR", "PARTITION", "SEQUENCE"}
_ENDS_FROM = {"SELECT", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "WINDOW", "UNION", "EXCEPT", "INTERSECT", "MINUS"}
_OF_SEQUENCES = {"NEXTVAL", "LASTVAL", "SETVAL"}
# Beside the first and the last token.
_NOTHING = Token("space", "")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What definitions may do.

    `is_trusted` is true of a backup whose author is known. `is_foreign` says of a schema's name whether definitions may
    not reach into it. `may_refer` allows foreign keys to do so.
    """

    is_trusted: bool
    is_foreign: Callable[[str], bool]
    may_refer: bool = False


def screen(statements: Iterable[Statement], limits: Limits) -> None:
    """Raise PermanentError where a definition does what the limits do not allow."""
    for statement in statements:
        name = f"the {statement.kind.lower()} {statement.name.decode(errors='replace')} of the backup"
        try:
            tokens = list(islice(statement.tokens(), MOST_TOKENS + 1))
            if len(tokens) > MOST_TOKENS:
                raise DamagedError(f"has more than {MOST_TOKENS:,} words and signs")
            code = [token for token in tokens if token.kind != "comment"]
            strange = next(_strange(statement.kind, tokens), None) if not limits.is_trusted else None
            foreign = next(_foreign(statement.kind, code, limits), None)
        except DamagedError as error:
            strange, foreign = str(error), None
        if strange is not None:
            raise PermanentError(
                f"{name} {strange}, which a backup without a key may not do, since whoever may write to the bucket "
                "could have made it; if you know it to be yours, say that its programs are to be restored"
            )
        if foreign is not None:
            raise PermanentError(
                f"{name} {foreign}, and might reach what lies outside of the schema that it is restored into; if that "
                "is meant, say that definitions may reach elsewhere"
            )


def _strange(kind: str, tokens: Sequence[Token]) -> Iterator[str]:
    if kind in RUNNING:
        yield "runs"
    elif kind in {"TABLE", "SEQUENCE", "VIEW"}:
        yield from _strange_text(kind, tokens)
        yield from _strange_calls(kind, tokens)
        yield from _strange_query(tokens) if kind == "VIEW" else _strange_options(kind, tokens)


def _strange_text(kind: str, tokens: Sequence[Token]) -> Iterator[str]:
    """Say what the server itself does not write, and what two servers may read differently."""
    depth, depth_outside, is_within = 0, 0, False
    for n, token in enumerate(tokens):
        if token.kind == "comment" or (token.kind == "mark" and kind == "VIEW"):
            yield "has a comment"
        elif token.kind == "sign" and token.text not in _SIGNS:
            yield f"has the sign {token.text!r}"
        elif token.text.startswith('"'):
            yield "has a text in double quotes"
        elif token.kind == "mark":
            # One server reads what is within, another does not: neither may see another call, name or option.
            after = tokens[n + 1] if n + 1 < len(tokens) else _NOTHING
            if after.text in {"(", ".", "="} or tokens[n - 1].text in {".", "="} or tokens[n - 1].word == "ENGINE":
                yield "has a comment within a piece of code"
            is_within = not is_within
            if not is_within and depth != depth_outside:
                yield "has half a parenthesis in a comment"
            depth_outside = depth
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth < 0 or (is_within and depth < depth_outside):
            yield "has a parenthesis too many"
    if depth or is_within:
        yield "has no end"


def _strange_calls(kind: str, tokens: Sequence[Token]) -> Iterator[str]:
    """Say what is called that is not known to stay within the schema."""
    allowed = FUNCTIONS | (OF_VIEWS if kind == "VIEW" else OF_TABLES)
    # Whether the parenthesis is a key's, in which a column may have a length.
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
    """Return whether the parenthesis holds the columns of a common table expression."""
    end = next((n for n in range(at, len(tokens)) if tokens[n].text == ")"), len(tokens))
    is_list = all(token.name is not None or token.text == "," for token in tokens[at + 1 : end])
    return is_list and [token.text.upper() for token in tokens[end + 1 : end + 3]] == ["AS", "("]


def _strange_options(kind: str, tokens: Sequence[Token]) -> Iterator[str]:
    """Say what is asked for behind the columns of a table or the name of a sequence, and of which engine."""
    # In a partition's expression a column may stand without backticks.
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


def _strange_query(tokens: Sequence[Token]) -> Iterator[str]:
    if any(token.word == "INTO" for token in tokens):
        yield "writes what it reads to a file or a variable"


def _foreign(kind: str, code: Sequence[Token], limits: Limits) -> Iterator[str]:
    """Say which schema is named that may not be."""
    schemas = _schemas_of_view(code) if kind == "VIEW" else _schemas_anywhere(code)
    for schema, before in schemas:
        if limits.is_foreign(schema) and not (limits.may_refer and before.word == "REFERENCES"):
            yield f"names the schema {schema}"


def _schemas_anywhere(code: Sequence[Token]) -> Iterator[tuple[str, Token]]:
    """Yield each name before a dot that may be a schema's, and the token before it."""
    for n, token in enumerate(code):
        if token.text != "." or not n:
            continue
        # Some servers skip what others execute between a name and its dot.
        if "mark" in {near.kind for near in code[n - 1 : n + 2]}:
            raise DamagedError("has a name with a comment in it")
        name, before = code[n - 1].name, code[n - 2] if n > 1 else _NOTHING
        # Of a variable, what stands before the dot is its scope.
        if name and not name.isdigit() and before.text not in {".", "@"}:
            yield name, before


def _schemas_of_view(code: Sequence[Token]) -> Iterator[tuple[str, Token]]:
    """Yield each name before a dot that is a schema's: of a table, a sequence or a function.

    Before a column's name stands a table's or its alias.
    """
    # Of each open parenthesis: whether it has a SELECT, so that a FROM is no function's, and whether it lists tables.
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
