"""Which of the tables have the users, the posts and the sessions."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from chalicelib import schema
from nightshift.adopt import vocabulary as v
from nightshift.adopt.choices import NONE, Choice, Choices
from nightshift.adopt.database import Source, Table, singular, words

SURE, MARGIN = 6, 2
# The guide's table, which Nightshift extends rather than avoids.
GUIDE_JOBS = {"id", "type", "data", "status", "created_at"}
PREFIX = "nightshift_"
MANY = 3


@dataclass(frozen=True)
class Candidate:
    """A table, how well it fits, and why."""

    table: Table
    score: int
    reasons: list[str]


def own_names(prefix: str = "") -> dict[str, str]:
    """Return the names of Nightshift's own tables without the prefix of today's mapping, each with a prefix."""
    from chalicelib.application import TABLE_PREFIX

    names = [getattr(schema, name).name.removeprefix(TABLE_PREFIX) for name in schema.__all__]
    return {name: f"{prefix}{name}" for name in [*names, "alembic_version"]}


def without_own(source: Source) -> tuple[dict[str, Table], str, list[str]]:
    """Return the application's tables, the prefix for Nightshift's own, and the names that make it necessary."""
    for prefix in (PREFIX, ""):
        own = own_names(prefix)
        if own["deliveries"] in source.tables and own["alembic_version"] in source.tables:
            # It has been migrated before.
            return {name: each for name, each in source.tables.items() if name not in own.values()}, prefix, []
    tables = {name: table for name, table in source.tables.items() if not name.startswith(PREFIX)}
    taken = [name for name in own_names() if name in tables and not _is_guides(tables[name])]
    return tables, PREFIX if taken else "", taken


def _is_guides(table: Table) -> bool:
    return table.name in {"jobs", "external_data"} and (
        set(table.columns) >= GUIDE_JOBS or {"external_id", "data", "synced_at"} <= set(table.columns)
    )


def find_users(tables: Mapping[str, Table], choices: Choices) -> Table:
    """Return the table of users. Raises ConfigurationError where none has addresses."""
    candidates = _ranked(tables.values(), lambda table: _score_users(table, tables.values()))
    question = "Which table has the users?"
    name = _choose(choices, "users", question, candidates, list(tables), is_needed=True)
    return tables[name or ""]


def find_posts(tables: Mapping[str, Table], users: Table, choices: Choices) -> Table | None:
    """Return the table of posts, if there is one."""
    others = [table for table in tables.values() if table is not users]
    candidates = _ranked(others, lambda table: _score_posts(table, users))
    name = _choose(choices, "posts", "Which table has the posts?", candidates, [table.name for table in others])
    return None if name is None else tables[name]


def find_sessions(tables: Mapping[str, Table], users: Table, choices: Choices) -> Table | None:
    """Return the table that says when a user was last active, if there is one."""
    others = [table for table in tables.values() if table is not users]
    candidates = _ranked(others, lambda table: _score_sessions(table, users))
    name = _choose(choices, "sessions", "Which table has the sessions?", candidates, [table.name for table in others])
    return None if name is None else tables[name]


def user_columns(table: Table, users: Table) -> list[str]:
    """Return the columns of a table that refer to a user: foreign keys, then names."""
    keys = [column for column, referred in table.references.items() if referred == users.name]
    # Columns such as user_id lose the noun only in the table of users itself.
    by_words = {"_".join(words(name)): name for name in table.columns}
    names = (f"{users.noun}_id", "user_id", "userid", f"{table.noun}_user_id")
    named = [by_words[name] for name in names if name in by_words]
    return list(dict.fromkeys([*keys, *named]))


def _ranked(tables: Collection[Table], score: Callable[[Table], tuple[int, list[str]] | None]) -> list[Candidate]:
    found = [Candidate(table, *scored) for table in tables if (scored := score(table)) is not None]
    return sorted(found, key=lambda each: (-each.score, each.table.name))


def _choose(
    choices: Choices,
    key: str,
    question: str,
    candidates: list[Candidate],
    options: list[str],
    *,
    is_needed: bool = False,
) -> str | None:
    best = candidates[0] if candidates else None
    second = candidates[1].score if len(candidates) > 1 else 0
    others = [each.table.name for each in candidates[1:MANY] if best and best.score - each.score < MARGIN]
    reason = ", ".join(best.reasons) if best else f"no table looks like {key}"
    if others:
        reason += f"; {' and '.join(others)} looks like it too"
    is_sure = best is None or (best.score >= SURE and best.score - second >= MARGIN)
    proposal = best.table.name if best else NONE
    choice = Choice(
        key=key,
        question=question,
        proposal=proposal,
        reason=reason,
        options=tuple(options),
        is_sure=is_sure,
        is_needed=is_needed,
    )
    return choices.make(choice)


def _score_users(table: Table, tables: Collection[Table]) -> tuple[int, list[str]] | None:
    emails = table.named(*v.EMAIL, kinds=("text",))
    if not emails or len(table.key) != 1 or v.NOT_USERS & set(table.words):
        return None
    known = v.USERS.get(table.noun) or (v.WEAK if {singular(word) for word in table.words} & set(v.USERS) else 0)
    score, reasons = known - len(v.STAFF & set(table.words)) * v.WEAK, [f"has {emails[0]}"]
    if passwords := table.named(*v.PASSWORD):
        score, reasons = score + 2, [*reasons, passwords[0]]
    if table.is_unique(emails[0]):
        score += 1
    referring = [each.name for each in tables if each is not table and user_columns(each, table)]
    if known and referring:
        score += min(len(referring), MANY)
        reasons.append(f"{len(referring)} {'table refers' if len(referring) == 1 else 'tables refer'} to it")
    return (score - v.WEAK * table.is_view, reasons) if known and score > 0 else None


def _score_posts(table: Table, users: Table) -> tuple[int, list[str]] | None:
    weight, titles = v.POSTS.get(table.noun, 0), table.named(*v.TITLE, kinds=("text",))
    times = table.named(*v.PUBLISHED, *v.CREATED, kinds=("moment", "integer"))
    if not (weight and titles and times) or len(table.key) > 1 or v.NOT_POSTS & set(table.words):
        return None
    reasons = [f"has {titles[0]}", times[0]]
    if bodies := table.named(*v.BODY):
        weight, reasons = weight + 2, [*reasons, bodies[0]]
    if authors := _authors(table, users):
        weight, reasons = weight + 2, [*reasons, authors[0]]
    return weight - 3 * table.is_view, reasons


def _authors(table: Table, users: Table) -> list[str]:
    return list(dict.fromkeys([*user_columns(table, users), *table.named(*v.AUTHOR_ID, *v.AUTHOR)]))


def _score_sessions(table: Table, users: Table) -> tuple[int, list[str]] | None:
    weight, owners = v.SESSIONS.get(table.noun, 0), user_columns(table, users)
    used = table.named(*v.USED, *v.CREATED, kinds=("moment", "integer"))
    if not (weight and owners and used) or table.named("title", "starts_at"):
        return None
    return weight + len(table.named(*v.USED[:10], kinds=("moment", "integer"))) - 3 * table.is_view, [
        f"has {owners[0]}",
        used[0],
    ]
