"""A process that syncs, with everything that it reads in small batches, for a test to kill."""

import json

from chalicelib.core.context import from_lambda
from chalicelib.runs import execution
from chalicelib.tasks.external_sync import reader
from nightshift.local.invocation import LocalContext


def main() -> None:
    reader.BATCH = 50
    context = from_lambda(LocalContext(function_name="external_sync", aws_request_id="r1"))
    event = {"scheduled_for": "2026-03-02T12:00:00Z"}
    print(json.dumps(execution.execute("external_sync", event=event, context=context)))
