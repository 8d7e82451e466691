"""Whom no mail goes to: addresses that bounced for good, that bounced too often, or whose owner complained."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, select, update

from chalicelib.core.database import insert_missing
from chalicelib.mail.text import plain_address
from chalicelib.schema import suppressions

# A digest comes daily. Five in a fortnight are more than a mailbox that is full over a week-end, or a holiday's two
# replies; and SES holds only permanent bounces against the sender, so nothing is lost by waiting for the fifth.
TRANSIENT_LIMIT, TRANSIENT_WINDOW_MS = 5, 14 * 86_400_000
# Of an address. No more fit into the column, and only mails that were under way follow the one that suppresses.
MOST_REMEMBERED, LONGEST_WORDS = 8, 100


class Reason(StrEnum):
    """Why no mail goes there, from the weakest to the strongest."""

    TRANSIENT = "transient bounce"
    PERMANENT = "permanent bounce"
    COMPLAINT = "complaint"


@dataclass(frozen=True, kw_only=True)
class Incident:
    """What came back for one address, in its normal form: why, of which mail, when, and in whose words.

    `spellings` are those that the sender and SES used.
    """

    address: str
    spellings: frozenset[str]
    reason: Reason
    message_id: str
    at_ms: int
    words: str


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a row remembers in `detail`: the last words, and when each incident was; 0 for one from before a lifting."""

    words: str = ""
    seen: dict[str, int] = {}


def normal(text: str) -> str:
    """Return the form under which an address is kept. Raises ValueError where it is not one plain address."""
    # Local parts may differ by case alone; no mail provider of today lets them.
    return plain_address(text).lower()


def is_same(text: object, address: str) -> bool:
    """Return whether a text, whatever it holds, is another spelling of a normal address."""
    try:
        return isinstance(text, str) and normal(text) == address
    except ValueError:
        return False


def among(connection: Connection, addresses: Iterable[str | None]) -> dict[str, str]:
    """Return which of the addresses no mail may go to, as they are spelled here, each with the reason."""
    spellings: dict[str, list[str]] = {}
    for address in filter(None, addresses):
        # What is no plain address gets no mail anyway.
        with suppress(ValueError):
            spellings.setdefault(_digest(normal(address)), []).append(address)
    query = select(suppressions.c.address_digest, suppressions.c.reason).where(
        suppressions.c.address_digest.in_(list(spellings)), suppressions.c.suppressed_at.is_not(None)
    )
    return {address: row.reason for row in connection.execute(query) for address in spellings[row.address_digest]}


def record(connection: Connection, incident: Incident, *, now_ms: int) -> bool:
    """Record an incident, suppress its address where that is due, and return whether the incident was news.

    It is news once, however often it is told, also when the address has been lifted since.
    """
    new = {"address": incident.address, "reason": incident.reason.value, "updated_at": now_ms}
    missing = insert_missing(suppressions, connection.dialect)
    connection.execute(missing.values(address_digest=_digest(incident.address), **new))
    row = _lock(connection, incident.address)
    memory = _read(row.detail)
    key = _digest(f"{incident.reason}\n{incident.message_id}")[:12]
    if key in memory.seen:
        return False
    seen = dict([*memory.seen.items(), (key, incident.at_ms)][-MOST_REMEMBERED:])
    values: dict[str, Any] = {"updated_at": now_ms, "bounces": row.bounces + (incident.reason is Reason.TRANSIENT)}
    words = memory.words
    if row.suppressed_at is None or row.reason in _weaker(incident.reason):
        values["reason"], words = incident.reason.value, incident.words
    # Of an address that is not suppressed only transient ones are known, beside those from before a lifting.
    recent = sum(at_ms > now_ms - TRANSIENT_WINDOW_MS for at_ms in seen.values())
    if row.suppressed_at is None and (incident.reason is not Reason.TRANSIENT or recent >= TRANSIENT_LIMIT):
        values["suppressed_at"] = now_ms
    values["detail"] = _write(Memory(words=words, seen=seen))
    connection.execute(update(suppressions).where(_is(incident.address)).values(**values))
    return True


def lift(connection: Connection, address: str, *, now_ms: int) -> bool:
    """Let mail go to a normal address again, its bounces counted anew; return whether it was suppressed."""
    row = _lock(connection, address)
    if row is None or row.suppressed_at is None:
        return False
    memory = _read(row.detail)
    detail = _write(Memory(words=memory.words, seen=dict.fromkeys(memory.seen, 0)))
    values = {"suppressed_at": None, "bounces": 0, "detail": detail, "updated_at": now_ms}
    connection.execute(update(suppressions).where(_is(address)).values(**values))
    return True


def words_of(row: Any) -> str:
    """Return what the other side said, as a row remembers it."""
    return _read(row.detail).words


def _lock(connection: Connection, address: str) -> Any:
    return connection.execute(select(suppressions).where(_is(address)).with_for_update()).one_or_none()


def _is(address: str) -> Any:
    return suppressions.c.address_digest == _digest(address)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _weaker(reason: Reason) -> list[str]:
    reasons = list(Reason)
    return [weaker.value for weaker in reasons[: reasons.index(reason)]]


def _read(detail: str | None) -> Memory:
    # Whoever suppressed an address by hand may have written anything.
    with suppress(ValueError):
        return msgspec.json.decode(detail or "", type=Memory)
    return Memory()


def _write(memory: Memory) -> str:
    cut = msgspec.structs.replace(memory, words=memory.words[:LONGEST_WORDS])
    return msgspec.json.encode(cut).decode()
