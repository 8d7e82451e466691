"""What an outside API lists, and the API itself: files of JSON behind HTTP."""

import json
from contextlib import AbstractContextManager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nightshift.local.servers import serving


def write_items(path: Path, count: int, *, version: int) -> None:
    """Write a JSON list of posts as an API lists them, some 230 bytes each."""
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            item: dict[str, Any] = {
                "id": str(n),
                "title": f'Post number {n}, about "things" ü',
                "author": f"user{n % 1000}",
            }
            item |= {
                "points": version * (n % 977 + 1),
                "url": f"https://example.com/posts/{n}",
                "updated_at": 1_456_000_000_000 + n,
            }
            item |= {"tags": ["a", "b"], "meta": {"lang": "en", "score": n / 7}}
            file.write(("," if n else "[") + json.dumps(item, ensure_ascii=False, separators=(",", ":")))
        file.write("]")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, those that end in .json as JSON, and whole even where they have not changed."""

    def do_GET(self) -> None:
        del self.headers["If-Modified-Since"]
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def served(folder: Path) -> AbstractContextManager[str]:
    """Serve a folder's files; give the URL."""
    return serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))))
