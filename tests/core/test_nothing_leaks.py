"""Redaction: whatever is planted where secrets and addresses come to stand, nothing that a function says tells it."""

import io
import json
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
from botocore.exceptions import ClientError
from sqlalchemy import text
from sqlalchemy.exc import StatementError

import app
from chalicelib.application import metadata
from chalicelib.core.context import Context
from chalicelib.core.errors import PermanentError, RunFailedError, TransientError
from chalicelib.core.telemetry import logger
from chalicelib.operate import commands_of, operate
from chalicelib.queue.handler import Handler
from chalicelib.runs.claims import Run
from nightshift.local.invocation import invoke, sns_event, sqs_event
from nightshift.local.servers import free_port
from nightshift.testkit.kit import Kit
from tests.mail.test_feedback import bounce
from tests.runs.plan import Plan, utc
from tests.servers import on_each_server
from tests.tasks.external_sync.upstream import Reply, Upstream, upstream
from tests.world import World

# Whatever is planted has this word in it.
PLANTED = "planted"
ADDRESS = f"jane.{PLANTED}@mail.example.org"
# What an error's text may hold, and in which it may stand.
TEXTS = {
    "a URL's password": f"mysql+pymysql://app:{PLANTED}@db.example:3306/app",
    "a password with signs": f"redis://:a@b:/{PLANTED}@10.0.0.7:6379",
    "a URL's user": f"https://{PLANTED}@o1.ingest.example/api/1",
    "a query": f"https://api.example/items?page=2&token={PLANTED}&key={PLANTED}",
    "a signed link": f"https://b.s3.example/k?X-Amz-Credential={PLANTED}&X-Amz-Signature={PLANTED}",
    "a header": f"Authorization: Bearer {PLANTED}",
    "headers": repr({"Authorization": f"Basic {PLANTED}", "Cookie": f"id={PLANTED}"}),
    "cookies": f"Cookie: theme=dark; sid={PLANTED}; last={PLANTED}",
    "a digest": f'Authorization: Digest username="app", nonce="1", response="{PLANTED}"',
    "bytes": repr({"token": PLANTED.encode()}),
    "settings": f"UNSUBSCRIBE_SECRETS={PLANTED},{PLANTED} and BACKUP_KEY={PLANTED}=,{PLANTED}=",
    "an address in a query": f"https://api.example/users?email=jane.{PLANTED}%40mail.example.org",
    "a quoted address": f'"jane {PLANTED}"@mail.example.org',
    "pairs": repr([("X-Api-Key", PLANTED)]),
    "a token by itself": f"the server does not know Bearer {PLANTED}.x.y",
    "a statement": f"near 'password = '{PLANTED}' WHERE email = '{ADDRESS}'' at line 1",
    "a column": f"near 'UPDATE `users` SET `password` = '{PLANTED}'' at line 1",
    "a scheme": f"Authorization: token {PLANTED}, and Proxy-Authorization: GenieKey {PLANTED}",
    "a list of headers": json.dumps([{"name": "Authorization", "value": f"Token {PLANTED}"}]),
    "tags": repr([{"Value": f"my {PLANTED}", "Key": "DB_PASS"}]),
    "an answer's address": f"Max retries exceeded with url: /cb?code={PLANTED}&sig={PLANTED}&auth={PLANTED}",
    "a connection": f"AccountName=a;AccountKey={PLANTED}== and DB_PASS={PLANTED} and pass={PLANTED}",
    "XML": f'<a><password type="text">my {PLANTED}</password></a>',
    "JSON in lines": json.dumps({"tokens": [PLANTED, PLANTED], "n": 1}, indent=2),
    "JSON": json.dumps({"password": PLANTED, "to": ADDRESS}),
    "JSON in JSON": json.dumps(json.dumps({"client_secret": PLANTED, "cc": [ADDRESS]})),
    "addresses": f"<{ADDRESS}>, mailto:{ADDRESS}",
}
ALL = "; ".join(TEXTS.values())
BODIES = [
    {"type": "send_email", "data": {"to": ADDRESS, "subject": "Hello", "text": f"Your password: {PLANTED}"}},
    {"type": "send_email", "data": {"to": ADDRESS, "subject": "Hello", "text": "x", "password": PLANTED}},
    {"type": "send_email", "data": {"to": f"{ADDRESS}, b@x.org", "subject": "Hello", "text": "x"}},
    {"type": "generate_report", "data": {"to": ADDRESS, "period": "2016-07", "name": ADDRESS}},
    {"type": "generate_report", "data": {"to": ADDRESS, "period": ADDRESS}},
    {"type": "send_digest", "data": {"day": "2016-08-03", "first": "", "last": "z"}},
    {"type": "continue_run", "data": {"task": "record_activity", "scheduled_for": ADDRESS}},
    {"type": "unheard_of", "data": {"password": PLANTED}, "idempotency_key": ADDRESS},
    {"type": "send_email", "password": PLANTED, "data": ADDRESS},
]

