"""Calls a function of the package as a fresh environment of Lambda does, then as a warm one, and prints the moments.

python -I -S -B bench/first_call.py FUNCTION FOLDER ... < events.json

Nothing of this project is imported but what lies in the folders. The moments are those of time.perf_counter, whose
clock is the machine's: when the network was first asked, and when each event was answered.
"""

import json
import sys
import time
from typing import Any
from uuid import uuid4

TIMEOUT_MS = 300_000
# With which the functions of a route are called.
ROUTES = "app"


class Invocation:
    """Lambda's context object, as far as functions look at it."""

    def __init__(self, function: str) -> None:
        self.function_name, self.aws_request_id = function, str(uuid4())
        self._started = time.monotonic()

    def get_remaining_time_in_millis(self) -> int:
        """Return what is left of the time-out."""
        return TIMEOUT_MS - round((time.monotonic() - self._started) * 1000)


def main() -> None:
    """Import, call, and print the moments as the last line."""
    function, *folders = sys.argv[1:]
    events = json.load(sys.stdin)
    asked: list[float] = []

    def listen(event: str, _: object) -> None:
        if event == "socket.connect" and not asked:
            asked.append(time.perf_counter())

    sys.path[:0] = folders
    sys.addaudithook(listen)
    import app

    called: Any = getattr(app, function)
    answered, answers = [], []
    for event in events:
        answers.append(called(event, Invocation(function)))
        answered.append(time.perf_counter())
    print(json.dumps({"asked": (asked or answered)[0], "answered": answered, "answers": answers}, default=str))


if __name__ == "__main__":
    main()
