"""The process of one function: it reads an invocation a line from standard input, and writes an answer a line.

SIGTERM leaves the current invocation no time: its task saves a checkpoint and continues elsewhere.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Iterable
from threading import Event
from typing import Any, TextIO

from nightshift.local.invocation import LocalClock, LocalContext

# Signals that may arrive before the process is ready for them.
EARLY_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def serve(function: str, requests: Iterable[str], answers: TextIO, *, hurry: Event) -> None:
    """Answer each request with what a function of app.py returns or raises."""
    call = getattr(importlib.import_module("app"), function)
    for line in requests:
        request: dict[str, Any] = json.loads(line)
        context = LocalContext(
            function_name=function,
            aws_request_id=request["request_id"],
            clock=LocalClock(ahead_ms=request["ahead_ms"]),
            timeout_ms=request["timeout_ms"],
            hurry=hurry,
        )
        try:
            answer = {"answer": call(request["event"], context)}
        except Exception as error:  # noqa: BLE001 (Lambda takes any error of a function for a failed invocation)
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Serve the function of the first argument, and answer on the file descriptor of the second."""
    hurry = Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: hurry.set())
    # A terminal sends these to every process; the runtime decides what happens.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # The parent blocked them, since without their handlers they would have ended this process.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, EARLY_SIGNALS)
    _, function, descriptor = sys.argv
    with os.fdopen(int(descriptor), "w", encoding="utf-8") as answers:
        serve(function, sys.stdin, answers, hurry=hurry)


if __name__ == "__main__":
    main()