# What comes far, where a command takes a request.
REQUESTS: dict[str, dict[str, Any]] = {
    "jobs.list": {"status": "all"},
    "jobs.show": {"id": ADDRESS},
    "jobs.enqueue": {"type": "send_email", "data": {"to": ADDRESS, "subject": "x", "text": PLANTED}},
    "jobs.retry": {"type": "send_email"},
    "jobs.edit": {"id": ADDRESS, "data": {"password": PLANTED}},
    "jobs.forget": {"error": ADDRESS},
    "jobs.cancel": {"id": ADDRESS},
    "jobs.pause": {"type": "generate_report", "reason": f"{ADDRESS} said so, with the password: {PLANTED}"},
    "jobs.resume": {"type": "generate_report"},
    "backup.restore": {"schema": "/nowhere/restored.db"},
    "runs.show": {"id": ADDRESS},
    "suppressions.lift": {"address": ADDRESS},
    "schedule.pause": {"task": "daily_digest", "reason": f"{ADDRESS} said so"},
    "schedule.resume": {"task": "daily_digest"},
    "schedule.backfill": {"task": "daily_digest", "first": "2016-08-01T00:00:00Z", "last": "2016-08-02T00:00:00Z"},
}

Output = Callable[[], str]


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    """All that was written so far, to the log, where debug lines are sampled, and beside it."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.handlers[0], "stream", stream)
    monkeypatch.setattr(logger, "sampling_rate", "1")
    yield lambda: stream.getvalue() + "".join(capsys.readouterr())
    logger.setLevel(logging.INFO)


@pytest.fixture(name="upstream")
def _upstream() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture
def planted(world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A deployment whose settings and tables hold secrets and addresses, with everything to do."""
    for name, value in {
        "UNSUBSCRIBE_SECRETS": 5 * PLANTED,
        "BACKUP_KEY": 5 * PLANTED,
        "EXTERNAL_SYNC_URL": upstream.url(f"/items?token={PLANTED}"),
        "EXTERNAL_SYNC_TOKEN": PLANTED,
        "EXTERNAL_SYNC_HOSTS_ALLOWED": "127.0.0.1",
        # It takes none.
        **{f"{task.upper()}_PING": upstream.url(f"/{PLANTED}") for task in app.app.schedules},
    }.items():
        monkeypatch.setenv(name, value)
    upstream.serve([{"id": "1", "owner": ADDRESS, "password": PLANTED}, {"title": ADDRESS}])
    world.add_users(1, email=ADDRESS, name=f"Jane <{ADDRESS}>", is_admin=True)
    world.add_posts(f"Mail {ADDRESS}, the password: {PLANTED}", at=datetime.now(UTC) - timedelta(days=1))
    yield world
    # The database is that of all tests.
    for name, _ in triggers(table.name for table in metadata.sorted_tables):
        world.execute(text(f"DROP TRIGGER IF EXISTS {name}"))


def call(function: str, event: object, **options: Any) -> str:
    """Call a function as Lambda does, which logs what it raises; return its answer, or what it raised."""
    try:
        return json.dumps(invoke(function, event, **options))
    except Exception as error:  # noqa: BLE001 (Lambda takes any error for a failed invocation)
        print(f"[ERROR] {type(error).__name__}: {error}")
        traceback.print_tb(error.__traceback__)
        return type(error).__name__


def call_all(world: World) -> dict[str, str]:
    """Call every function that there is, and return the answers."""
    answers = {task: call(task, {}) for task in app.app.schedules}
    for body in BODIES:
        world.sqs.send_message(QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=json.dumps(body))
    world.sqs.send_message(
        QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=f'{{"password": "{PLANTED}", {ADDRESS}'
    )
    messages = world.receive()
    answers |= {f"work {n}": call("work", sqs_event([message])) for n, message in enumerate(messages)}
    for told in (bounce(ADDRESS), bounce(f"Jane {ADDRESS} {PLANTED}"), {"password": PLANTED, "to": ADDRESS}):
        answers[f"mail_feedback {len(answers)}"] = call("mail_feedback", sns_event(json.dumps(told)))
    return answers | {function: call(function, {}) for function in ("dispatch", "watch")}


