"""The whole mapping of a database, choice by choice."""

from __future__ import annotations

from dataclasses import dataclass, field

from nightshift.adopt.choices import Choices
from nightshift.adopt.database import Source, Table
from nightshift.adopt.entries import select_posts
from nightshift.adopt.expiry import Expiring, find_expiring, map_sessions
from nightshift.adopt.finding import find_posts, find_sessions, find_users, without_own
from nightshift.adopt.mapped import Mapped, Types
from nightshift.adopt.optin import OptIn
from nightshift.adopt.readers import select_users
from nightshift.adopt.selecting import Chooser, Selected

# Names that the file has for other things.
TAKEN = ("users", "posts", "sessions", "metadata", "expiring", "unverified_users", "created_if_missing", "opt_out")


@dataclass(kw_only=True)
class Proposal:
    """What application.py says; `collisions` are tables called like Nightshift's own."""

    database: str
    users: Selected
    opt_in: OptIn | None
    posts: Selected | None
    sessions: Mapped | None
    expiring: list[Expiring]
    prefix: str
    collisions: list[str]
    notes: list[str] = field(default_factory=list)


def propose(source: Source, choices: Choices) -> Proposal:
    """Return the mapping of a database. Raises ConfigurationError where something that is needed is not there."""
    tables, prefix, collisions = without_own(source)
    types = Types(source=source, choices=choices)
    users_table = find_users(tables, choices)
    others = [Mapped(table=table, variable="") for table in tables.values() if table is not users_table]
    users = Mapped(table=users_table, variable="_users")
    readers, opt_in = select_users(_chooser("users", users, source, types), others)
    posts_table = find_posts(tables, users_table, choices)
    posts = _posts(posts_table, source, types, users, readers) if posts_table else None
    sessions_table = find_sessions(tables, users_table, choices)
    sessions = map_sessions(types, sessions_table, users_table) if sessions_table else None
    candidates = [table for table in tables.values() if table not in (users_table, posts_table)]
    cleanup = find_expiring(types, candidates, sessions, [*TAKEN])
    choices.check()
    notes = [f"{name} cannot be read, and was left out" for name in source.unreadable]
    return Proposal(
        database=source.name,
        users=readers,
        opt_in=opt_in,
        posts=posts,
        sessions=sessions,
        expiring=cleanup.rules,
        prefix=prefix,
        collisions=collisions,
        notes=[*notes, *cleanup.notes],
    )


def _posts(table: Table, source: Source, types: Types, users: Mapped, readers: Selected) -> Selected:
    chooser = _chooser("posts", Mapped(table=table, variable="_posts"), source, types)
    return select_posts(chooser, users, readers.columns["name"])


def _chooser(concept: str, mapped: Mapped, source: Source, types: Types) -> Chooser:
    return Chooser(concept=concept, mapped=mapped, source=source, types=types, choices=types.choices)
