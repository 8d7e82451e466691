"""Merging items into the rows of a source: what is new, what has changed, what is older, and whose an id is."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, Row

from chalicelib.tasks.external_sync import rows
from chalicelib.tasks.external_sync.items import Item, Refused


@dataclass(frozen=True, kw_only=True)
class Merged:
    """How many items were inserted and overwritten, and those that could not be since their id is somebody else's."""

    inserted: int = 0
    changed: int = 0
    refused: Sequence[Refused] = ()


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Items of one source, by id, from an answer that was asked for at `asked_at`, in ms."""

    source: str
    items: Mapping[str, Item]
    asked_at: int

    def insert(self, connection: Connection) -> Merged:
        """Insert items that are believed to be new. Raises IntegrityError where an id is taken."""
        new = self._new_rows({})
        rows.insert(connection, new, source=self.source, synced_at=self.asked_at)
        return Merged(inserted=len(new))

    def perform(self, connection: Connection) -> Merged:
        """Insert and overwrite, whatever there is already, and whoever else does so at the same time."""
        standing = rows.find(connection, self.items, is_locking=True)
        new = self._new_rows(standing)
        taken = rows.insert_missing(connection, new, source=self.source, synced_at=self.asked_at)
        # By another run just now; or the id equals another one in a way that only the database's collation sees.
        standing |= rows.find(connection, taken, is_locking=True)
        equal = "its id equals another, but for case or accents"
        refused = [self.items[id_].refuse(equal) for id_ in sorted(taken - standing.keys())]
        changed, foreign = self._compare(standing)
        values = [_values(standing[id_].id, self.items[id_]) for id_ in changed]
        rows.overwrite(connection, values, source=self.source, synced_at=self.asked_at)
        return Merged(inserted=len(new) - len(taken), changed=len(changed), refused=[*refused, *foreign])

    def rehearse(self, connection: Connection) -> Merged:
        """Say what `perform` would do."""
        standing = rows.find(connection, self.items, is_locking=False)
        changed, foreign = self._compare(standing)
        return Merged(inserted=len(self.items) - len(standing), changed=len(changed), refused=foreign)

    def _compare(self, standing: Mapping[str, Row[Any]]) -> tuple[list[str], list[Refused]]:
        changed: list[str] = []
        foreign: list[Refused] = []
        for id_, row in standing.items():
            item = self.items[id_]
            if row.source not in {"", self.source}:
                foreign.append(item.refuse(f"its id belongs to the source {row.source}"))
            elif _differs(item, row) and not self._is_older(item, row):
                changed.append(id_)
        return changed, foreign

    def _is_older(self, item: Item, row: Row[Any]) -> bool:
        if item.changed_at is not None and row.changed_at is not None and item.changed_at != row.changed_at:
            return bool(item.changed_at < row.changed_at)
        # A run that asked later may have been faster.
        return bool(row.synced_at > self.asked_at)

    def _new_rows(self, standing: Mapping[str, Row[Any]]) -> list[rows.Values]:
        # In order, as every other run does it, so that few of them meet in a deadlock.
        fresh = sorted(self.items.keys() - standing.keys())
        return [_values(new_id, self.items[id_]) for id_, new_id in zip(fresh, _new_ids(len(fresh)), strict=True)]


def _values(id_: str, item: Item) -> rows.Values:
    return id_, item.id, item.data, item.content_hash, item.changed_at


def _new_ids(count: int) -> list[str]:
    """Return UUIDs of version 7 that follow one another: rows that are inserted together then lie together.

    Keys at random would spread the rows of each batch over the whole table, and a look at them over the whole disk.
    """
    moment, digits = f"{time.time_ns() // 1_000_000:012x}", token_hex(8 * count)
    begin = f"{moment[:8]}-{moment[8:]}-7"
    return [
        f"{begin}{n & 0xFFF:03x}-8{digits[16 * n : 16 * n + 3]}-{digits[16 * n + 3 : 16 * n + 15]}"
        for n in range(count)
    ]


def _differs(item: Item, row: Row[Any]) -> bool:
    return row.content_hash != item.content_hash or row.source == "" or row.missing_since is not None
