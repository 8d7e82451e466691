"""The status page with buttons."""

from pathlib import Path

from chalicelib.core.context import from_lambda
from chalicelib.operate.status.page import content, environment
from chalicelib.operate.status.status import read
from chalicelib.queue.handler import known_types
from nightshift.cli.requests import project_schedules
from nightshift.local.invocation import LocalContext

FOLDER = Path(__file__).parent / "templates"


def html(*, token: str, notice: str | None) -> str:
    """Return the page as it is now, with the token in each of its forms, and a sentence to tell above all."""
    context = from_lambda(LocalContext(function_name="dev"), patience_ms=0)
    status = read(context, project_schedules())
    place = context.database.engine.url.render_as_string(hide_password=True)
    live = {"token": token, "notice": notice, "types": known_types(), "place": place}
    return environment(FOLDER).get_template("live.html.j2").render(content(status) | live)