def operate_all() -> dict[str, str]:
    """Have all done that an operator may ask for, and return the answers."""
    commands = commands_of(app.app.schedules, app.PARTS)
    return {command: call("operate", {"command": command, **REQUESTS.get(command, {})}) for command in commands}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_deployment_that_works_tells_no_secret(planted: World, output: Output) -> None:
    answers = call_all(planted) | operate_all()
    outcomes = {task: json.loads(answers[task])["outcome"] for task in app.app.schedules}
    # One of the two items has no id; and there is no Redis.
    assert outcomes == dict.fromkeys(app.app.schedules, "succeeded") | {"cache_warming": "skipped"}
    assert len(planted.recipients()) >= 2
    told = output() + json.dumps(answers)
    assert '"level":"DEBUG"' in told
    assert "j***@mail.example.org" in told
    assert PLANTED not in told


@on_each_server
def test_a_database_that_refuses_everything_tells_no_secret(planted: World, output: Output) -> None:
    refuse(planted, {table.name for table in metadata.sorted_tables})
    answers = call_all(planted) | operate_all()
    assert {answers[task] for task in app.app.schedules} == {"RunFailedError"}
    told = output() + json.dumps(answers)
    assert "[redacted]" in told
    assert PLANTED not in told


def test_a_database_that_refuses_in_the_middle_of_the_work_tells_no_secret(planted: World, output: Output) -> None:
    refuse(planted, {table.name for table in metadata.sorted_tables} - {"runs", "schedules", "jobs"})
    answers = call_all(planted)
    assert answers["daily_digest"] == "RunFailedError"
    told = output() + json.dumps(answers)
    assert "[redacted]" in told
    assert PLANTED not in told


def refuse(world: World, tables: set[str]) -> None:
    """Let the database refuse each row of these tables, in words of the application's own."""
    is_mysql = "mysql" in world.environment["DATABASE_URL"]
    said = f"{ADDRESS} has password={PLANTED}"
    body = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{said}'" if is_mysql else f"SELECT RAISE(ABORT, '{said}')"
    for name, when in triggers(tables):
        world.execute(text(f"CREATE TRIGGER {name} {when} FOR EACH ROW BEGIN {body}; END"))


