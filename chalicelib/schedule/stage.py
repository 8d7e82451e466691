"""What a stage says of a schedule instead of the code: its variable NAME_SCHEDULE."""

import os

from chalicelib.core.errors import ConfigurationError
from chalicelib.schedule.schedule import Schedule


def schedule_of(task: str, text: str) -> Schedule:
    """Return when a task is due: as the stage says, or else by this text.

    Raises ConfigurationError, which names the variable or the task that says so.
    """
    variable = f"{task.upper()}_SCHEDULE"
    override = os.environ.get(variable)
    try:
        return Schedule(override or text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{variable if override else task}: {error}") from None
