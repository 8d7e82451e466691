"""Pings: a service elsewhere is told of each run, in order and once, and whatever it does, the run does not mind."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from chalicelib.core import secrets
from chalicelib.core.config import PingSettings
from chalicelib.core.context import Context
from chalicelib.core.errors import PermanentError, RunFailedError, Skipped
from chalicelib.core.outcome import Counts
from chalicelib.runs import execution, pings
from chalicelib.runs.claims import Run
from chalicelib.schema import runs as runs_table
from nightshift.local.servers import free_port
from nightshift.testkit.kit import Killed
from tests.runs.pinged import Service, pinged
from tests.runs.plan import DAY, DONE, MINUTE, NAME, Plan, die, fail, run_out_of_time, utc
from tests.world import MORNING, World

Log = Callable[[], list[dict[str, Any]]]
# What only the service and the setting know.
KEY = "5bf66975-planted"
SENTRY = f"/api/42/cron/nightly/{KEY}/"
MOMENT = utc("02 08:00")
REFUSED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def service() -> Iterator[Service]:
    with pinged() as service:
        yield service


@pytest.fixture
def plan(database_url: str, monkeypatch: pytest.MonkeyPatch, service: Service) -> Plan:
    plan = Plan(database_url, monkeypatch, "0 8 * * *")
    point(plan, service.url(f"/ping/{KEY}"))
    return plan


def point(plan: Plan, url: str) -> None:
    """Let the pings of the task go to a URL."""
    plan.kit.environment[f"{NAME.upper()}_PING"] = url


def perform(plan: Plan, act: Callable[[], object]) -> None:
    """Let each run of the task do this, and end well where it returns."""

    def call(_context: Context, _run: Run) -> Counts:
        act()
        return DONE

    plan.perform = call


def run_id(plan: Plan) -> str:
    (row,) = plan.rows()
    return str(row.id)


def healthchecks(plan: Plan, *ends: str) -> list[str]:
    """Return what Healthchecks is to be told of the one run."""
    return [f"POST /ping/{KEY}{end}?rid={run_id(plan)}" for end in ends]


def check_warned(log: Log, reason: str, *, times: int) -> None:
    """Check that each ping was warned of, in a line that does not tell where it went."""
    lines = log()
    warnings = [line for line in lines if line.get("message") == "ping not accepted"]
    assert [line["level"] for line in warnings] == ["WARNING"] * times
    for line in warnings:
        assert (line["task"], reason in line["reason"], "exception" in line) == (NAME, True, False), line
    assert KEY not in json.dumps(lines)


def test_a_run_is_told_of_when_it_begins_and_when_it_has_succeeded(plan: Plan, service: Service) -> None:
    before: list[list[str]] = []
    perform(plan, lambda: before.append(service.targets))
    plan.fire(MOMENT)
    assert before == [healthchecks(plan, "/start")]
    assert service.targets == healthchecks(plan, "/start", "")
    assert [each.body for each in service.told] == ["", ""]


def test_sentry_is_told_in_its_own_words(plan: Plan, service: Service) -> None:
    point(plan, service.url(SENTRY))
    plan.fire(MOMENT)
    assert service.targets == [
        f"GET {SENTRY}?status=in_progress&check_in_id={run_id(plan)}",
        f"GET {SENTRY}?status=ok&check_in_id={run_id(plan)}",
    ]


@pytest.mark.parametrize(
    ("path", "start"),
    [
        (f"/ping/{KEY}?create=1", f"/ping/{KEY}/start?create=1&rid="),
        (f"/ping/{KEY}/", f"/ping/{KEY}/start?rid="),
        (f"/sentry/api/42/cron/nightly/{KEY}", f"/sentry/api/42/cron/nightly/{KEY}/?status=in_progress&check_in_id="),
        (f"{SENTRY}?environment=dev", f"{SENTRY}?environment=dev&status=in_progress&check_in_id="),
        (f"/api/42/cron/nightly/{KEY}/more", f"/api/42/cron/nightly/{KEY}/more/start?rid="),
    ],
)
def test_what_a_url_has_of_its_own_stays(plan: Plan, service: Service, path: str, start: str) -> None:
    point(plan, service.url(path))
    plan.fire(MOMENT)
    assert service.told[0].target == start + run_id(plan)


def test_a_run_that_is_given_up_is_told_of_with_a_short_sentence_without_secrets(plan: Plan, service: Service) -> None:
    plan.deploy("0 8 * * *", max_attempts=1)

    def breaks() -> None:
        raise PermanentError(f"jane@example.com has password=hunter2, \udce9 {'x' * 10_000}")

    perform(plan, breaks)
    with pytest.raises(RunFailedError):
        plan.fire(MOMENT)
    assert service.targets == healthchecks(plan, "/start", "/fail")
    body = service.told[-1].body
    assert body.startswith("nightly dead: j***@example.com has password=[redacted], \\udce9 x")
    assert len(body) < 600


def test_an_attempt_that_will_be_tried_again_is_no_end(plan: Plan, service: Service) -> None:
    perform(plan, fail)
    with pytest.raises(RunFailedError):
        plan.fire(MOMENT)
    assert service.targets == healthchecks(plan, "/start")
    perform(plan, lambda: None)
    plan.fire(MOMENT, at=MOMENT + MINUTE)
    assert service.targets == healthchecks(plan, "/start", "")


def test_the_last_attempt_that_fails_is_the_end(plan: Plan, service: Service) -> None:
    perform(plan, fail)
    for minute in range(3):
        with pytest.raises(RunFailedError):
            plan.fire(MOMENT, at=MOMENT + minute * MINUTE)
    assert service.targets == healthchecks(plan, "/start", "/fail")


def test_sentry_is_told_of_the_last_attempt_by_the_same_id(plan: Plan, service: Service) -> None:
    point(plan, service.url(SENTRY))
    plan.deploy("0 8 * * *", max_attempts=2)
    perform(plan, fail)
    for minute in range(2):
        with pytest.raises(RunFailedError):
            plan.fire(MOMENT, at=MOMENT + minute * MINUTE)
    assert service.targets == [
        f"GET {SENTRY}?status=in_progress&check_in_id={run_id(plan)}",
        f"GET {SENTRY}?status=error&check_in_id={run_id(plan)}",
    ]


def test_sentry_hears_that_a_run_which_was_given_up_was_done_after_all(plan: Plan, service: Service) -> None:
    point(plan, service.url(SENTRY))
    plan.deploy("0 8 * * *", max_attempts=1)
    perform(plan, fail)
    with pytest.raises(RunFailedError):
        plan.fire(MOMENT)
    perform(plan, lambda: None)
    plan.invoke(scheduled_for=MOMENT.isoformat())
    # Of a check-in that has ended it takes no second end.
    of_run = f"&check_in_id={run_id(plan)}"
    said = [target.removeprefix(f"GET {SENTRY}?status=") for target in service.targets]
    assert said == [f"in_progress{of_run}", f"error{of_run}", "ok"]


def test_a_run_that_was_not_needed_is_as_good_as_done(plan: Plan, service: Service) -> None:
    def skip() -> None:
        raise Skipped("there is nothing to do")

    perform(plan, skip)
    assert plan.fire(MOMENT)["outcome"] == "skipped"
    assert service.targets == healthchecks(plan, "/start", "")


def test_continued_run_sends_no_end_ping(plan: Plan, service: Service) -> None:
    acts: list[Callable[[], None]] = [run_out_of_time, lambda: None]
    perform(plan, lambda: acts.pop(0)())
    plan.fire(MOMENT)
    assert service.targets == healthchecks(plan, "/start")
    plan.settle()
    assert service.targets == healthchecks(plan, "/start", "")


def test_of_an_attempt_that_was_taken_over_nothing_is_told(plan: Plan, service: Service) -> None:
    def again() -> None:
        plan.perform = lambda _context, _run: DONE
        plan.fire(MOMENT, at=MOMENT + timedelta(hours=2))

    perform(plan, again)
    assert plan.fire(MOMENT)["outcome"] == "skipped"
    assert service.targets == healthchecks(plan, "/start", "")


def test_a_dry_run_a_repeated_fire_and_one_in_a_pause_tell_nothing(plan: Plan, service: Service) -> None:
    plan.at(MOMENT)
    assert plan.invoke(dry_run=True)["outcome"] == "succeeded"
    plan.pause()
    assert plan.fire(MOMENT)["outcome"] == "skipped"
    assert service.told == []
    plan.resume()
    plan.fire(MOMENT)
    told = list(service.told)
    assert plan.fire(MOMENT)["outcome"] == "skipped"
    assert service.told == told


def test_a_fire_that_never_came_is_for_the_service_to_notice(plan: Plan, service: Service) -> None:
    assert plan.watch(utc("02 09:00"))["failed"] == 1
    assert service.told == []


def test_a_run_that_the_watch_takes_up_is_told_of_when_it_ends(plan: Plan, service: Service) -> None:
    perform(plan, die)
    with pytest.raises(Killed):
        plan.fire(MOMENT)
    assert plan.watch(MOMENT + 60 * MINUTE)["succeeded"] == 1
    assert service.targets == healthchecks(plan, "/start")
    perform(plan, lambda: None)
    plan.settle()
    assert service.targets == healthchecks(plan, "/start", "")


def leave_to_give_up(plan: Plan, *moments: Any) -> None:
    perform(plan, die)
    for moment in moments:
        with pytest.raises(Killed):
            plan.fire(moment)
    # It takes each up first, and nothing comes of that.
    plan.watch(moments[-1] + 60 * MINUTE)


def test_a_run_that_the_watch_gives_up_is_told_of(plan: Plan, service: Service) -> None:
    leave_to_give_up(plan, MOMENT)
    assert plan.watch(MOMENT + DAY + MINUTE)["failed"] == 1
    assert service.targets == healthchecks(plan, "/start", "/fail")
    told = "nightly dead: it was not over a day after it began: each time, its process ended"
    assert service.told[-1].body == told


def test_the_watch_does_not_wait_for_a_service_again_that_did_not_answer(
    plan: Plan, service: Service, log: Log
) -> None:
    leave_to_give_up(plan, MOMENT, MOMENT + DAY)
    service.answer = REFUSED
    service.told.clear()
    context = plan.kit.context()
    context.database.autocommit(lambda connection: connection.execute(update(runs_table).values(started_at=1)))
    log()
    assert plan.watch(MOMENT + 2 * DAY)["failed"] >= 2
    assert [each.method for each in service.told] == ["POST"]
    check_warned(log, "it answered 500", times=1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (REFUSED, "it answered 500"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "it answered 404"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "its answer is not HTTP (BadStatusLine)"),
        (b"", "its answer is not HTTP (RemoteDisconnected)"),
    ],
    ids=["500", "404", "no HTTP", "nothing"],
)
def test_a_service_that_refuses_is_a_warning(
    plan: Plan, service: Service, log: Log, answer: bytes, reason: str
) -> None:
    service.answer = answer
    assert plan.fire(MOMENT)["outcome"] == "succeeded"
    # Once each.
    assert service.targets == healthchecks(plan, "/start", "")
    check_warned(log, reason, times=2)


def test_a_redirect_is_not_followed(plan: Plan, service: Service, log: Log) -> None:
    with pinged() as other:
        service.answer = f"HTTP/1.1 302 Found\r\nLocation: {other.url('/')}\r\nContent-Length: 0\r\n\r\n".encode()
        assert plan.fire(MOMENT)["outcome"] == "succeeded"
        assert other.told == []
    check_warned(log, "it answered 302", times=2)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_service_that_is_not_there_is_a_warning(plan: Plan, log: Log, scheme: str) -> None:
    point(plan, f"{scheme}://127.0.0.1:{free_port()}/ping/{KEY}")
    assert plan.fire(MOMENT)["outcome"] == "succeeded"
    check_warned(log, "Connection refused", times=2)


def test_a_service_that_speaks_no_tls_is_told_nothing(plan: Plan, service: Service, log: Log) -> None:
    point(plan, service.url(f"/ping/{KEY}").replace("http:", "https:"))
    assert plan.fire(MOMENT)["outcome"] == "succeeded"
    assert service.told == []
    check_warned(log, "SSL", times=2)


@pytest.mark.parametrize("pause", [None, 0.05], ids=["hangs", "drips"])
def test_a_service_that_hangs_costs_a_run_so_long_and_no_more(
    plan: Plan, service: Service, log: Log, monkeypatch: pytest.MonkeyPatch, pause: float | None
) -> None:
    monkeypatch.setattr(pings, "SECONDS", 0.2)
    if pause is None:
        service.answer = None
    else:
        service.pause = pause
    before = time.monotonic()
    assert plan.fire(MOMENT)["outcome"] == "succeeded"
    assert 0.4 <= time.monotonic() - before < 2
    check_warned(log, "", times=2)


def test_a_service_has_two_seconds() -> None:
    assert pings.SECONDS == 2


def test_where_there_is_no_time_left_nothing_is_told(plan: Plan, service: Service, log: Log) -> None:
    plan.at(MOMENT)
    context = plan.kit.context(seconds=pings.RESERVE_SECONDS)
    execution.execute(NAME, event={}, context=context)
    assert service.told == []
    check_warned(log, "", times=2)


def test_a_run_that_fails_and_cannot_be_told_of_fails_for_its_own_reason(
    plan: Plan, service: Service, log: Log
) -> None:
    plan.deploy("0 8 * * *", max_attempts=1)
    service.answer = REFUSED
    perform(plan, fail)
    with pytest.raises(RunFailedError, match="nightly dead: no"):
        plan.fire(MOMENT)
    assert [row.status for row in plan.rows()] == ["dead"]
    check_warned(log, "it answered 500", times=2)


def test_the_settings_do_not_show_where_pings_go(plan: Plan) -> None:
    assert KEY not in repr(plan.kit.context().settings(PingSettings))


@pytest.fixture
def referring(world: World) -> Iterator[Callable[[str], World]]:
    """Let the digest's pings go where a secret of this text says."""

    def refer(text: str) -> World:
        secrets.forget()
        arn = world.aws.client("secretsmanager").create_secret(Name="ping", SecretString=text)["ARN"]
        world.configure(daily_digest_ping=arn)
        return world

    yield refer
    secrets.forget()


