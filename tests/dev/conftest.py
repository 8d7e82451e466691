"""The live page's server on a deployment of this machine, and a visitor who may send whatever they like."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import insert, select

from chalicelib import migrations
from chalicelib.core.engine import engine_for
from chalicelib.schema import jobs, pauses
from nightshift.dev.server import Server
from nightshift.local.servers import serving
from tests.world import World

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: HTTPMessage
    text: str


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Somebody who reaches the server; `ask` sends exactly the headers it is given, None for none of that name."""

    server: Server
    world: World

    @property
    def host(self) -> str:
        """The name under which the page is opened."""
        return f"127.0.0.1:{self.server.server_port}"

    def ask(self, method: str, path: str, *, body: str = "", **headers: str | None) -> Answer:
        """Send a request; the name of a header has _ for -."""
        connection = HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        with closing(connection):
            connection.putrequest(method, path, skip_host=True)
            for name, value in headers.items():
                if value is not None:
                    connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body.encode())
            response = connection.getresponse()
            return Answer(status=response.status, headers=response.headers, text=response.read().decode())

    def open(self) -> Answer:
        """Open the page as its owner does."""
        return self.ask("GET", self.server.path, Host=self.host)

    def press(self, action: str, **fields: str) -> Answer:
        """Press a button as the page's owner does."""
        body = urlencode({"token": self.server.token, **fields})
        return self.submit(action, body)

    def submit(self, action: str, body: str, **changed: str | None) -> Answer:
        """Send a form's body as a browser does, but for the headers that are changed."""
        headers: dict[str, str | None] = {
            "Host": self.host,
            "Origin": f"http://{self.host}",
            "Content_Type": FORM,
            "Content_Length": str(len(body)),
        }
        return self.ask("POST", f"/{action}", body=body, **headers | changed)

    def notice(self) -> str:
        """Open the page and return what it tells of the last button."""
        _, _, rest = self.open().text.partition('<p class="notice" role="status"><bdi>')
        return rest.partition("</bdi>")[0]

    def give_up(self, **changed: Any) -> str:
        """Insert a job that was given up, and return its id."""
        data = '{"to": "reader@example.com", "subject": "Hello", "text": "Hello."}'
        values = {"id": "dead", "type": "send_email", "data": data, "status": "dead", "created_at": 1, "ended_at": 1}
        self.world.execute(insert(jobs).values(**values | {"dispatch_at": None, "last_error": "it broke"} | changed))
        return str((values | changed)["id"])

    def state(self) -> list[Any]:
        """Return what a button could change: jobs and pauses."""
        rows = [self.world.execute(select(table)) for table in (jobs, pauses)]
        return [[tuple(row) for row in found] for found in rows]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a database that is migrated and empty."""
    path = tmp_path_factory.mktemp("dev") / "empty.db"
    engine = engine_for(f"sqlite:///{path}")
    migrations.upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture
def database_url(empty_database: Path, tmp_path: Path) -> str:
    """A database of one kind: what the page reads and the buttons do is tested on each elsewhere."""
    return f"sqlite:///{shutil.copy(empty_database, tmp_path / 'dev.db')}"


@pytest.fixture
def visitor(world: World) -> Iterator[Visitor]:
    server = Server(0)
    with serving(server):
        yield Visitor(server=server, world=world)
