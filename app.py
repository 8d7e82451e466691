"""The functions of this deployment, and what invokes each. Heavy imports wait until a function is called."""

import os
from typing import Any

from chalice.app import CloudWatchEvent, Response, SNSEvent, SQSEvent

from chalicelib import backup, mail
from chalicelib.core.part import settings_of
from chalicelib.triggers import App

app = App(app_name="nightshift")

# The parts of this deployment. Their settings are validated whenever a function starts.
PARTS = (mail.PART, backup.PART)

if os.environ.get("AWS_CHALICE_CLI_MODE"):
    from nightshift.deploy import plain

    plain.prepare()

# Chalice takes a request without any for JSON, as every GET is.
FORMS = ["application/x-www-form-urlencoded", "multipart/form-data", "application/json"]


@app.schedule("0 8 * * *")
def daily_digest(event: CloudWatchEvent) -> Any:
    return _execute("daily_digest", event)


@app.schedule("5 0 * * *")
def record_activity(event: CloudWatchEvent) -> Any:
    return _execute("record_activity", event)


@app.schedule("0 1 * * *")
def database_backup(event: CloudWatchEvent) -> Any:
    return _execute("database_backup", event)


@app.schedule("0 4 * * 0")
def backup_drill(event: CloudWatchEvent) -> Any:
    return _execute("backup_drill", event)


@app.schedule("0 2 * * *")
def database_cleanup(event: CloudWatchEvent) -> Any:
    return _execute("database_cleanup", event)


@app.schedule("0 9 1 * *")
def monthly_report(event: CloudWatchEvent) -> Any:
    return _execute("monthly_report", event)


@app.schedule("every 30 minutes")
def cache_warming(event: CloudWatchEvent) -> Any:
    return _execute("cache_warming", event)


@app.schedule("every 15 minutes")
def external_sync(event: CloudWatchEvent) -> Any:
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


@app.schedule("rate(1 minute)")
def dispatch(event: CloudWatchEvent) -> Any:
    """Every minute: put the jobs that are due on their queues."""
    from chalicelib.queue import dispatch
    from chalicelib.runs import catch_up

    context = _context(event.context)
    summary = dispatch.dispatch(context)
    # Here too: with the watch late or switched off, the fires of a replaced schedule would be lost.
    catch_up.record_or_raise(context, app.schedules)
    return summary


@app.schedule("rate(5 minutes)")
def watch(event: CloudWatchEvent) -> Any:
    """Every five minutes: catch up missed fires, rescue stale runs, and report."""
    from chalicelib.operate import watch

    return watch.watch(_context(event.context), app.schedules, PARTS)


@app.on_sns_message(topic=os.environ.get("MAIL_FEEDBACK_TOPIC_NAME", "nightshift-mail-feedback"))
def mail_feedback(event: SNSEvent) -> Any:
    """Record the bounces and complaints that SES publishes."""
    from chalicelib.mail import feedback

    return feedback.receive(event.to_dict(), _context(event.context))


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

    return fit(operate.operate(event, _context(context, for_a_person=True), app.schedules, PARTS))


@app.lambda_function(name="look")
def look(event: Any, context: Any) -> Any:
    """Answer what an operator asks without changing anything; who may invoke it, IAM says."""
    from chalicelib import operate
    from chalicelib.operate.answers import fit

    return fit(operate.look(event, _context(context, for_a_person=True), app.schedules, PARTS))


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
    from chalicelib.runs import execution

    return execution.execute(task, event=event.to_dict(), context=_context(event.context))
