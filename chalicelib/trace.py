"""A trace: what a run, or a job from outside, has in common with everything that is enqueued because of it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})(-.*)?", re.ASCII)
# Neither the whole nor its second half may be nought.
_IDS = re.compile(r"[0-9a-f]{16}(?!0{16})[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One step of a trace, as W3C Trace Context has it: the id of the whole, and that of the step, in hex."""

    id: str
    step: str
    flags: str = "01"

    def __str__(self) -> str:
        """Return the `traceparent` of what this step asks for."""
        return f"00-{self.id}-{self.step}-{self.flags}"


def trace_of(id_: str, *, traceparent: str | None = None) -> Trace:
    """Return the trace at the step that the run or job of this id is: its own, unless its message brought one.

    Its own is the UUID without hyphens. So each attempt at a run finds the same, and nothing is kept for it.
    """
    own = id_.replace("-", "").lower()
    if not _IDS.fullmatch(own):
        own = sha256(id_.encode()).hexdigest()[:32]
    brought = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if brought is None:
        return Trace(id=own, step=own[16:])
    return Trace(id=brought[1], step=own[16:], flags=brought[2])


# Not state: it is gone with the block that set it, and what enqueues need not be handed it through every call.
_carried: ContextVar[Trace | None] = ContextVar("carried", default=None)


@contextmanager
def carried(trace: Trace) -> Iterator[None]:
    """Let every message that is made within carry the trace on."""
    token = _carried.set(trace)
    try:
        yield
    finally:
        _carried.reset(token)


def traceparent() -> str | None:
    """Return what a message that is made here carries; None where no run and no job is performed."""
    trace = _carried.get()
    return None if trace is None else str(trace)


def xray_header() -> str | None:
    """Return X-Ray's own name of this invocation where X-Ray records it; Lambda sets one whether or not it does."""
    header = os.environ.get("_X_AMZN_TRACE_ID", "")
    return header if "Sampled=1" in header else None
