"""The indexes that the tasks' statements need, and those that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nightshift.adopt.database import Table
from nightshift.adopt.mapped import variable_of
from nightshift.adopt.proposal import Proposal

# MySQL's limit of a name.
MAX_NAME = 64
# Bytes of a key's column of these types.
BYTES = {"INT": 4, "DATETIME": 8, "TIMESTAMP": 7, "TINYINT": 1, "BINARY": 16}
USUAL_BYTES, ROW_BYTES = 8, 12
# Of an index: InnoDB takes 3,072 bytes, which are 768 characters.
LONGEST, TEXT_PREFIX, USUAL_CHARACTERS = 768, 191, 30


@dataclass(frozen=True, kw_only=True)
class Need:
    """An index that begins with `columns`, and the task that is slow without it."""

    table: Table
    columns: tuple[str, ...]
    purpose: str

    @property
    def is_met(self) -> bool:
        """Whether an index begins with them; the last may come after any others that conditions compare."""
        return any(each[: len(self.columns)] == self.columns for each in (*self.table.indexes, self.table.key))

    @property
    def statement(self) -> str:
        """The statement that creates it; InnoDB builds it while others write."""
        name = f"ix_{variable_of(self.table.name)}_{'_'.join(map(variable_of, self.columns))}"[:MAX_NAME]
        columns = ", ".join(self._part(column) for column in self.columns)
        online = " ALGORITHM=INPLACE LOCK=NONE" if self.table.engine == "InnoDB" else ""
        return f"CREATE INDEX {name} ON {_quoted(self.table.name)} ({columns}){online};"

    @property
    def cost(self) -> str:
        """What it takes: the rows that it reads, and about how many bytes it has."""
        key_bytes = sum(self._bytes(column) for column in (*self.columns, *self.table.key))
        size = self.table.rows * (key_bytes + ROW_BYTES)
        blocks = "" if self.table.engine == "InnoDB" else f"; {self.table.engine} blocks writers meanwhile"
        return (
            f"reads about {self.table.rows:,} rows ({_size(self.table.data_bytes)}), takes about {_size(size)}{blocks}"
        )

    def _part(self, column: str) -> str:
        found = self.table.columns[column]
        length = getattr(found.type, "length", None)
        is_long = found.kind == "text" and not found.choices and (length is None or length > LONGEST)
        return f"{_quoted(column)}({TEXT_PREFIX})" if is_long else _quoted(column)

    def _bytes(self, column: str) -> int:
        found = self.table.columns[column]
        if found.kind == "text":
            return min(getattr(found.type, "length", None) or TEXT_PREFIX, USUAL_CHARACTERS)
        return BYTES.get(found.stored.partition("(")[0], USUAL_BYTES)


def missing(proposal: Proposal) -> list[Need]:
    """Return the indexes that are missing; a view has none."""
    return [need for need in _needs(proposal) if not need.is_met and not need.table.is_view]


def _needs(proposal: Proposal) -> Iterator[Need]:
    users, posts, opt_in = proposal.users, proposal.posts, proposal.opt_in
    if opt_in and opt_in.column:
        columns = (opt_in.column, *users.base.table.key)
        yield Need(table=users.base.table, columns=columns[:1], purpose="the digest finds its readers")
    if opt_in and opt_in.join:
        yield Need(table=opt_in.table.table, columns=(opt_in.owner,), purpose="the digest finds its readers")
    if email := users.names.get("email"):
        yield Need(table=users.base.table, columns=(email,), purpose="complaints find their user")
    if created := users.names.get("created_at"):
        yield Need(table=users.base.table, columns=(created,), purpose="the report counts new users")
    if posts:
        if created := posts.names.get("created_at"):
            yield Need(table=posts.base.table, columns=(created,), purpose="the digest finds a day's posts")
        if views := posts.names.get("views"):
            yield Need(table=posts.base.table, columns=(views,), purpose="the cache finds the most viewed posts")
    if proposal.sessions:
        used = next((name for name, key in proposal.sessions.keys.items() if key == "updated_at"), None)
        if used:
            yield Need(table=proposal.sessions.table, columns=(used,), purpose="active users are counted")
    for rule in proposal.expiring:
        if rule.mapped is not proposal.sessions or rule.mapped.keys.get(rule.column) != "updated_at":
            yield Need(table=rule.mapped.table, columns=(rule.column,), purpose="the cleanup counts expired rows")


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _size(count: int) -> str:
    return f"{count / 1_000_000:,.1f} MB" if count >= 100_000 else f"{count / 1000:.1f} KB"
