"""Write a mapping as chalicelib/application.py."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from chalicelib.core.errors import ConfigurationError
from nightshift.adopt.mapped import Mapped
from nightshift.adopt.proposal import Proposal
from nightshift.adopt.selecting import Selected

PATH = Path("chalicelib", "application.py")
# Of the file as the project has it: any other is a person's work.
ORIGINAL = 0x5F8CD9CA
# All that the file may need; what it does not use is taken out.
IMPORTS = """
import time
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    BigInteger, Boolean, Column, Connection, Integer, LargeBinary, MetaData, String, Table, Text, and_, false, func,
    literal, null, select, true, update
)

from chalicelib.columns import Id, IntegerId, Millis, Moment, Seconds, UuidId, absent
"""
ORDER = ("id", "name", "email", "is_verified", "is_admin", "email_digest", "title", "url", "author", "points")
ABSENT_POSTS = 'posts = absent("id", "title", "url", "author", "points", "comments", "views", "created_at")'
ABSENT_SESSIONS = 'sessions = absent("user_id", "created_at", "updated_at")'
MYSQL = """MYSQL: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}"""


def write(project: Path, text: str, *, force: bool = False) -> None:
    """Write the file. Raises ConfigurationError if a person has changed the one that is there."""
    path = project / PATH
    found = path.read_text(encoding="utf-8") if path.exists() else text
    if not force and found != text and zlib.crc32(found.encode()) != ORIGINAL:
        raise ConfigurationError(f"{PATH} has been changed: --force overwrites it, --dry-run prints the new one")
    path.write_text(text, encoding="utf-8")


def render(proposal: Proposal) -> str:
    """Return the text of application.py."""
    head = (
        '"""Your application\'s tables, as Nightshift reads them. docs/mapping.md has more.\n\n'
        f'Written by `nightshift adopt` from the database {proposal.database}; it is yours to change.\n"""\n'
    )
    return _formatted("\n".join([head, IMPORTS, *_body(proposal)]))


def _formatted(text: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--quiet", "--select", "F401,I", "--fix-only", "-"], ["format", "--quiet", "-"]):
        text = subprocess.run([*ruff, *command], input=text, capture_output=True, text=True, check=True).stdout
    return text


def _body(proposal: Proposal) -> Iterator[str]:
    if proposal.prefix and proposal.collisions:
        yield f"# The database has tables of its own called {_and(proposal.collisions)}."
    elif proposal.prefix:
        yield "# In front of the names of Nightshift's own tables."
    else:
        yield "# In front of the names of Nightshift's own tables, if your database has other tables with such names."
    yield f'TABLE_PREFIX = "{proposal.prefix}"'
    yield "\nmetadata = MetaData()\n"
    yield f"{MYSQL}\n"
    users, opt_in = proposal.users, proposal.opt_in
    tables = {mapped.variable: mapped for mapped, _ in users.joins} | {users.base.variable: users.base}
    for mapped in reversed(tables.values()):
        yield from _table(mapped)
    if opt_in is None:
        yield "# No column says who wants the digest, so nobody gets it. docs/mapping.md shows how to name one."
    yield from _select("users", "readers", users)
    yield "\n"
    yield from _opt_out(proposal)
    yield "\n"
    if proposal.posts is None:
        yield f"{ABSENT_POSTS}\n"
    else:
        yield from _table(proposal.posts.base)
        yield from _select("posts", "published", proposal.posts)
        yield ""
    if proposal.sessions is None:
        yield f"{ABSENT_SESSIONS}\n"
    else:
        yield from _table(proposal.sessions)
        yield ""
    for rule in proposal.expiring:
        if rule.mapped is not proposal.sessions:
            yield from _table(rule.mapped)
            yield ""
    yield "# The tables are the application's: `nightshift migrate` creates none of them."
    yield "created_if_missing: tuple[Table, ...] = ()\n"
    yield "# What the cleanup deletes: rows whose time in this column is older than this."
    yield from _expiring(proposal)
    yield "# Accounts stay. docs/mapping.md shows how to have those deleted that nobody confirms."
    yield "unverified_users: dict[Column[Any], Column[Any]] | None = None\n"


def _and(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _table(mapped: Mapped) -> Iterator[str]:
    yield f"{mapped.variable} = Table("
    yield f'    "{mapped.table.name}",'
    yield "    metadata,"
    for name in mapped.table.columns:
        if name in mapped.types:
            key = f', key="{mapped.keys[name]}"' if mapped.keys.get(name, name) != name else ""
            primary = ", primary_key=True" if name in mapped.table.key else ""
            yield f'    Column("{name}", {mapped.types[name]}{key}{primary}),'
    yield ")"


def _select(name: str, alias: str, selected: Selected) -> Iterator[str]:
    base, first = selected.base.variable, True
    yield f"{name} = (select("
    for key in sorted(selected.columns, key=lambda each: ORDER.index(each) if each in ORDER else len(ORDER)):
        code = selected.columns[key]
        yield f"{code}," if code == f"{base}.c.{key}" else f'{_bracketed(code)}.label("{key}"),'
    yield ")"
    for mapped, conditions in selected.joins:
        test = conditions[0] if len(conditions) == 1 else f"and_({', '.join(conditions)})"
        yield (
            f".outerjoin_from({base}, {mapped.variable}, {test})" if first else f".outerjoin({mapped.variable}, {test})"
        )
        first = False
    if selected.where:
        yield f".where({', '.join(selected.where)})"
    yield f'.subquery("{alias}"))'


def _bracketed(code: str) -> str:
    """Put an operator's expression in brackets before a method is called on it."""
    return f"({code})" if re.match(r"[^\s(]+ == ", code) or code.startswith("~") else code


def _opt_out(proposal: Proposal) -> Iterator[str]:
    opt_in = proposal.opt_in
    yield "def opt_out(connection: Connection, ids: Collection[str]) -> int:"
    yield '    """Switch the digest off for these users, and return for how many of them it was on."""'
    if opt_in is None:
        yield "    return 0"
        return
    owner = opt_in.table.code(opt_in.owner)
    yield f"    subscribed = update({opt_in.table.variable}).where({', '.join([f'{owner}.in_(ids)', *opt_in.is_on])})"
    yield f"    return connection.execute(subscribed.values({opt_in.off})).rowcount"


def _expiring(proposal: Proposal) -> Iterator[str]:
    if not proposal.expiring:
        yield "expiring: dict[Column[Any], timedelta] = {}"
        return
    yield "expiring: dict[Column[Any], timedelta] = {"
    for rule in proposal.expiring:
        age = f"timedelta(days={rule.days})" if rule.days else "timedelta(0)"
        yield f"    {rule.mapped.code(rule.column)}: {age},"
    yield "}"
