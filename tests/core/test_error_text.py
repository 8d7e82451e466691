"""What is told of an error: of a database's, the server's own words, and never the statement around them."""

import sqlite3

import pymysql
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from chalicelib.core.error_text import is_named, named, sentence_of
from chalicelib.core.errors import PermanentError, TransientError


def of_mysql(code: int, said: str) -> DBAPIError:
    return OperationalError("SELECT secret FROM users", {"a": 1}, pymysql.err.OperationalError(code, said))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            of_mysql(2003, "Can't connect to MySQL server on 'db' (timed out)"),
            "the database cannot be used: Can't connect to MySQL server on 'db' (timed out) (2003)",
        ),
        (
            of_mysql(1045, "Access denied for user 'shop'@'10.0.0.1' (using password: YES)"),
            "the database cannot be used: Access denied for user 'shop'@'10.0.0.1' (1045)",
        ),
        (of_mysql(1205, "Lock wait timeout exceeded"), "the database says: Lock wait timeout exceeded (1205)"),
        (
            ProgrammingError("SELECT", {}, pymysql.err.ProgrammingError(1146, "Table 'shop.jobs' doesn't exist")),
            "the database says: Table 'shop.jobs' doesn't exist (1146); bring it to the newest schema with nightshift "
            "migrate",
        ),
        # No migration makes what is the application's own.
        (
            OperationalError("SELECT", {}, sqlite3.OperationalError("no such table: users")),
            "the database says: no such table: users",
        ),
        (OperationalError("SELECT", {}, Exception()), "the database says: "),
        (PermanentError("it is too big"), "it is too big"),
        (ValueError("no"), "no"),
    ],
)
def test_it_is_told_in_one_sentence(error: Exception, sentence: str) -> None:
    assert sentence_of(error) == sentence


def test_only_what_says_it_all_goes_without_a_traceback() -> None:
    assert is_named(PermanentError("x"))
    assert is_named(of_mysql(2003, "gone"))
    assert is_named(of_mysql(1146, "Table 'shop.runs' doesn't exist"))
    assert not is_named(of_mysql(1146, "Table 'shop.users' doesn't exist"))
    assert not is_named(of_mysql(1205, "waits"))
    assert not is_named(KeyError("x"))


def test_a_databases_error_becomes_one_of_ours_and_any_other_stays() -> None:
    theirs, other = of_mysql(2003, "gone"), KeyError("x")
    ours = named(theirs)
    assert (type(ours), str(ours), ours.__cause__) == (TransientError, sentence_of(theirs), theirs)
    assert named(other) is other
