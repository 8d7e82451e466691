"""One invocation of a function of app.py in a process of its own, as on Lambda, and what it took.

python -m bench.invocation FUNCTION < event.json
"""

import json
import sys
import time

from bench.memory import peak_mib
from chalicelib.mail import sending
from nightshift.local.invocation import invoke

# The worker, with single calls to SES.
SINGLY = "work singly"


def main() -> None:
    """Invoke the function with the event; print what it took as the last line."""
    function, event = sys.argv[1], json.load(sys.stdin)
    if function == SINGLY:
        function = "work"
        vars(sending)["MAX_RECIPIENTS"] = 1
    started, cpu_started = time.perf_counter(), time.process_time()
    answer = invoke(function, event)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    print(json.dumps({"answer": answer, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
