"""Jobs that the application performs: what it is sent, what becomes of a job by its answer, and while it is away."""

import base64
import hashlib
import hmac
import itertools
import socket
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import pytest

from chalicelib.core.clock import iso
from chalicelib.core.config import ApplicationJobsSettings, Environment
from chalicelib.core.errors import ConfigurationError, Snooze
from chalicelib.core.http import LimitedSocket, WaitLimit
from chalicelib.core.http import send as send_request
from chalicelib.queue import breaker
from chalicelib.queue.application import MAX_ATTEMPTS, MAX_RESULT, application_job
from chalicelib.queue.breaker import EXCUSED_MS, OPENS_AFTER, Breaker
from nightshift.local.servers import free_port
from nightshift.testkit.kit import DEAD, NOON, Kit
from tests.queue.receiving import Answer, Application, Call, application
from tests.queue.samples import dead_letters, fail, handle, left, statuses

KEYS = [b"k" * 32, b"o" * 24]
SECRETS = ",".join(f"whsec_{base64.b64encode(key).decode()}" for key in KEYS)


@pytest.fixture
def app() -> Iterator[Application]:
    with application() as server:
        yield server


@pytest.fixture
def kit(database_url: str, app: Application) -> Kit:
    return at(database_url, app.url)


def at(database_url: str, url: str, **settings: str) -> Kit:
    given: Any = {"APP_JOBS_URL": url, "APP_JOBS_SECRETS": SECRETS, "APP_JOBS_PRIVATE": "on"} | settings
    return Kit(database_url, **given)


def send(kit: Kit, type_: str = "resize", **values: Any) -> str:
    return kit.send({"type": type_, "data": {"width": 200}} | values)


def failing(kit: Kit) -> Breaker | None:
    return kit.context().database.autocommit(breaker.read).get("APP_JOBS_URL")


def attempt(kit: Kit, answer: Answer, app: Application) -> Any:
    """Have one job answered so, once, and return its row."""
    app.answer = lambda call: answer
    job_id = send(kit)
    kit.drain()
    return kit.job(job_id)


def test_a_job_without_a_handler_goes_to_the_application(kit: Kit, app: Application) -> None:
    sent = send(kit, tags=["a"], traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    kit.drain()
    assert statuses(kit) == {sent: "completed"}
    (call,) = app.calls
    trace = call.job.pop("traceparent")
    assert trace.startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert {key: value for key, value in call.job.items() if key != "traceparent"} == {
        "id": sent,
        "type": "resize",
        "data": {"width": 200},
        "attempt": 1,
        "deadline": iso(NOON + timedelta(seconds=30)),
        "tags": ["a"],
    }
    assert call.headers["content-type"] == "application/json"


def test_a_call_is_signed_with_each_key_as_standard_webhooks_says(kit: Kit, app: Application) -> None:
    sent = send(kit)
    kit.drain()
    (call,) = app.calls
    timestamp = str(int(NOON.timestamp()))
    signed = f"{sent}.{timestamp}.".encode() + call.body
    signatures = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in KEYS]
    assert call.headers["webhook-id"] == sent
    assert call.headers["webhook-timestamp"] == timestamp
    assert call.headers["webhook-signature"] == " ".join(f"v1,{signature}" for signature in signatures)


def test_a_type_that_has_a_handler_does_not_go_to_the_application(kit: Kit, app: Application) -> None:
    begun = handle(kit)
    kit.send({"type": "note", "data": {}})
    kit.drain()
    assert (len(begun), app.calls) == (1, [])


def test_only_listed_types_go_to_the_application(database_url: str, app: Application) -> None:
    kit = at(database_url, app.url, APP_JOBS_TYPES="resize, crop")
    send(kit, "crop")
    other = send(kit, "shrink")
    kit.drain()
    assert [call.job["type"] for call in app.calls] == ["crop"]
    assert kit.job(other).status == "dead"


def test_a_declared_handler_has_a_policy_of_its_own(kit: Kit, app: Application) -> None:
    kit.handlers["resize"] = application_job("resize", max_attempts=1)
    app.always(500)
    sent = send(kit)
    kit.drain()
    assert (kit.job(sent).status, len(app.calls)) == ("dead", 1)


