"""Who wants the digest: `users.email_digest`, the one column of the application's tables that Nightshift writes."""

from collections.abc import Collection

from sqlalchemy import Connection, select, update

from chalicelib.application import users
from chalicelib.mail.suppressions import is_same


def end(connection: Connection, user_id: str) -> bool:
    """Take a user out, and return whether there is one who wanted it."""
    # A collation finds other spellings of an id too, and a token names one user.
    found = connection.execute(select(users.c.id).where(users.c.id == user_id)).scalars()
    return _end(connection, [id_ for id_ in found if id_ == user_id]) == 1


def end_by_address(connection: Connection, address: str, *, spellings: Collection[str]) -> int:
    """Take out the users who have this address, under one of its spellings, and return how many wanted it."""
    found = connection.execute(select(users.c.id, users.c.email).where(users.c.email.in_(_stored(spellings))))
    # A collation finds the addresses of other people too, whose letters differ by an accent.
    return _end(connection, [row.id for row in found if is_same(row.email, address)])


def _stored(spellings: Collection[str]) -> set[str]:
    # A mail goes to a domain in ASCII; the application may have kept it as its owner writes it.
    return {*spellings, *(_in_letters(spelling) for spelling in spellings)}


def _in_letters(address: str) -> str:
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{domain.encode().decode('idna')}"
    except UnicodeError:
        return address


def _end(connection: Connection, ids: list[str]) -> int:
    wanting = update(users).where(users.c.id.in_(ids), users.c.email_digest.is_(True))
    return connection.execute(wanting.values(email_digest=False)).rowcount
