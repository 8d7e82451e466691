"""A process that cleans up and kills itself, as hard as the kernel can, before or after its nth statement.

python -m tests.tasks.database_cleanup.dying REQUEST_ID NTH before|after < event.json
"""

import json
import os
import signal
import sys
from dataclasses import replace
from itertools import count
from typing import Any

from sqlalchemy import event

from chalicelib.core.context import from_lambda
from chalicelib.runs import execution
from chalicelib.tasks.database_cleanup import rules
from nightshift.local.invocation import LocalContext

# Every way in which rows go: at once, with what hangs on them, and archived.
RULES = (
    replace(rules.RULES[0], chunk=3),
    replace(rules.RULES[1], chunk=3, archive=True),
    replace(rules.RULES[3], chunk=3, archive=True),
)


def main(request_id: str, nth: str, moment: str) -> None:
    rules.RULES = RULES
    statements = count(1)

    def die(*_: Any) -> None:
        if next(statements) == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    context = from_lambda(LocalContext(function_name="database_cleanup", aws_request_id=request_id))
    event.listen(context.database.engine, f"{moment}_cursor_execute", die)
    execution.execute("database_cleanup", event=json.load(sys.stdin), context=context)


if __name__ == "__main__":
    main(*sys.argv[1:])
