"""Suppressed addresses, as an operator sees and lifts them."""

from typing import Annotated, Any

import msgspec
from sqlalchemy import select

from chalicelib.core.clock import from_ms, iso
from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.redaction import mask_addresses
from chalicelib.mail import suppressions
from chalicelib.operate.operations import Command
from chalicelib.schema import suppressions as table

MOST = 1000


class Newest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 50


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One address, in any spelling."""

    address: str


def list_suppressions(context: Context, request: Newest) -> dict[str, Any]:
    """Return the addresses that no mail goes to, masked, the newest first."""
    newest = select(table).where(table.c.suppressed_at.is_not(None))
    newest = newest.order_by(table.c.suppressed_at.desc(), table.c.address_digest).limit(request.limit)
    rows = context.database.autocommit(lambda connection: connection.execute(newest).all())
    return {"suppressions": [_describe(row) for row in rows]}


def lift(context: Context, request: Address) -> dict[str, Any]:
    """Let mail go to an address again, and return whether it was suppressed."""
    try:
        address = suppressions.normalize(request.address)
    except ValueError as error:
        raise InvalidRequestError(f"address is {error}") from None
    now_ms = context.clock.now_ms()
    return {
        "lifted": context.database.transact(lambda connection: suppressions.lift(connection, address, now_ms=now_ms))
    }


def _describe(row: Any) -> dict[str, Any]:
    return {
        "address": mask_addresses(row.address),
        "reason": row.reason,
        "words": mask_addresses(suppressions.words_of(row)),
        "bounces": row.bounces,
        "suppressed_at": iso(from_ms(row.suppressed_at)),
    }


COMMANDS: dict[str, Command] = {
    "suppressions.list": (Newest, list_suppressions),
    "suppressions.lift": (Address, lift),
}
