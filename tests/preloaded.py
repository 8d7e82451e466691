"""Imported by the process that others are forked from, once it has imported the libraries: what they need of ours.

None of it looks at the environment while it is imported, which each of them gets later.
"""

import sys
from importlib import import_module

from tests.sooner import read_now

OURS = (
    *("backup.comparing", "backup.dump", "backup.journal", "backup.loading", "backup.retention", "backup.screening"),
    *("claims", "database", "handlers", "mail.ledger", "mail.ses", "mail.suppressions", "queue.claims"),
    *("queue.queues", "schedule", "schema", "tasks"),
)

for module in (*(f"chalicelib.{name}" for name in OURS), "nightshift.cli", "nightshift.operating"):
    import_module(module)
for name in ("app", "chalicelib.core.telemetry"):
    assert name not in sys.modules, f"{name} looks at the environment while it is imported"
read_now()
