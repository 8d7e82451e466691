"""Primary keys of other kinds: each is walked in the database's order, and remembered when the rest continues later."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import BigInteger, Column, Date, Integer, LargeBinary, MetaData, String, Table, insert, select, text
from sqlalchemy.types import TypeEngine

from chalicelib.core.outcome import Counts
from chalicelib.tasks.database_cleanup.deletion import Progress, read_progress
from chalicelib.tasks.database_cleanup.rules import Rule
from tests.tasks.database_cleanup.samples import ago, archived, clean, use
from tests.world import World

ROWS = 10
KINDS: dict[str, tuple[str, TypeEngine[Any], Callable[[int], object]]] = {
    "numbers": ("BIGINT", BigInteger(), lambda n: 3 * n - 4),
    "bytes": ("BINARY(4)", LargeBinary(), lambda n: bytes([n, 255, 0, 200])),
    "days": ("DATE", Date(), lambda n: date(2016, 1, 1 + n)),
    # The database's order is not Python's.
    "words": ("VARCHAR(36)", String(36), lambda n: "aBcDeFgHiJ"[n]),
}


@contextmanager
def letters(world: World, type_: str, mapped: TypeEngine[Any]) -> Iterator[Table]:
    """A table whose key has two columns, the second of this type, and whose names are not those of its mapping."""
    world.execute(text(f"CREATE TABLE letters (box INT, no_ {type_}, sent BIGINT, PRIMARY KEY (box, no_))"))
    try:
        yield Table(
            "letters",
            MetaData(),
            Column("box", Integer, key="in_box", primary_key=True),
            Column("no_", mapped, key="number", primary_key=True),
            Column("sent", BigInteger, key="sent_at"),
        )
    finally:
        world.execute(text("DROP TABLE letters"))


@pytest.mark.parametrize("is_archived", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_any_kind_is_walked_and_handed_on(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str, is_archived: bool
) -> None:
    type_, mapped, make = KINDS[kind]
    with letters(world, type_, mapped) as table:
        rows: list[dict[str, Any]] = [
            {"in_box": box, "number": make(n), "sent_at": ago(days=1 if (n + box) % 3 else -1)}
            for box in range(2)
            for n in range(ROWS)
        ]
        world.execute(insert(table), rows)
        use(monkeypatch, Rule(name="letters", timestamp=table.c.sent_at, archive=is_archived, chunk=3))
        chunks = count(1)

        def take_time(*_: object) -> None:
            if next(chunks) in {2, 5}:
                world.clock.advance(295)

        monkeypatch.setattr("chalicelib.tasks.database_cleanup.throttle.Throttle.adapt", take_time)
        assert clean(world)["continues"] is True
        world.drain()
        left = set(world.execute(select(table.c.in_box, table.c.number)))
    assert left == {(row["in_box"], row["number"]) for row in rows if row["sent_at"] > ago()}
    assert (world.run().status, world.run().succeeded, next(chunks)) == ("succeeded", 2 * ROWS - len(left), 8)
    assert sum(len(lines) for lines in archived(world).values()) == (2 * ROWS - len(left) if is_archived else 0)


@pytest.mark.parametrize(
    "after",
    [
        None,
        ("a",),
        (1, "b"),
        (b"\x00\xff",),
        (datetime(2016, 8, 4, 1, 2, 3, 4, UTC),),
        (date(2016, 8, 4), 1),
        (UUID(int=7),),
    ],
    ids=repr,
)
def test_progress_comes_out_of_a_checkpoint_as_it_went_in(after: Any) -> None:
    progress = Progress(expected=5, allowed=9, after=after, counts=Counts(total=2, succeeded=2), error="why")
    read = read_progress(json.loads(json.dumps(progress.as_dict())))
    assert (read, type((read.after or (None,))[0])) == (progress, type((after or (None,))[0]))
