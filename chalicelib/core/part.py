"""A part: what can be left out of a deployment, and what it adds to the engine."""

from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.core.config import ENGINE


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part, as app.py lists it.

    `settings` is the class of its settings. `operations` is the module whose OPERATIONS says what it adds to the
    operation of a deployment; it is named, because only a few functions import it.
    """

    name: str
    settings: type
    operations: str


def settings_of(parts: Iterable[Part]) -> tuple[type, ...]:
    """Return the classes of settings that a deployment with these parts needs."""
    return (*ENGINE, *(part.settings for part in parts))