def test_the_url_may_be_a_secret(referring: Callable[[str], World], service: Service) -> None:
    world = referring(f"{service.url(f'/ping/{KEY}')}\n")
    world.fire(MORNING)
    rid = world.run().id
    assert service.targets == [f"POST /ping/{KEY}/start?rid={rid}", f"POST /ping/{KEY}?rid={rid}"]


def test_changed_url_is_read_again_after_a_refusal(referring: Callable[[str], World], service: Service) -> None:
    world = referring(service.url("/ping/old"))
    secrets.fetch(world.environment["DAILY_DIGEST_PING"])
    world.aws.client("secretsmanager").put_secret_value(SecretId="ping", SecretString=service.url("/ping/new"))
    service.answer = REFUSED
    world.fire(MORNING)
    assert [each.target.partition("?")[0] for each in service.told] == ["/ping/old/start", "/ping/new"]


def test_a_secret_that_is_no_url_is_a_warning_that_does_not_repeat_it(
    referring: Callable[[str], World], log: Log
) -> None:
    assert referring(f"{KEY} hunter2").fire(MORNING)["outcome"] == "succeeded"
    lines = log()
    reasons = [line["reason"] for line in lines if line.get("message") == "ping not accepted"]
    assert reasons == ["what the setting refers to must be the https:// URL of one check, with its path"] * 2
    assert KEY not in json.dumps(lines)


def test_a_secret_that_is_missing_is_a_warning(world: World, log: Log) -> None:
    secrets.forget()
    world.configure(daily_digest_ping="arn:aws:secretsmanager:us-east-1:123456789012:secret:gone")
    assert world.fire(MORNING)["outcome"] == "succeeded"
    reasons = [line["reason"] for line in log() if line.get("message") == "ping not accepted"]
    assert ["cannot be read" in reason for reason in reasons] == [True, True]


WITHOUT = """
import sys
from chalicelib.runs import execution
before = "http.client" in sys.modules
from nightshift.testkit.kit import Kit
kit = Kit("sqlite:///" + sys.argv[1])
# What the kit has of it is not the run's.
sys.modules.pop("http.client", None)
execution.execute("record_activity", event={}, context=kit.context())
sys.exit(before or "http.client" in sys.modules)
"""


def test_a_task_without_pings_imports_no_http(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path / "x.db")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
