"""A process that invokes a function of app.py and kills itself, as hard as the kernel can, at a chosen call to AWS.

python -m tests.dying FUNCTION REQUEST_ID OPERATION NTH before|after < event.json
"""

import json
import os
import signal
import sys
from itertools import count
from typing import Any

import boto3

import app
from nightshift.local.invocation import LocalContext


def main(function: str, request_id: str, operation: str, nth: str, moment: str) -> None:
    calls = count(1)

    def die(**_: Any) -> None:
        if next(calls) == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    boto3.setup_default_session()
    session: Any = boto3.DEFAULT_SESSION
    session.events.register(f"{'before' if moment == 'before' else 'after'}-call.{operation}", die)
    context = LocalContext(function_name=function, aws_request_id=request_id)
    getattr(app, function)(json.load(sys.stdin), context)


if __name__ == "__main__":
    main(*sys.argv[1:])
