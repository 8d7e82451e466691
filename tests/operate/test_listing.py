"""What an operator sees of jobs: which there are, and one with its data, without secrets or addresses."""

import json
from random import Random
from typing import Any

import pytest
from sqlalchemy import update

from chalicelib.queue.job import Job, Status
from chalicelib.queue.outbox import enqueue_many
from chalicelib.schema import jobs
from tests.operate.conftest import Desk
from tests.queue.samples import rows_read
from tests.servers import on_each_server
from tests.sweep import some

ADDRESS, MASKED = "jane.doe@mail.example.org", "j***@mail.example.org"
REDACTED = "[redacted]"


def listed(desk: Desk, **request: Any) -> list[str]:
    return [job["id"] for job in desk.ask("list", **request)["jobs"]]


def test_those_given_up_are_listed_newest_first_without_their_data(desk: Desk) -> None:
    older = desk.give_up(data={"name": "Private"})
    desk.kit.clock.advance(1)
    newer = desk.give_up("wave", idempotency_key="wave 1", queue="work")
    desk.kit.clock.advance(1)
    desk.kit.enqueue("greet", {"name": "Waiting"})
    first, second = desk.ask("list")["jobs"]
    assert (first["id"], second["id"]) == (newer, older)
    assert first == {
        "id": newer,
        "type": "wave",
        "status": "dead",
        "queue": "work",
        "attempts": 1,
        "last_error": "PermanentError: it broke",
        "idempotency_key": "wave 1",
        "created_at": "2026-03-02T12:00:01Z",
        "due_at": None,
        "expires_at": None,
        "started_at": "2026-03-02T12:00:01Z",
        "ended_at": "2026-03-02T12:00:01Z",
        "completed_at": None,
    }
    assert "Private" not in json.dumps(second)


def test_of_jobs_that_are_equally_new_the_ids_give_the_order(desk: Desk) -> None:
    ids = [desk.insert(id=id_, status="dead") for id_ in ("c", "a", "b")]
    assert listed(desk) == sorted(ids, reverse=True)


@pytest.mark.parametrize("status", Status)
def test_a_status_selects_those_that_stand_there(desk: Desk, status: Status) -> None:
    for each in Status:
        desk.insert(id=f"is {each}", status=each.value)
    assert listed(desk, status=status) == [f"is {status}"]


def test_all_lists_jobs_wherever_they_stand(desk: Desk) -> None:
    ids = [desk.insert(id=f"is {each}", status=each.value) for each in Status]
    assert listed(desk, status="all") == sorted(ids, reverse=True)


@on_each_server
def test_a_list_reads_about_as_many_rows_as_it_shows(desk: Desk) -> None:
    for status in Status:
        desk.insert(id=f"is {status}", status=status)
    with desk.kit.context().database.begin() as connection:
        ids = enqueue_many(connection, [Job(type="greet", payload={}) for _ in range(2000)])
        half = update(jobs).where(jobs.c.id.in_(ids[:1000]))
        connection.execute(half.values(status="dead", created_at=5, ended_at=5, dispatch_at=None))
    place: dict[str, Any] = {}
    for _ in range(3):
        before = rows_read(desk.kit)
        answer = desk.ask("list", status="all", limit=20, **place)
        assert rows_read(desk.kit) - before < 600
        place = {"after": answer["next"]}
    before = rows_read(desk.kit)
    desk.ask("list", limit=20)
    assert rows_read(desk.kit) - before < 100


@pytest.mark.parametrize("seed", some(4, of=100))
def test_pages_of_all_jobs_hold_each_once_the_newest_first(desk: Desk, seed: int) -> None:
    random = Random(seed)
    statuses = [*Status, "theirs"]
    expected = []
    for n in range(random.randint(0, 40)):
        created_at = random.randint(1, 8)
        id_ = desk.insert(id=f"{n:02}", status=random.choice(statuses), created_at=created_at)
        expected.append((created_at, id_))
    found: list[str] = []
    place: dict[str, Any] = {}
    while True:
        answer = desk.ask("list", status="all", limit=7, **place)
        found += [job["id"] for job in answer["jobs"]]
        if "next" not in answer:
            break
        place = {"after": answer["next"]}
    assert found == [id_ for _, id_ in sorted(expected, reverse=True)]


