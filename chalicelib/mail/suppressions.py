"""Suppressed addresses, which get no mail: after a permanent bounce, several transient ones, or a complaint."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Connection, select, update

from chalicelib.core.database import insert_missing
from chalicelib.core.text import plain_address
from chalicelib.schema import suppressions

# A digest comes daily. Five in a fortnight are more than a mailbox that is full over a weekend, or a holiday's two
# replies. SES counts only permanent bounces against the sender, so waiting for the fifth costs nothing.
TRANSIENT_LIMIT, TRANSIENT_WINDOW_MS = 5, 14 * 86_400_000
# Incidents of an address, and characters. No more fit into the column; after the address is suppressed only mails that
# were already sent can bounce.
MAX_INCIDENTS, MAX_WORDS = 8, 100


class Reason(StrEnum):
    """Why an address is suppressed, from the weakest to the strongest."""

    TRANSIENT = "transient bounce"
    PERMANENT = "permanent bounce"
    COMPLAINT = "complaint"


@dataclass(frozen=True, kw_only=True)
class Incident:
    """A bounce or complaint of one normalized address: its reason, its mail, its time and the server's words.

    `spellings` are those that the sender and SES used.
    """

    address: str
    spellings: frozenset[str]
    reason: Reason
    message_id: str
    at_ms: int
    words: str


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """The column `detail`: the last words, and the time of each incident; 0 for one from before it was lifted."""

    words: str = ""
    seen: dict[str, int] = {}


def normalize(text: str) -> str:
    """Return the form in which an address is stored. Raises ValueError if it is not one plain address."""
    # Local parts may by the standard differ by case alone; no mail provider of today allows that.
    return plain_address(text).lower()


def is_same_address(text: object, address: str) -> bool:
    """Return whether any value is another spelling of a normalized address."""
    try:
        return isinstance(text, str) and normalize(text) == address
    except ValueError:
        return False


def among(connection: Connection, addresses: Iterable[str | None]) -> dict[str, str]:
    """Return those of the addresses that are suppressed, as they are spelled here, each with the reason."""
    spellings: dict[str, list[str]] = {}
    for address in filter(None, addresses):
        # An address that is not plain gets no mail anyway.
        with suppress(ValueError):
            spellings.setdefault(_digest(normalize(address)), []).append(address)
    query = select(suppressions.c.address_digest, suppressions.c.reason).where(
        suppressions.c.address_digest.in_(list(spellings)), suppressions.c.suppressed_at.is_not(None)
    )
    return {address: row.reason for row in connection.execute(query) for address in spellings[row.address_digest]}


def record(connection: Connection, incident: Incident, *, now_ms: int) -> bool:
    """Record an incident, suppress its address if that is due, and return whether the incident is new.

    It is new once, however often it is delivered, also after the address has been lifted.
    """
    new = {"address": incident.address, "reason": incident.reason.value, "updated_at": now_ms}
    missing = insert_missing(suppressions, connection.dialect)
    connection.execute(missing.values(address_digest=_digest(incident.address), **new))
    row = _lock(connection, incident.address)
    detail = _read(row.detail)
    key = _digest(f"{incident.reason}\n{incident.message_id}")[:12]
    if key in detail.seen:
        return False
    seen = dict([*detail.seen.items(), (key, incident.at_ms)][-MAX_INCIDENTS:])
    values: dict[str, Any] = {"updated_at": now_ms, "bounces": row.bounces + (incident.reason is Reason.TRANSIENT)}
    words = detail.words
    if row.suppressed_at is None or row.reason in _weaker(incident.reason):
        values["reason"], words = incident.reason.value, incident.words
    # An address that is not suppressed has only transient incidents, and those from before it was lifted.
    recent = sum(at_ms > now_ms - TRANSIENT_WINDOW_MS for at_ms in seen.values())
    if row.suppressed_at is None and (incident.reason is not Reason.TRANSIENT or recent >= TRANSIENT_LIMIT):
        values["suppressed_at"] = now_ms
    values["detail"] = _write(Detail(words=words, seen=seen))
    connection.execute(update(suppressions).where(_is(incident.address)).values(**values))
    return True


def lift(connection: Connection, address: str, *, now_ms: int) -> bool:
    """Allow mail to a normalized address again, with no bounces counted; return whether it was suppressed."""
    row = _lock(connection, address)
    if row is None or row.suppressed_at is None:
        return False
    detail = _read(row.detail)
    lifted = _write(Detail(words=detail.words, seen=dict.fromkeys(detail.seen, 0)))
    values = {"suppressed_at": None, "bounces": 0, "detail": lifted, "updated_at": now_ms}
    connection.execute(update(suppressions).where(_is(address)).values(**values))
    return True


def words_of(row: Any) -> str:
    """Return the server's words that a row has stored."""
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


def _read(detail: str | None) -> Detail:
    # A row that was written by hand may have any text here.
    with suppress(ValueError):
        return msgspec.json.decode(detail or "", type=Detail)
    return Detail()


def _write(detail: Detail) -> str:
    cut = msgspec.structs.replace(detail, words=detail.words[:MAX_WORDS])
    return msgspec.json.encode(cut).decode()
