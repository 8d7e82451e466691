"""Another system's API, whose list is another each day, and which is in trouble as the weather has it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from nightshift.local.servers import serving
from soak.serving import Handler, Server
from soak.weather import Trouble

ITEMS = 20
STATUS = {"refused": 503, "throttled": 429}


def items(at: datetime) -> list[dict[str, Any]]:
    """Return what the API lists at a moment: each day three items are others than the day before."""
    day = at.toordinal()
    return [{"id": f"item-{n}", "price": (day - n) // 7} for n in range(ITEMS)]


@contextmanager
def upstream(now: Callable[[], datetime], trouble: Callable[[str], Trouble | None]) -> Iterator[str]:
    """Serve the list on a port of its own."""

    class Upstream(Handler):
        def do_GET(self) -> None:  # noqa: N802 (http.server's name)
            kind = trouble("upstream")
            if kind in {"lost", "answer lost"}:
                self.close_connection = True
                return
            body = b"" if kind else json.dumps(items(now())).encode()
            self.answer(STATUS.get(kind or "", 200), {"Content-Type": "application/json"}, body)

    with serving(Server(Upstream)) as url:
        yield f"{url}/items"
