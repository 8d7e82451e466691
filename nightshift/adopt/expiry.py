"""The sessions, and which rows of sessions and tokens the cleanup deletes."""

from __future__ import annotations

from dataclasses import dataclass, field

from chalicelib.core.errors import ConfigurationError
from nightshift.adopt import vocabulary as v
from nightshift.adopt.choices import NONE, Choice
from nightshift.adopt.database import Table
from nightshift.adopt.finding import user_columns
from nightshift.adopt.mapped import Mapped, Types, variable_of

DAY = 1
SESSION_DAYS = 30


@dataclass(kw_only=True)
class Expiring:
    """What the cleanup deletes: rows of a table whose time in a column is older than so many days."""

    mapped: Mapped
    column: str
    days: int


@dataclass(kw_only=True)
class Cleanup:
    """The rules, and the sentences on tables that have none."""

    rules: list[Expiring] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def map_sessions(types: Types, table: Table, users: Table) -> Mapped:
    """Return the table of sessions: whose it is, and when it was last used."""
    mapped = Mapped(table=table, variable="sessions")
    owners = user_columns(table, users)
    owner = Choice(
        key="sessions.user_id",
        question="Which column says whose a session is?",
        proposal=owners[0] if owners else NONE,
        reason="refers to the user" if owners else "no column refers to a user",
        options=tuple(table.columns),
        is_needed=True,
    )
    times = [name for name in table.named(*v.USED, *v.CREATED) if types.is_time(table, name)]
    used = Choice(
        key="sessions.updated_at",
        question="Which column says when a session was last used?",
        proposal=times[0] if times else NONE,
        reason=table.columns[times[0]].stored if times else "no column has a time",
        options=tuple(table.columns),
        is_needed=True,
    )
    if chosen := types.choices.make(owner):
        mapped.keys[chosen] = "user_id"
        types.id(mapped, chosen)
    if chosen := types.choices.make(used):
        mapped.keys[chosen] = "updated_at"
        types.time(mapped, chosen)
        created = [name for name in table.named(*v.CREATED) if name != chosen and types.is_time(table, name)]
        if created:
            mapped.keys[created[0]] = "created_at"
            types.time(mapped, created[0])
    return mapped


def find_expiring(types: Types, tables: list[Table], sessions: Mapped | None, taken: list[str]) -> Cleanup:
    """Return what the cleanup deletes from sessions and tokens."""
    cleanup = Cleanup()
    for table in tables:
        is_sessions = sessions is not None and table is sessions.table
        # Rows of another table with such a column may be worth keeping: a subscription, a coupon, a device.
        if table.is_view or not v.TOKENS & set(table.words):
            continue
        column, days, reason = _rule(types, table)
        if column is None:
            continue
        if not table.key:
            cleanup.notes.append(f"{table.name} has no primary key, which the cleanup needs, so its rows stay")
            continue
        choice = Choice(
            key=f"cleanup.{table.name}",
            question=f"Which column says how old a row of {table.name} is?",
            proposal=column,
            reason=reason,
            options=(column,),
        )
        if types.choices.make(choice) is None:
            continue
        mapped = sessions if is_sessions and sessions else Mapped(table=table, variable=variable_of(table.name, taken))
        try:
            for key in table.key:
                types.key(mapped, key)
        except ConfigurationError as error:
            cleanup.notes.append(f"{error}; so the rows of {table.name} stay")
            continue
        types.time(mapped, column)
        taken.append(mapped.variable)
        cleanup.rules.append(Expiring(mapped=mapped, column=column, days=days))
    return cleanup


def _rule(types: Types, table: Table) -> tuple[str | None, int, str]:
    """Return the column, how many days its rows stay, and why."""
    if expires := [name for name in table.named(*v.EXPIRES) if types.is_time(table, name)]:
        return expires[0], 0, "expired rows are deleted"
    created = [name for name in table.named(*v.CREATED) if types.is_time(table, name)]
    if v.RESETS & set(table.words) and created:
        return created[0], DAY, "rows are deleted a day after they were made"
    used = next((name for name in table.named(*v.USED) if types.is_time(table, name)), None)
    if used is None or table.noun != "session":
        return None, 0, ""
    return used, SESSION_DAYS, f"sessions that were not used for {SESSION_DAYS} days are deleted"
