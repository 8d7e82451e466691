"""The SELECT that makes one of the application's tables what Nightshift reads, and how its columns are chosen."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from nightshift.adopt import vocabulary as v
from nightshift.adopt.choices import NONE, Choice, Choices
from nightshift.adopt.database import Kind, Source, Table
from nightshift.adopt.mapped import Mapped, Types, none_if_empty


@dataclass(kw_only=True)
class Selected:
    """A SELECT: the code of each column by key, outer joins with their conditions, and the conditions of rows."""

    base: Mapped
    columns: dict[str, str] = field(default_factory=dict)
    joins: list[tuple[Mapped, list[str]]] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    # The columns of the table that are shown as they are, by key.
    names: dict[str, str] = field(default_factory=dict)


def is_one_of(code: str, values: Sequence[str]) -> str:
    """Return the code of a condition: an expression has one of the values."""
    first, *others = map(json.dumps, values)
    return f"{code}.in_(({', '.join([first, *others])}))" if others else f"{code} == {first}"


@dataclass(frozen=True, kw_only=True)
class Chooser:
    """Chooses the columns of one table: `users` or `posts`."""

    concept: str
    mapped: Mapped
    source: Source
    types: Types
    choices: Choices

    @property
    def table(self) -> Table:
        """The table in the database."""
        return self.mapped.table

    def pick(
        self,
        key: str,
        question: str,
        names: Sequence[str],
        *,
        kinds: tuple[Kind, ...] = (),
        absent: str = "",
        is_needed: bool = False,
        is_sure: bool = False,
        reason: str = "",
    ) -> str | None:
        """Return the column for a key, the first that has one of the names. `absent` says what is without one."""
        found = self.table.named(*names, kinds=kinds)
        if "moment" in kinds:
            found = [name for name in found if self.table.columns[name].kind != "integer" or self.is_time(name)]
        options = [name for name, column in self.table.columns.items() if not kinds or column.kind in kinds]
        proposal = none_if_empty(found)
        said = f"{self.table.columns[found[0]].stored}{reason}" if found else absent
        choice = Choice(
            key=f"{self.concept}.{key}",
            question=question,
            proposal=proposal,
            reason=said,
            options=tuple(options),
            is_sure=bool(found) or is_sure,
            is_needed=is_needed,
        )
        return self.choices.make(choice)

    def is_time(self, column: str) -> bool:
        """Return whether a column has times."""
        return self.types.is_time(self.table, column)

    def is_set(self, column: str, *, is_positive: bool = True) -> str:
        """Return the code of a condition: a flag is on, or a time is there; or the opposite."""
        found = self.table.columns[column]
        if found.kind in {"flag", "integer"} and not (found.kind == "integer" and self._is_filled_with_times(column)):
            code = self.types.plain(self.mapped, column)
            known = f"func.coalesce({code}, false())" if found.is_nullable else code
            return known if is_positive else f"{code}.is_not(True)" if found.is_nullable else f"~{code}"
        code = self.types.time(self.mapped, column) if self.is_time(column) else self.types.plain(self.mapped, column)
        return f"{code}.is_not(None)" if is_positive else f"{code}.is_(None)"

    def _is_filled_with_times(self, column: str) -> bool:
        sample = self.source.sample(self.table, column)
        return any(sample) and self.is_time(column) if sample else column.endswith(("_at", "_on"))

    def status(self, key: str, question: str, known: frozenset[str], names: Sequence[str] = v.STATUS) -> str | None:
        """Return the condition that a status makes, if there is one, such as status = 'published'."""
        for name in self.table.named(*names, kinds=("text", "integer", "flag")):
            values = self.source.values(self.table, name)
            column, doubt = self.table.columns[name], "as most have"
            if column.kind == "text":
                good, is_sure = v.good(values, known), True
                if not values and known is v.GOOD_POSTS:
                    good, is_sure, doubt = ["published"], False, "the usual value, as no row says"
            else:
                # Numbers of an enum: most rows are active, or published.
                good, is_sure = self._most_common(name), False
            if not good and column.kind != "text" and self.concept == "posts":
                doubt = f"{name} is a number and no row says which is published: unpublished posts would be sent"
                self.choices.make(Choice(key=f"posts.{key}", question=question, proposal=NONE, reason=doubt))
            if not good:
                continue
            reason = f"rows count with {name} = {' or '.join(good)}"
            choice = Choice(
                key=f"{self.concept}.{key}",
                question=question,
                proposal=name,
                reason=reason if is_sure else f"{reason}, {doubt}: check it",
                is_sure=is_sure,
            )
            if self.choices.make(choice) is None:
                return None
            code = self.types.plain(self.mapped, name)
            if column.kind != "text":
                if column.kind == "flag":
                    self.mapped.types[name] = "Integer"
                return f"{code} == {good[0]}"
            return is_one_of(code, good)
        return None

    def _most_common(self, column: str) -> list[str]:
        counted = Counter(self.source.sample(self.table, column)).most_common(2)
        # One value alone says nothing of users: in WordPress it is always 0.
        is_known = len(counted) > 1 or (counted and self.concept == "posts")
        return [str(counted[0][0])] if is_known else []

    def flag(self, key: str, question: str, names: Sequence[str], *, is_positive: bool, reason: str) -> str | None:
        """Return the condition of a flag or of a time that stands for one, if there is one."""
        names = [*self.table.named(*names, kinds=("flag", "moment", "integer"))]
        if not names:
            return None
        choice = Choice(
            key=f"{self.concept}.{key}",
            question=question,
            proposal=names[0],
            reason=reason,
            options=(*names, NONE),
        )
        chosen = self.choices.make(choice)
        return None if chosen is None else self.is_set(chosen, is_positive=is_positive)