def test_without_a_status_other_ids_than_of_those_given_up_find_nothing(desk: Desk) -> None:
    waiting, dead = desk.insert(id="waiting"), desk.insert(id="dead", status="dead")
    assert listed(desk, ids=[waiting]) == []
    assert listed(desk, ids=[waiting, dead, "nobody's"]) == [dead]
    assert listed(desk, ids=[waiting, dead], status="all") == [waiting, dead]


def test_ids_type_and_words_narrow_each_other(desk: Desk) -> None:
    rows: dict[str, dict[str, Any]] = {
        "1": {"type": "greet", "last_error": "it broke"},
        "2": {"type": "wave", "last_error": "it broke"},
        "3": {"type": "greet", "last_error": "too late"},
        "4": {"type": "greet", "last_error": None},
    }
    for id_, row in rows.items():
        desk.insert(id=id_, status="dead", **row)
    assert listed(desk, type="greet") == ["4", "3", "1"]
    assert listed(desk, error="broke") == ["2", "1"]
    assert listed(desk, type="greet", error="broke") == ["1"]
    assert listed(desk, ids=["2", "3"], error="broke") == ["2"]
    assert listed(desk, type="wave", error="late") == []


def test_a_type_that_was_never_heard_of_is_no_empty_list(desk: Desk) -> None:
    desk.insert(id="1", type="wave", status="completed")
    # Of a type that has a handler, or had one, there is none at the moment.
    assert listed(desk, type="greet") == listed(desk, type="wave") == []
    for command in ("list", "retry", "forget"):
        assert desk.refusal(command, type="send_emial").startswith("there is no handler for jobs of")
        assert desk.refusal(command, type="send_emial").endswith("; did you mean send_email?")


ERRORS = {
    "1": "100% of it",
    "2": "1000 of it",
    "3": "no_name",
    "4": "no name",
    "5": r"C:\temp\new",
    "6": "C:/temp/new",
    "7": "it's",
    "8": 'a "word"',
    "9": "drøm 😀",
}


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("%", ["1"]),
        ("0% of", ["1"]),
        ("_", ["3"]),
        ("no_n", ["3"]),
        ("\\", ["5"]),
        (r"\temp\n", ["5"]),
        ("/", ["6"]),
        ("/%", []),
        ("'", ["7"]),
        ("' OR '1'='1", []),
        ('"word"', ["8"]),
        ("😀", ["9"]),
        ("of it", ["2", "1"]),
        ("nowhere", []),
    ],
)
def test_words_of_an_error_are_found_as_they_are(desk: Desk, words: str, ids: list[str]) -> None:
    for id_, error in ERRORS.items():
        desk.insert(id=id_, status="dead", last_error=error)
    assert listed(desk, error=words) == ids