@pytest.mark.parametrize(
    "body", [b'{"url": "/small.png"}', b"[1, 2]", b'"\xc3\xbc"', b'"' + b"x" * (MAX_RESULT - 2) + b'"']
)
def test_json_in_the_answer_is_kept_as_the_result(kit: Kit, app: Application, body: bytes) -> None:
    row = attempt(kit, Answer(body=body), app)
    assert (row.status, row.result) == ("completed", body.decode())


@pytest.mark.parametrize("body", [b"", b"<p>OK</p>", b"\xff", b'"' + b"x" * MAX_RESULT + b'"'])
@pytest.mark.parametrize("status", [200, 204, 299])
def test_another_answer_completes_a_job_without_a_result(kit: Kit, app: Application, body: bytes, status: int) -> None:
    row = attempt(kit, Answer(status=status, body=b"" if status == 204 else body), app)
    assert (row.status, row.result) == ("completed", None)


def test_an_endless_answer_completes_a_job(kit: Kit, app: Application) -> None:
    row = attempt(kit, Answer(body=itertools.repeat(b"x" * 10_000)), app)
    assert (row.status, row.result) == ("completed", None)


@pytest.mark.parametrize("status", [400, 410, 422])
def test_a_refused_job_is_dead_with_the_answer_as_its_reason(kit: Kit, app: Application, status: int) -> None:
    row = attempt(kit, Answer(status=status, body=b"no such\n picture"), app)
    assert (row.status, row.attempts) == ("dead", 1)
    assert [reason for _, reason in dead_letters(kit)] == [f"the application answered {status}: no such picture"]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", ["90", format_datetime(NOON + timedelta(seconds=90), usegmt=True)])
def test_a_busy_application_says_when_it_wants_the_job_again(
    kit: Kit, app: Application, status: int, after: str
) -> None:
    row = attempt(kit, Answer(status=status, headers={"Retry-After": after}), app)
    assert (row.status, row.attempts, left(kit)) == ("pending", 0, [90])
    app.always(200)
    kit.clock.advance(90)
    kit.drain()
    assert (kit.job(row.id).status, kit.job(row.id).attempts) == ("completed", 1)


