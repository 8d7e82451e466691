"""A database that loses the answer to one commit."""

import sqlite3
from typing import Any

import pymysql
import pytest
from pymysql.constants import CR
from sqlalchemy import Engine


def lose_one_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next commit succeed but raise an error after which the transaction is repeated."""
    commit = engine.dialect.do_commit
    lost: list[Any] = []

    def lose(connection: Any) -> None:
        commit(connection)
        if not lost:
            lost.append(connection)
            if engine.dialect.name == "sqlite":
                busy = sqlite3.OperationalError("database is locked")
                busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise busy
            raise pymysql.err.OperationalError(CR.CR_SERVER_LOST, "Lost connection")

    monkeypatch.setattr(engine.dialect, "do_commit", lose)