def triggers(tables: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return the name of each trigger, and when it acts."""
    for table in tables:
        for act in ("INSERT", "UPDATE", "DELETE"):
            yield f"refuse_{act}_{table}", f"BEFORE {act} ON {table}"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_servers_that_are_away_tell_no_secret(planted: World, output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.tasks.external_sync.reader.ATTEMPTS", 1)
    monkeypatch.setenv("REDIS_URL", f"redis://app:{PLANTED}@127.0.0.1:{free_port()}")
    monkeypatch.setenv("EXTERNAL_SYNC_URL", f"http://127.0.0.1:{free_port()}/items?token={PLANTED}")
    answers = [call(task, {}) for task in ("cache_warming", "external_sync")]
    monkeypatch.setenv("DATABASE_URL", f"mysql+pymysql://app:{PLANTED}@127.0.0.1:{free_port()}/app")
    # Too late to wait for a database.
    late = {"timeout_ms": 12_000}
    answers += [call(function, {}, **late) for function in (*app.app.schedules, "dispatch", "watch")]
    answers += [call("operate", {"command": command}, **late) for command in ("jobs.list", "status", "check")]
    assert set(answers[:-3]) == {"RunFailedError"}
    assert PLANTED not in output() + json.dumps(answers)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500, body=ALL.encode(), headers={"Set-Cookie": PLANTED}),
        Reply(status=302, headers={"Location": f"https://app:{PLANTED}@elsewhere.example/?token={PLANTED}"}),
        Reply(status=401, body=ALL.encode(), headers={"WWW-Authenticate": f'Bearer realm="{PLANTED}"'}),
        Reply(body=ALL.encode()),
        Reply(body=json.dumps([{"id": ADDRESS, "token": PLANTED}, {"id": [PLANTED]}, PLANTED]).encode()),
    ],
    ids=["error", "redirect", "unauthorized", "no JSON", "wrong items"],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_upstream_that_answers_badly_tells_no_secret(
    planted: World, output: Output, upstream: Upstream, reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.always(reply)
    monkeypatch.setattr("chalicelib.tasks.external_sync.reader.ATTEMPTS", 1)
    answer = call("external_sync", {})
    assert answer == "RunFailedError"
    assert PLANTED not in output()


class Leaky(msgspec.Struct, frozen=True):
    """Which error is raised."""

    number: int


def raised(text_: str) -> list[Exception]:
    """Return errors that bear this text, of Nightshift's own and of libraries."""
    refused = ClientError({"Error": {"Code": "MessageRejected", "Message": text_}}, "SendEmail")
    statement = StatementError(text_, f"SELECT '{text_}'", {"password": text_}, ValueError(text_))
    return [PermanentError(text_), TransientError(text_), KeyError(text_), refused, statement]


def raise_chained(error: Exception) -> NoReturn:
    """Raise an error that came of another with the same text."""
    try:
        int(str(error))
    except ValueError as cause:
        raise error from cause
    raise AssertionError("a number is nothing to fail for")


@pytest.mark.parametrize("told", TEXTS)
def test_an_error_tells_no_secret_in_a_jobs_line_nor_to_who_looks_at_it(
    tmp_path: Path, output: Output, told: str
) -> None:
    kit = Kit(f"sqlite:///{tmp_path / 'test.db'}")
    errors = raised(TEXTS[told])
    kit.handlers["leaky"] = Handler(
        type="leaky",
        payload=Leaky,
        perform=lambda context, job: raise_chained(errors[job.payload.number]),
        max_attempts=2,
        backoff_seconds=(60,),
        timeout_seconds=None,
    )
    ids = [kit.enqueue("leaky", {"number": n, "password": PLANTED, "to": ADDRESS}) for n in range(len(errors))]
    kit.settle()
    assert {kit.job(id_).status for id_ in ids} == {"dead"}
    answers = [operate({"command": "jobs.list"}, kit.context(), {}, app.PARTS)]
    answers += [operate({"command": "jobs.show", "id": id_}, kit.context(), {}, app.PARTS) for id_ in ids]
    answers += [operate({"command": "status"}, kit.context(), {}, app.PARTS)]
    said = output()
    assert said.count("job dead") == len(errors)
    assert PLANTED not in said + json.dumps(answers, default=str)


def _fail(error: Exception, _context: Context, _run: Run) -> NoReturn:
    raise_chained(error)


@pytest.mark.parametrize("told", TEXTS)
def test_an_error_tells_no_secret_in_a_runs_line_nor_when_it_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: Output, told: str
) -> None:
    plan = Plan(f"sqlite:///{tmp_path / 'test.db'}", monkeypatch, "0 8 * * *")
    for number, error in enumerate(raised(TEXTS[told])):
        plan.perform = partial(_fail, error)
        with pytest.raises(RunFailedError) as failed:
            plan.fire(utc(f"{3 + number:02} 08:00"))
        assert PLANTED not in str(failed.value)
    listed = operate({"command": "runs.list"}, plan.kit.context(), plan.planned, app.PARTS)
    shown = [
        operate({"command": "runs.show", "id": row["id"]}, plan.kit.context(), {}, app.PARTS) for row in listed["runs"]
    ]
    assert PLANTED not in output() + json.dumps([listed, shown])


@pytest.mark.parametrize("told", TEXTS)
def test_a_line_tells_no_secret_in_its_message_its_fields_nor_its_traceback(output: Output, told: str) -> None:
    said = TEXTS[told]
    logger.warning(said, extra={"reason": said, "nested": [{"deep": (said, {said})}], said: ValueError(said)})
    try:
        raise_chained(LookupError(said))
    except LookupError:
        logger.exception("failed", extra={"password": {"of": PLANTED}})
    assert PLANTED not in output()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", f"mysql+pymysql://app:{PLANTED}@host:{PLANTED}/app"),
        ("DATABASE_URL", PLANTED),
        ("REDIS_URL", f"redis://:{PLANTED}/@host:6379"),
        ("REDIS_URL", PLANTED),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_secret_that_is_not_what_it_should_be_is_named_and_not_told(
    planted: World, output: Output, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    kept = planted.aws.client("secretsmanager").create_secret(Name="of-this-test", SecretString=value)
    monkeypatch.setenv(variable, kept["ARN"])
    assert call("cache_warming", {}) == "RunFailedError"
    said = output()
    assert f"what {variable} refers to must be a URL" in said
    assert PLANTED not in said