@pytest.mark.parametrize("after", ["soon", "-1", "1e3", "", "²", "Wed, 99 Foo"])
def test_a_wait_that_cannot_be_read_is_left_to_the_policy(kit: Kit, app: Application, after: str) -> None:
    row = attempt(kit, Answer(status=429, headers={"Retry-After": after}), app)
    assert (row.status, row.attempts) == ("failed", 1)


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 501])
def test_every_other_answer_counts_and_is_tried_again(kit: Kit, app: Application, status: int) -> None:
    row = attempt(kit, Answer(status=status, body=b"oops"), app)
    assert (row.status, row.attempts, row.last_error) == (
        "failed",
        1,
        f"TransientError: the application answered {status}: oops",
    )
    kit.settle()
    assert (kit.job(row.id).status, kit.job(row.id).attempts, failing(kit)) == ("dead", MAX_ATTEMPTS, None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(kit: Kit, app: Application, status: int) -> None:
    row = attempt(kit, Answer(status=status, headers={"Location": "/elsewhere"}), app)
    assert (row.status, len(app.calls)) == ("failed", 1)
    assert "redirects are not followed: correct APP_JOBS_URL" in row.last_error


@pytest.mark.parametrize("parallel", [1, 3])
def test_connections_are_kept_alive(kit: Kit, app: Application, parallel: int) -> None:
    kit.handlers["resize"] = application_job("resize", parallel=parallel)
    for _ in range(10):
        send(kit)
    kit.drain()
    assert len(app.calls) == 10
    assert len({call.port for call in app.calls}) <= parallel


def test_a_call_leaves_in_one_piece() -> None:
    # In two, the second waits on a connection that is used again: the other side acknowledges the first only later.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        limited = LimitedSocket(ours, WaitLimit(10), max_bytes=1000)
        send_request(limited, urlsplit("http://shop/jobs"), "POST", headers={}, body=b'{"id": 1}')
        sent = theirs.recv(10_000)
    assert sent.startswith(b"POST /jobs HTTP/1.1\r\n")
    assert sent.endswith(b'\r\n\r\n{"id": 1}')


def test_fewer_at_once_where_the_setting_says_so(database_url: str, app: Application) -> None:
    kit = at(database_url, app.url, APP_JOBS_PARALLEL="2")
    for _ in range(10):
        send(kit)
    kit.drain()
    assert len(app.calls) == 10
    assert len({call.port for call in app.calls}) <= 2


def test_ten_jobs_of_a_batch_are_performed_at_once(kit: Kit, app: Application) -> None:
    all_there = Barrier(10, timeout=30)

    def wait(_call: Call) -> Answer:
        all_there.wait()
        return Answer()

    app.answer = wait
    for type_ in ("resize", "crop"):
        for _ in range(5):
            send(kit, type_)
    kit.drain()
    assert set(statuses(kit).values()) == {"completed"}


def test_a_connection_that_the_application_closed_is_not_used_again(kit: Kit, app: Application) -> None:
    app.always(200, b"{}", Connection="close")
    for _ in range(3):
        send(kit)
    kit.drain()
    assert set(statuses(kit).values()) == {"completed"}
    assert len({call.port for call in app.calls}) == 3


def cut_off(_call: Call) -> Answer:
    return Answer(body=[b"{"], headers={"Content-Length": "100"})


@pytest.mark.parametrize("answer", [lambda _: Answer(status=None), cut_off, lambda _: Answer(status=502)])
def test_whoever_crashes_the_application_loses_one_attempt_and_is_not_dead(
    kit: Kit, app: Application, answer: Any
) -> None:
    app.answer = answer
    job_id = send(kit)
    kit.drain()
    assert (kit.job(job_id).status, kit.job(job_id).attempts) == ("failed", 1)
    kit.settle(minutes=60)
    assert (kit.job(job_id).status, kit.job(job_id).attempts, kit.sqs.messages(DEAD)) == ("failed", 1, [])


def test_a_job_that_crashes_an_application_that_works_is_dead_after_its_attempts(kit: Kit, app: Application) -> None:
    app.answer = lambda call: Answer(status=None if call.job["data"]["width"] == 0 else 200)
    bad = send(kit, data={"width": 0})
    while kit.job(bad).status != "dead" if kit.jobs() else True:
        # Others are done in between.
        kit.drain()
        send(kit)
        kit.drain()
        kit.clock.advance(60)
        kit.dispatch()
    assert [call.job["attempt"] for call in app.calls if call.job["id"] == bad] == list(range(1, MAX_ATTEMPTS + 1))
    assert (len(dead_letters(kit)), failing(kit)) == (1, None)


def test_an_application_that_never_answers_ends_with_the_time_limit(kit: Kit, app: Application) -> None:
    kit.handlers["resize"] = application_job("resize", timeout_seconds=0.2)

    def wait(_call: Call) -> Answer:
        app.stopped.wait()
        return Answer()

    app.answer = wait
    job_id = send(kit)
    kit.drain()
    assert kit.job(job_id).status == "failed"
    assert "took longer than the 0.2 s" in kit.job(job_id).last_error


def test_an_application_that_is_away_for_an_hour_makes_nobody_dead(database_url: str) -> None:
    port = free_port()
    kit = at(database_url, f"http://127.0.0.1:{port}/jobs")
    waiting = [send(kit) for _ in range(25)]
    kit.settle(minutes=60)
    assert {(job.status, job.attempts) for job in kit.jobs()} == {("pending", 0)}
    found = failing(kit)
    assert found is not None
    assert (found.is_open, found.failing_since) == (True, round(NOON.timestamp() * 1000))
    assert "cannot be reached: there is no connection to 127.0.0.1: " in found.reason
    with application() as back:
        kit.environment["APP_JOBS_URL"] = back.url
        kit.settle(minutes=5)
        assert statuses(kit) == dict.fromkeys(waiting, "completed")
        assert sorted(call.job["id"] for call in back.calls) == sorted(waiting)
    assert (failing(kit), kit.sqs.messages(DEAD)) == (None, [])


def test_while_it_is_away_one_job_a_minute_is_tried(kit: Kit, app: Application) -> None:
    app.always(502)
    for _ in range(30):
        send(kit)
    kit.drain()
    # Those that were under way when it went.
    assert len(app.calls) == 10
    for n in range(1, 6):
        kit.clock.advance(60)
        kit.dispatch()
        kit.drain()
        assert len(app.calls) == 10 + n
    assert kit.sqs.messages("https://sqs.example/work") == []


def test_new_jobs_wait_while_it_is_away(kit: Kit, app: Application) -> None:
    app.always(502)
    for _ in range(OPENS_AFTER):
        send(kit)
    kit.drain()
    app.always(200)
    late = send(kit)
    kit.drain()
    assert (kit.job(late).status, kit.job(late).attempts) == ("pending", 0)
    kit.settle(minutes=5)
    assert set(statuses(kit).values()) == {"completed"}


def test_jobs_with_handlers_of_their_own_go_on_while_it_is_away(kit: Kit, app: Application) -> None:
    app.always(502)
    begun = handle(kit)
    for _ in range(OPENS_AFTER + 1):
        send(kit)
    kit.drain()
    kit.enqueue("note", {"text": 1})
    kit.drain()
    assert len(begun) == 1


def test_a_worker_that_is_killed_while_it_tries_makes_room_for_another(kit: Kit, app: Application) -> None:
    app.always(502)
    jobs = [send(kit) for _ in range(5)]
    kit.drain()
    app.always(200)
    kit.clock.advance(60)
    kit.dispatch()
    with kit.killed_at("begin"):
        kit.drain()
    kit.settle(minutes=30)
    assert statuses(kit) == dict.fromkeys(jobs, "completed")


def test_after_a_day_it_is_the_jobs_that_are_given_up(database_url: str) -> None:
    kit = at(database_url, f"http://127.0.0.1:{free_port()}/jobs")
    job_id = send(kit)
    kit.settle(minutes=EXCUSED_MS // 60_000 - 60)
    assert (kit.job(job_id).status, kit.job(job_id).attempts) == ("pending", 0)
    kit.settle(minutes=1440)
    assert (kit.job(job_id).status, kit.job(job_id).attempts) == ("dead", MAX_ATTEMPTS)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"APP_JOBS_PRIVATE": "off", "APP_JOBS_URL": "https://localhost:9/jobs"},
            "not an address that may be connected",
        ),
        ({"APP_JOBS_URL": "http://nowhere.invalid/jobs"}, "nowhere.invalid has no address"),
    ],
)
def test_a_wrong_address_makes_nobody_dead(database_url: str, settings: dict[str, str], sentence: str) -> None:
    kit = at(database_url, "http://127.0.0.1:9/jobs", **settings)
    job_id = send(kit)
    kit.drain()
    assert kit.job(job_id).status == "pending"
    found = failing(kit)
    assert found is not None
    assert sentence in found.reason


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"APP_JOBS_URL": "https://app.example/jobs"}, "APP_JOBS_SECRETS is not set"),
        ({"APP_JOBS_URL": "http://app.example/jobs", "APP_JOBS_SECRETS": SECRETS}, "must begin with https://"),
        ({"APP_JOBS_SECRETS": "k" * 40}, "of the form whsec_"),
        ({"APP_JOBS_SECRETS": "whsec_c2hvcnQ="}, "of the form whsec_"),
        ({"APP_JOBS_SECRETS": "whsec_!"}, "of the form whsec_"),
        ({"APP_JOBS_PRIVATE": "yes"}, "APP_JOBS_PRIVATE must be one of on, off"),
    ],
)
def test_settings_that_are_wrong_are_named(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Environment(settings).read(ApplicationJobsSettings)


def test_a_handler_may_put_its_job_off_without_losing_an_attempt(kit: Kit) -> None:
    fail(kit, Snooze("the provider is busy", seconds=90), max_attempts=1)
    job_id = kit.enqueue("note", {})
    kit.drain()
    row = kit.job(job_id)
    assert (row.status, row.attempts, row.last_error, left(kit)) == ("pending", 0, "the provider is busy", [90])
    begun = handle(kit, max_attempts=1)
    kit.clock.advance(90)
    kit.drain()
    assert ([job.attempt for job in begun], kit.job(job_id).status) == ([1], "completed")
