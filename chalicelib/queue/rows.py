"""What is read of jobs' rows: their data only where it is short, so that no number of rows takes much memory."""

from typing import Any

from sqlalchemy import bindparam, case, func

from chalicelib.queue.payloads import LIMIT
from chalicelib.schema import jobs

# Longer data stays in its row until the job is performed: its message only refers to the row.
SHORT_BYTES = LIMIT

DATA_BYTES = func.length(jobs.c.data)
# Looked up when a statement is executed.
_SHORT_BYTES: Any = bindparam("short_bytes", callable_=lambda: SHORT_BYTES)
SHORT_DATA = case((DATA_BYTES <= _SHORT_BYTES, jobs.c.data)).label("data")

# All that a message is made of.
OUTGOING = (*(column for column in jobs.c if column is not jobs.c.data), SHORT_DATA, DATA_BYTES.label("data_bytes"))
