"""The triggers, and nothing else: what Lambda calls, and when. Heavy imports wait until a function is called."""

import os
from collections.abc import Callable
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, SQSEvent

# Chalice's own log handler off: the logger of telemetry.py bears the same name, and each line would come twice.
app = Chalice(app_name="nightshift", configure_logs=False)


def answers_people(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Let a scheduled function also take what people send with `chalice invoke`.

    Chalice builds a CloudWatchEvent before any of our code runs, which an incomplete event makes fail; so what
    came is put whole into the `detail` of a complete one. Lambda calls whatever the module's name is bound to.
    """
    texts = dict.fromkeys(("version", "account", "region", "source", "time", "id", "detail-type"), "")

    def call(event: Any, context: Any) -> Any:
        return function({**texts, "resources": [], "detail": event}, context)

    return call


@answers_people
@app.schedule("cron(0 8 * * ? *)")
def daily_digest(event: CloudWatchEvent) -> Any:
    """Every day at 08:00 UTC: yesterday's posts to everyone who asked for them."""
    return _execute("daily_digest", event)


@app.on_sqs_message(queue=os.environ.get("WORK_QUEUE_NAME", "nightshift-work"), batch_size=10)
def work(event: SQSEvent) -> Any:
    """Do the jobs that messages ask for."""
    from chalicelib.context import from_lambda
    from chalicelib.queue import worker

    return worker.work(event.to_dict(), from_lambda(event.context), queue="work")


@app.on_sqs_message(queue=os.environ.get("PRIORITY_QUEUE_NAME", "nightshift-priority"), batch_size=10)
def work_priority(event: SQSEvent) -> Any:
    """Do the jobs that must not wait behind the others."""
    from chalicelib.context import from_lambda
    from chalicelib.queue import worker

    return worker.work(event.to_dict(), from_lambda(event.context), queue="priority")


@answers_people
@app.schedule("rate(1 minute)")
def dispatch(event: CloudWatchEvent) -> Any:
    """Every minute: put the jobs that are due on their queues."""
    from chalicelib.context import from_lambda
    from chalicelib.queue import dispatch

    return dispatch.dispatch(from_lambda(event.context))


@app.lambda_function(name="operate")
def operate(event: Any, context: Any) -> Any:
    """Do what an operator asks, inside the deployment; who may invoke it, IAM says."""
    from chalicelib import operations
    from chalicelib.context import from_lambda

    return operations.operate(event, from_lambda(context))


def _execute(task: str, event: CloudWatchEvent) -> Any:
    from chalicelib import runs
    from chalicelib.context import from_lambda

    return runs.execute(task, event=event.detail, context=from_lambda(event.context))
