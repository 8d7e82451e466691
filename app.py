"""The triggers, and nothing else: what Lambda calls, and when. Heavy imports wait until a function is called."""

import os
from collections.abc import Callable
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, Response, ScheduleExpression, SNSEvent, SQSEvent

from chalicelib import backup, mail
from chalicelib.core.part import settings_of
from chalicelib.schedule.schedule import Schedule, schedule_of

# Chalice's own log handler off: the logger of telemetry.py bears the same name, and each line would come twice.
app = Chalice(app_name="nightshift", configure_logs=False)

# The parts of this deployment. Their settings are validated whenever a function starts.
PARTS = (mail.PART, backup.PART)

if os.environ.get("AWS_CHALICE_CLI_MODE"):
    from nightshift.deploy import plain

    plain.prepare()

# Chalice takes a request without any for JSON, as every GET is.
FORMS = ["application/x-www-form-urlencoded", "multipart/form-data", "application/json"]


def answers_people(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Let a function of a schedule or a topic also take what people send with `chalice invoke`.

    Chalice builds a CloudWatchEvent or an SNSEvent before any of our code runs, which an incomplete event makes fail;
    so what came is put whole into the `detail` of a complete one. Lambda calls whatever the module's name is bound to.
    """
    texts = dict.fromkeys(("version", "account", "region", "source", "time", "id", "detail-type"), "")
    records = [{"Sns": {"Message": "", "Subject": "", "MessageAttributes": {}}}]

    def call(event: Any, context: Any) -> Any:
        return function({**texts, "resources": [], "Records": records, "detail": event}, context)

    return call


class Rule(ScheduleExpression):
    """What EventBridge is told of a schedule, which Chalice asks for when it deploys, and no function ever."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def to_string(self) -> str:
        """Return the expression."""
        from datetime import UTC, datetime

        from chalicelib.schedule.eventbridge import rule_of

        return rule_of(self._schedule, now=datetime.now(UTC)).expression


# When each task is due.
SCHEDULES: dict[str, Schedule] = {}


def scheduled(text: str) -> Callable[[Callable[[CloudWatchEvent], Any]], Callable[[Any, Any], Any]]:
    """Fire a task by cron text, in UTC or the zone at its end; a stage's NAME_SCHEDULE says otherwise."""

    def register(function: Callable[[CloudWatchEvent], Any]) -> Callable[[Any, Any], Any]:
        name = function.__name__
        SCHEDULES[name] = schedule_of(name, text)
        return answers_people(app.schedule(Rule(SCHEDULES[name]))(function))

    return register


@scheduled("0 8 * * *")
def daily_digest(event: CloudWatchEvent) -> Any:
    """Send yesterday's posts to everyone who asked for them."""
    return _execute("daily_digest", event)


@scheduled("5 0 * * *")
def record_activity(event: CloudWatchEvent) -> Any:
    """Record who was active yesterday, before their sessions are cleaned up."""
    return _execute("record_activity", event)


@scheduled("0 1 * * *")
def database_backup(event: CloudWatchEvent) -> Any:
    """Copy the database to the bucket, and read the copy back."""
    return _execute("database_backup", event)


@scheduled("0 4 * * 0")
def backup_drill(event: CloudWatchEvent) -> Any:
    """Restore the newest backup on trial."""
    return _execute("backup_drill", event)


@scheduled("0 2 * * *")
def database_cleanup(event: CloudWatchEvent) -> Any:
    """Delete what nobody needs any more."""
    return _execute("database_cleanup", event)


@scheduled("0 9 1 * *")
def monthly_report(event: CloudWatchEvent) -> Any:
    """Tell the month that has ended in figures."""
    return _execute("monthly_report", event)


@scheduled("every 30 minutes")
def cache_warming(event: CloudWatchEvent) -> Any:
    """Compute what the application shows most, before anybody waits for it."""
    return _execute("cache_warming", event)


@scheduled("every 15 minutes")
def external_sync(event: CloudWatchEvent) -> Any:
    """Fetch what has changed at the sources of external data."""
    return _execute("external_sync", event)


# At most as many at once as config.json reserves for each: what Lambda pulls beyond that is throttled, and each time
# counts as a delivery.
@app.on_sqs_message(queue=os.environ.get("WORK_QUEUE_NAME", "nightshift-work"), batch_size=10, maximum_concurrency=5)
def work(event: SQSEvent) -> Any:
    """Do the jobs that messages ask for."""
    return _work(event, queue="work")


@app.on_sqs_message(
    queue=os.environ.get("PRIORITY_QUEUE_NAME", "nightshift-priority"), batch_size=10, maximum_concurrency=2
)
def work_priority(event: SQSEvent) -> Any:
    """Do the jobs that must not wait behind the others."""
    return _work(event, queue="priority")


@answers_people
@app.schedule("rate(1 minute)")
def dispatch(event: CloudWatchEvent) -> Any:
    """Every minute: put the jobs that are due on their queues."""
    from chalicelib.queue import dispatch
    from chalicelib.runs import catch_up

    context = _context(event.context)
    summary = dispatch.dispatch(context)
    # Here too: with the watch late or switched off, the fires of a replaced schedule would be lost.
    catch_up.record_or_raise(context, SCHEDULES)
    return summary


@answers_people
@app.schedule("rate(5 minutes)")
def watch(event: CloudWatchEvent) -> Any:
    """Every five minutes: catch up missed fires, rescue stale runs, and report."""
    from chalicelib.operate import watch

    return watch.watch(_context(event.context), SCHEDULES, PARTS)


@answers_people
@app.on_sns_message(topic=os.environ.get("MAIL_FEEDBACK_TOPIC_NAME", "nightshift-mail-feedback"))
def mail_feedback(event: SNSEvent) -> Any:
    """Record the bounces and complaints that SES publishes."""
    from chalicelib.mail import feedback

    return feedback.receive(event.to_dict()["detail"], _context(event.context))


if os.environ.get("UNSUBSCRIBE_ROUTE") == "on":
    # A route makes an API Gateway; where the application serves UNSUBSCRIBE_URL itself, there is none.
    @app.route("/unsubscribe", methods=["GET", "POST"], content_types=FORMS)
    def unsubscribe() -> Response:
        """Show the question, and unsubscribe when the button or a mail client posts."""
        from chalicelib.mail.unsubscribe import respond

        return respond(app.current_request, _context(app.lambda_context, for_a_person=True))


@app.lambda_function(name="operate")
def operate(event: Any, context: Any) -> Any:
    """Do what an operator asks, inside the deployment; who may invoke it, IAM says."""
    from chalicelib import operate
    from chalicelib.operate.answers import fit

    return fit(operate.operate(event, _context(context, for_a_person=True), SCHEDULES, PARTS))


@app.lambda_function(name="look")
def look(event: Any, context: Any) -> Any:
    """Answer what an operator asks without changing anything; who may invoke it, IAM says."""
    from chalicelib import operate
    from chalicelib.operate.answers import fit

    return fit(operate.look(event, _context(context, for_a_person=True), SCHEDULES, PARTS))


def _context(lambda_context: Any, *, for_a_person: bool = False) -> Any:
    from chalicelib.core.context import LONGEST_PATIENCE_MS, PATIENCE_OF_PEOPLE_MS, from_lambda

    # A person waits for the answer, so a database that refuses connections is reported early.
    patience_ms = PATIENCE_OF_PEOPLE_MS if for_a_person else LONGEST_PATIENCE_MS
    return from_lambda(lambda_context, kinds=settings_of(PARTS), patience_ms=patience_ms)


def _work(event: SQSEvent, *, queue: str) -> Any:
    context = _context(event.context)
    if event.to_dict() == {"command": "check"}:
        # The doctor checks the function that sends: another function's permissions would prove nothing.
        from chalicelib.mail.trial import send_trials

        return send_trials(context)
    from chalicelib.queue import worker

    return worker.work(event.to_dict(), context, queue=queue)


def _execute(task: str, event: CloudWatchEvent) -> Any:
    from chalicelib.runs.fire import is_due

    if not is_due(event.detail, SCHEDULES[task]):
        # The rule fires whenever the schedule may be due, since EventBridge knows no zones.
        return {"task": task, "outcome": "dropped"}
    from chalicelib.runs import execution

    return execution.execute(task, event=event.detail, context=_context(event.context))
