"""The whole status is read at one moment, in few queries, however long the history is."""

import time
from pathlib import Path

from sqlalchemy import event

from nightshift.demo.history import fill_history
from nightshift.testkit.kit import Kit
from tests.operate.status.conftest import NOW, PLANNED, Deployment
from tests.operate.status.samples import html

# Of a page that somebody waits for; the machine of the tests may be busy.
SECONDS = 3.0
QUERIES = 12


def queries_of(deployment: Deployment) -> list[str]:
    """Return the statements that reading the status takes."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    engine = deployment.kit.context().database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        deployment.read()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return found


def test_a_history_of_thousands_of_runs_takes_as_few_queries_as_none(deployment: Deployment) -> None:
    nothing = queries_of(deployment)
    assert len(nothing) == QUERIES
    deployment.kit.context().database.transact(
        lambda connection: fill_history(connection, deployment.planned, now=NOW, seed=1, is_well=False)
    )
    full = queries_of(deployment)
    assert len(full) == QUERIES
    assert all(statement.lstrip().upper().startswith("SELECT") for statement in full)


def test_no_text_is_asked_for_through_a_subquery_for_which_mariadb_may_crash(with_history: Deployment) -> None:
    nested = [statement for statement in queries_of(with_history) if "FROM (SELECT" in statement.replace("\n", "")]
    assert nested
    assert not any(column in statement for statement in nested for column in (".error,", ".error ", "last_error"))


def test_a_history_of_thousands_of_runs_is_read_and_drawn_at_once(with_history: Deployment) -> None:
    started = time.monotonic()
    source = html(with_history.read())
    assert time.monotonic() - started < SECONDS
    assert len(source) < 100_000


def test_every_query_of_runs_finds_its_rows_by_an_index(tmp_path: Path) -> None:
    deployment = Deployment(kit=Kit(f"sqlite:///{tmp_path / 'test.db'}"), planned=PLANNED)
    database = deployment.kit.context().database
    plans: list[str] = []

    def explain(_connection: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if " runs" in statement:
            plans.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))  # type: ignore[attr-defined]

    event.listen(database.engine, "before_cursor_execute", explain)
    try:
        deployment.read()
    finally:
        event.remove(database.engine, "before_cursor_execute", explain)
    of_runs = [plan for plan in plans if "runs" in plan]
    assert len(of_runs) > 10
    assert {plan for plan in of_runs if not plan.startswith("SEARCH runs USING INDEX")} == set()


def test_the_same_history_gives_the_same_bytes(with_history: Deployment) -> None:
    assert html(with_history.read()) == html(with_history.read())


def test_without_tasks_there_is_a_status_too(deployment: Deployment) -> None:
    deployment.planned = {}
    deployment.job("dead", ended_at=1)
    status = deployment.read()
    assert (status.tasks, status.headline) == ((), "Not well: 1 job was given up.")
    assert "There are none." in html(status)


def test_a_moment_is_told_to_the_second(deployment: Deployment) -> None:
    deployment.kit.clock.advance(0.7)
    assert deployment.read().read_at == NOW
