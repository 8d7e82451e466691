"""Scripts for SES's bulk call: one a call; after the last, calls succeed."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ReadTimeoutError

from chalicelib.core import context as context_module
from tests.world import World

Entries = list[dict[str, Any]]
# Sends entries for real, and returns their results.
Forward = Callable[[Entries], Entries]
# Returns the results of a call or a raw answer, or raises an error of botocore.
Script = Callable[[Entries, Forward], Entries | AWSResponse]

NOTHING_READ = ReadTimeoutError(endpoint_url="https://email.example")


def address_of(entry: dict[str, Any]) -> str:
    """Return the only recipient of an entry."""
    (to,) = entry["Destination"]["ToAddresses"]
    return str(to)


def respond(status: int, body: dict[str, Any], *, error: str | None = None) -> AWSResponse:
    """Return an answer of SES."""
    headers: Any = {"content-type": "application/json"} | ({"x-amzn-errortype": error} if error else {})
    raw: Any = io.BytesIO(json.dumps(body).encode())
    raw.stream = lambda **_: iter([raw.getvalue()])
    return AWSResponse("https://email.example", status, headers, raw)


def fail(status: int, error: str, message: str) -> Script:
    """Make the whole call fail, and send nothing."""
    return lambda _entries, _forward: respond(status, {"message": message}, error=error)


def lose(_entries: Entries, _forward: Forward) -> Entries:
    """Lose the call itself, which looks like losing its answer."""
    raise NOTHING_READ


def lose_answer(entries: Entries, forward: Forward) -> Entries:
    """Send, and lose the answer."""
    forward(entries)
    raise NOTHING_READ


def answer_each(statuses: dict[str, str], error: str = "oh") -> Script:
    """Give entries the status of their address, and send the others."""

    def script(entries: Entries, forward: Forward) -> Entries:
        accepted = iter(forward([entry for entry in entries if address_of(entry) not in statuses]))
        return [
            {"Status": statuses[address_of(entry)], "Error": error} if address_of(entry) in statuses else next(accepted)
            for entry in entries
        ]

    return script


@contextmanager
def scripted(world: World, *scripts: Script) -> Iterator[list[int]]:
    """Play the scripts, one a call; give the sizes of the calls that were made."""
    left, sizes = iter(scripts), list[int]()
    plain = world.aws.client("sesv2")

    def play(request: Any, **_: Any) -> AWSResponse | None:
        body = json.loads(request.body)
        sizes.append(len(body["BulkEmailEntries"]))
        if (script := next(left, None)) is None:
            return None

        def forward(entries: Sequence[dict[str, Any]]) -> Entries:
            if not entries:
                return []
            done: Entries = plain.send_bulk_email(**body | {"BulkEmailEntries": entries})["BulkEmailEntryResults"]
            return done

        played = script(body["BulkEmailEntries"], forward)
        return played if isinstance(played, AWSResponse) else respond(200, {"BulkEmailEntryResults": played})

    events: Any = context_module.client("sesv2").meta.events
    events.register("before-send.sesv2.SendBulkEmail", play)
    try:
        yield sizes
    finally:
        events.unregister("before-send.sesv2.SendBulkEmail", play)