def test_a_list_goes_on_where_its_limit_ended_it(desk: Desk) -> None:
    ids = [desk.insert(id=f"{n:02}", created_at=n // 3) for n in range(10)]
    found: list[str] = []
    after: dict[str, Any] = {}
    while True:
        answer = desk.ask("list", status="all", limit=4, **after)
        found += [job["id"] for job in answer["jobs"]]
        if "next" not in answer:
            break
        after = {"after": answer["next"]}
    assert found == listed(desk, status="all", limit=1000)
    assert sorted(found) == ids


def test_a_limit_keeps_the_newest(desk: Desk) -> None:
    for n in range(60):
        desk.insert(id=f"{n:02}", status="dead", created_at=n)
    assert listed(desk, limit=2) == ["59", "58"]
    assert len(listed(desk)) == 50
    assert len(listed(desk, limit=1000)) == 60


def test_no_address_stands_in_a_list(desk: Desk) -> None:
    desk.give_up(error=f"no reader {ADDRESS}", idempotency_key=f"welcome {ADDRESS}")
    (job,) = desk.ask("list")["jobs"]
    assert job["last_error"] == f"PermanentError: no reader {MASKED}"
    assert job["idempotency_key"] == f"welcome {MASKED}"


@pytest.mark.parametrize("moment", [1_456_000_000_000_000, 9_000_000_000_000_000_000, -9_000_000_000_000_000_000])
def test_a_producer_who_counts_in_another_unit_hides_no_other_job(desk: Desk, moment: int) -> None:
    desk.insert(id="theirs", status="dead", created_at=moment, expires_at=moment)
    ours = desk.give_up()
    jobs = {job["id"]: job for job in desk.ask("list")["jobs"]}
    assert set(jobs) == {"theirs", ours}
    assert jobs["theirs"]["created_at"] == f"{moment} ms"
    assert desk.ask("show", id="theirs")["expires_at"] == f"{moment} ms"


def test_a_job_is_shown_with_its_data_and_what_else_its_message_said(desk: Desk) -> None:
    message = {"type": "greet", "data": {"name": "Ann", "n": 1, "ok": True, "none": None}, "id": "one"}
    desk.kit.send(message | {"tags": ["vip"], "source": "shop", "colour": "red"})
    desk.kit.drain()
    shown = desk.ask("show", id="one")
    assert shown["status"] == "completed"
    assert shown["completed_at"] == "2026-03-02T12:00:00Z"
    assert shown["data"] == message["data"]
    assert shown["envelope"] == {"tags": ["vip"], "source": "shop", "colour": "red"}


def test_secrets_are_redacted_by_their_keys_however_deep_and_addresses_masked(desk: Desk) -> None:
    data = {
        "name": "Ann",
        "Password": "hunter2",
        "cards": [{"cardNumber": "hunter2", "holder": ADDRESS}],
        "headers": {"Authorization": "Bearer hunter2", "x-api-key": ["hunter2"], "accept": "text/plain"},
        "deep": {"deeper": {"deepest": [{"client_secret": {"value": "hunter2"}}]}},
        "readers": {ADDRESS: 1},
        "body": '{"token": "hunter2"}',
    }
    desk.kit.send({"type": "greet", "data": data, "id": "one", "authToken": "hunter2", "reply_to": ADDRESS})
    desk.kit.drain()
    shown = desk.ask("show", id="one")
    assert shown["data"] == {
        "name": "Ann",
        "Password": REDACTED,
        "cards": [{"cardNumber": REDACTED, "holder": MASKED}],
        "headers": {"Authorization": REDACTED, "x-api-key": REDACTED, "accept": "text/plain"},
        "deep": {"deeper": {"deepest": [{"client_secret": REDACTED}]}},
        "readers": {MASKED: 1},
        "body": f'{{"token": {REDACTED}}}',
    }
    assert shown["envelope"] == {"authToken": REDACTED, "reply_to": MASKED}


@pytest.mark.parametrize(
    "body",
    [
        '{"type": "greet", "data": {"name": "Ann", "password": "hunter2"',
        '{"type": "greet", "data": {"name": "Ann", "password": {"value": "hunter2"}',
        '{"type": "greet", "data": "{\\"name\\": \\"Ann\\", \\"password\\": \\"hunter2\\"}", "v": 2}',
        '{"type": "greet", "data": {"name": "Ann", "password": "hunter2", "n": NaN}}',
        '{"type": "greet", "data": {"name": "Ann", "n": 1, "n": 2, "password": "hunter2"}}',
        '{"type": "Not A Type", "data": {"name": "Ann", "password": "hunter2"}}',
        '[{"name": "Ann", "password": "hunter2"}]',
        "name=Ann&password=hunter2",
    ],
)
def test_a_message_that_nobody_could_read_is_shown_without_its_secrets(desk: Desk, body: str) -> None:
    job_id = desk.kit.send(body)
    desk.kit.drain()
    shown = desk.ask("show", id=job_id)
    assert (shown["type"], shown["status"]) == ("invalid", "dead")
    text = json.dumps(shown)
    assert "Ann" in text
    assert "hunter2" not in text


def test_text_that_is_no_json_at_all_is_shown_with_addresses_masked(desk: Desk) -> None:
    job_id = desk.kit.send(f"hello {ADDRESS}")
    desk.kit.drain()
    assert desk.ask("show", id=job_id)["data"] == f"hello {MASKED}"


@pytest.mark.parametrize("envelope", ["no JSON", "[1]", '"text"', "5", '{"a": NaN}'])
def test_a_row_with_a_strange_envelope_is_shown_all_the_same(desk: Desk, envelope: str) -> None:
    job_id = desk.insert(envelope=envelope)
    shown = desk.ask("show", id=job_id)
    assert shown["data"] == {"name": "Ann"}
    assert str(shown["envelope"]).replace("'", '"') in {envelope, envelope.strip('"')}


def test_looking_changes_nothing(desk: Desk) -> None:
    job_id = desk.give_up()
    before = desk.state()
    desk.ask("list", status="all")
    desk.ask("show", id=job_id)
    assert desk.state() == before
