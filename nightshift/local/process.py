"""A function's own process, as Lambda keeps it: what it is asked comes in a line each, and so go out its answers.

Told to hurry by SIGTERM, the invocation in work has no time left: its task saves where it is, and hands the rest on.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Iterable
from threading import Event
from typing import Any, TextIO

from nightshift.local.clock import LocalClock
from nightshift.local.invocation import LocalContext

# What a process may be sent before it is ready.
HELD_BACK = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def serve(function: str, asked: Iterable[str], answers: TextIO, *, hurry: Event) -> None:
    """Answer each line with what a function of app.py returns or raises, until there are no more."""
    call = getattr(importlib.import_module("app"), function)
    for line in asked:
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
    """Serve the function that is named first, and answer on the descriptor that is named second."""
    hurry = Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: hurry.set())
    # A terminal sends Ctrl-C, and that it is closed, to everyone; what becomes of it is the runtime's to say.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Held back by who started this, since before they would have ended the process.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    _, function, descriptor = sys.argv
    with os.fdopen(int(descriptor), "w", encoding="utf-8") as answers:
        serve(function, sys.stdin, answers, hurry=hurry)


if __name__ == "__main__":
    main()
