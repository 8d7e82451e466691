"""How users choose the digest: a column, a value in JSON, a row or a column of another table; and how they opt out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.core.errors import ConfigurationError
from nightshift.adopt import vocabulary as v
from nightshift.adopt.choices import NONE, Choice
from nightshift.adopt.database import Table, words
from nightshift.adopt.finding import user_columns
from nightshift.adopt.mapped import Mapped, variable_of
from nightshift.adopt.selecting import Chooser, is_one_of

# In front of a path into a JSON column: settings.$.digest.
PATH = ".$."


@dataclass(frozen=True, kw_only=True)
class OptIn:
    """The code of the condition, the join that it needs, and of opting out: the table, conditions and new values."""

    code: str
    table: Mapped
    owner: str
    is_on: tuple[str, ...]
    off: str
    join: tuple[Mapped, list[str]] | None = None
    # The column of users that says it by itself.
    column: str | None = None


def outer(chooser: Chooser, mapped: Mapped, owner: str, fixed: Mapping[str, str]) -> list[str]:
    """Return the conditions of an outer join of users with a table, whose other columns have fixed values."""
    key = chooser.table.id
    ours, theirs = chooser.types.id(chooser.mapped, key), chooser.types.id(mapped, owner)
    return [f"{theirs} == {ours}", *(f'{chooser.types.plain(mapped, name)} == "{fixed[name]}"' for name in fixed)]


def choose_opt_in(chooser: Chooser, others: list[Mapped]) -> OptIn | None:
    """Return how users choose the digest, None if they do not: then nobody gets it."""
    found = list(_proposals(chooser, others))
    found.sort(key=lambda each: each[1])
    maybe = list(_near(chooser.table))
    proposal = found[0][0] if found else NONE
    if found:
        reason = "users have chosen it there"
        if found[0][1]:
            reason += f"; {'it' if len(found) == 1 else 'another'} may stand for other mails: check it"
    else:
        reason = "no column says who wants it: nobody gets the digest until you name one"
        if maybe:
            reason += f"; {maybe[0]} may be about other mails"
    choice = Choice(
        key="users.email_digest",
        question="Which column says who wants the digest? (column, column.$.path of JSON, table.column, or none)",
        proposal=proposal,
        reason=reason,
        options=(*(name for name, _ in found), *chooser.table.columns),
        is_sure=bool(found) and found[0][1] == 0,
    )
    answer = chooser.choices.make(choice)
    return None if answer is None else _read(chooser, others, answer)


def _rank(name: str) -> int | None:
    """Return how far from the digest a name is, None for one that says nothing of mails that users choose."""
    found = set(words(name))
    found |= {"optin"} if {"opt", "in"} <= found else set()
    if (v.NEGATIVE | v.NO_CHOICE) & found:
        return None
    return next((rank for rank, word in enumerate(v.OPT_IN) if word in found), None)


def _near(table: Table) -> Iterator[str]:
    return (name for name in table.columns if v.MAYBE & set(words(name)) or {"opt", "in"} <= set(words(name)))


def _proposals(chooser: Chooser, others: list[Mapped]) -> Iterator[tuple[str, int]]:
    table, source = chooser.table, chooser.source
    for name, column in table.columns.items():
        rank = _rank(name)
        if rank is not None and (
            column.kind in {"flag", "moment"}
            or (column.kind == "integer" and chooser.source.values(table, name) <= {"0", "1"})
            or (column.kind == "text" and v.good(source.values(table, name), v.DAILY))
        ):
            yield name, rank
        if column.kind in {"json", "text"} and table.normal(name) in v.SETTINGS:
            for path, path_rank in _paths(source.sample(table, name)):
                yield f"{name}{PATH}{path}", path_rank
    for other in (each.table for each in others):
        owners = user_columns(other, table)
        if not owners:
            continue
        if other.is_unique(owners[0]):
            for name, column in other.columns.items():
                rank = _rank(name)
                if rank is not None and (
                    column.kind in {"flag", "moment"}
                    or (column.kind == "text" and v.good(source.values(other, name), v.DAILY))
                ):
                    yield f"{other.name}.{name}", rank
                if column.kind in {"json", "text"} and other.normal(name) in v.SETTINGS:
                    for path, path_rank in _paths(source.sample(other, name)):
                        yield f"{other.name}.{name}{PATH}{path}", path_rank
        keys, values = other.named(*v.META_KEY, kinds=("text",)), other.named(*v.META_VALUE)
        if keys and values and other.is_unique(owners[0], keys[0]):
            for key in sorted(source.values(other, keys[0])):
                if (rank := _rank(key)) is not None:
                    yield f"{other.name}.{key}", rank


def _paths(sample: list[Any]) -> Iterator[tuple[str, int]]:
    ranks: dict[str, int] = {}
    for value in sample:
        for path, leaf in _leaves(_load(value)):
            rank = _rank(path)
            if rank is not None and (isinstance(leaf, bool) or str(leaf).lower() in v.DAILY | v.NEVER):
                ranks[path] = rank
    yield from sorted(ranks.items(), key=lambda each: each[1])


def _load(value: Any) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return None


def _leaves(document: Any, *, depth: int = 3) -> Iterator[tuple[str, Any]]:
    if not isinstance(document, dict) or not depth:
        return
    for name, value in document.items():
        if name.isidentifier():
            yield name, value
            yield from ((f"{name}.{path}", leaf) for path, leaf in _leaves(value, depth=depth - 1))


def _read(chooser: Chooser, others: list[Mapped], answer: str) -> OptIn:
    base, _, path = answer.partition(PATH)
    if base in chooser.table.columns:
        key = chooser.table.id
        code, test, off = _condition(chooser, chooser.mapped, base, path)
        column = None if path else base
        return OptIn(code=code, table=chooser.mapped, owner=key, is_on=(test,), off=off, column=column)
    name, _, column = base.partition(".")
    found = next((each.table for each in others if each.table.name == name), None)
    owners = user_columns(found, chooser.table) if found else []
    if found is None or not owners or not column:
        raise ConfigurationError(f"users.email_digest cannot be {answer!r:.60}: there is no such column or table")
    mapped, fixed = Mapped(table=found, variable=f"_{variable_of(name)}"), {}
    if column not in found.columns:
        keys, values = found.named(*v.META_KEY, kinds=("text",)), found.named(*v.META_VALUE)
        if not keys or not values:
            raise ConfigurationError(f"users.email_digest cannot be {answer!r:.60}: {name} has no column {column}")
        fixed, column = {keys[0]: column}, values[0]
    join = outer(chooser, mapped, owners[0], fixed)
    _, test, off = _condition(chooser, mapped, column, path)
    return OptIn(
        code=f"func.coalesce({test}, false())",
        table=mapped,
        owner=owners[0],
        is_on=(*join[1:], test),
        off=off,
        join=(mapped, join),
    )


def _condition(chooser: Chooser, mapped: Mapped, column: str, path: str) -> tuple[str, str, str]:
    """Return the code that says whether it is on, the condition of a row where it is, and the values that end it."""
    found, types, source = mapped.table.columns[column], chooser.types, chooser.source
    if path:
        code = types.plain(mapped, column)
        mapped.types[column] = "Text"
        value = f'func.json_unquote(func.json_extract({code}, "$.{path}"))'
        documents = map(_load, source.sample(mapped.table, column))
        leaves = [leaf for each in documents for name, leaf in _leaves(each) if name == path]
        ons = v.good({_text(leaf) for leaf in leaves}, v.DAILY) or ["true"]
        offs = v.good({_text(leaf) for leaf in leaves}, v.NEVER)
        is_text = any(isinstance(leaf, str) for leaf in leaves)
        test = is_one_of(value, ons)
        off = f'"{(offs or ["never"])[0]}"' if is_text else "False"
        return f"func.coalesce({test}, false())", test, f'{{{code}: func.json_set({code}, "$.{path}", {off})}}'
    if found.kind == "text":
        values = source.values(mapped.table, column)
        ons, offs = v.good(values, v.DAILY), v.good(values, v.NEVER)
        code = types.plain(mapped, column)
        ons = [value for value in ons if value.lower() == "daily"] or ons
        if not ons:
            raise ConfigurationError(f"{mapped.table.name}.{column} has no value that says daily, on, yes or true")
        test = is_one_of(code, ons)
        whole = f"func.coalesce({test}, false())" if found.is_nullable else test
        off = offs[0] if offs else ("0" if ons == ["1"] else "never")
        return whole, test, f'{{{code}: "{off}"}}'
    is_positive = not v.NEGATIVE & set(words(column))
    test, off = _flag(chooser, mapped, column, is_positive=is_positive)
    return test, test, off


def _flag(chooser: Chooser, mapped: Mapped, column: str, *, is_positive: bool) -> tuple[str, str]:
    """Return the condition of a flag or of a time that stands for one, and the values that end it."""
    found, types = mapped.table.columns[column], chooser.types
    if found.kind == "moment":
        code = types.time(mapped, column)
        if is_positive:
            return f"{code}.is_not(None)", f"{{{code}: None}}"
        return f"{code}.is_(None)", f"{{{code}: time.time_ns() // 1_000_000}}"
    code = types.plain(mapped, column)
    mapped.types[column] = "Boolean"
    test = f"{code}.is_({is_positive})" if is_positive else f"{code}.is_not(True)"
    return (code if is_positive and not found.is_nullable else test), f"{{{code}: {not is_positive}}}"


def _text(leaf: Any) -> str:
    return json.dumps(leaf) if isinstance(leaf, (bool, int)) else str(leaf)
