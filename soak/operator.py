"""The operator of a soak: pauses what it is told to, and resumes it, as `nightshift` would."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import DBAPIError

from chalicelib.core import pauses
from chalicelib.core.context import from_lambda
from chalicelib.operate import operate
from chalicelib.schedule.schedule import Schedule
from nightshift.cli.requests import project_parts
from nightshift.local.invocation import LocalClock, LocalContext


class Operator:
    """Acts by the operator's function; where the database is away, not at all."""

    def __init__(self, planned: Mapping[str, Schedule], clock: LocalClock) -> None:
        self._planned = planned
        self._clock = clock
        self.pauses = 0

    def act(self, event: Mapping[str, str]) -> None:
        """Pause or resume a task or a type of jobs."""
        command = "schedule" if event["kind"] == "task" else "jobs"
        subject = {"task" if event["kind"] == "task" else "type": event["name"]}
        reason = {"reason": "the soak has its reasons"} if event["act"] == "pause" else {}
        try:
            self.ask(f"{command}.{event['act']}", **subject, **reason)
        except DBAPIError:
            return
        self.pauses += event["act"] == "pause"

    def resume_all(self) -> None:
        """Resume whatever is paused."""
        for name in (pauses.ALL, *self._planned):
            self.ask("schedule.resume", task=name)
        self.ask("jobs.resume", type="send_email")

    def ask(self, command: str, **request: Any) -> dict[str, Any]:
        """Return what the operator's function answers."""
        context = from_lambda(LocalContext(function_name="operate", clock=self._clock))
        return operate({"command": command, **request}, context, self._planned, project_parts())
