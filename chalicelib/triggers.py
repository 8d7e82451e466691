"""The Chalice application: schedules in Unix cron text with a time zone, and functions that people can invoke."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, ScheduleExpression, SNSEvent

from chalicelib.schedule.schedule import Schedule, is_expression, schedule_of


class App(Chalice):
    """A Chalice application whose `schedule` also accepts what `Schedule` does, such as "0 8 * * * Europe/Berlin".

    `schedules` has those by function. A scheduled or SNS function also accepts any payload of `chalice invoke`.
    """

    def __init__(self, *, app_name: str) -> None:
        # Chalice's own log handler off: the logger of telemetry.py bears the same name, and each line would come twice.
        super().__init__(app_name=app_name, configure_logs=False)
        self.schedules: dict[str, Schedule] = {}

    def schedule(
        self, expression: str | ScheduleExpression, name: str | None = None, description: str = ""
    ) -> Callable[..., Any]:
        """Call the function when the text is due, or as an expression of EventBridge's own says.

        A stage's variable NAME_SCHEDULE replaces the text. Raises ConfigurationError, which names the function.
        """
        if isinstance(expression, ScheduleExpression) or is_expression(expression):
            return _accepting(ScheduledEvent, super().schedule(expression, name, description))

        def register(function: Callable[[CloudWatchEvent], Any]) -> Any:
            task = name or function.__name__
            self.schedules[task] = schedule = schedule_of(task, expression)
            decorate = super(App, self).schedule(_Rule(schedule), name, description)
            return _accepting(ScheduledEvent, decorate)(_when_due(schedule, task, function))

        return register

    def on_sns_message(self, topic: str, name: str | None = None) -> Callable[..., Any]:
        """Call the function with each message of a topic."""
        return _accepting(TopicEvent, super().on_sns_message(topic, name))


class ScheduledEvent(CloudWatchEvent):
    """A fire, or any other payload: its attributes are empty, and `to_dict` returns it."""

    def _extract_attributes(self, event_dict: Any) -> None:
        try:
            super()._extract_attributes(event_dict)
        except (KeyError, TypeError):
            texts = dict.fromkeys(("version", "account", "region", "detail-type", "source", "time", "id"), "")
            super()._extract_attributes({**texts, "detail": {}, "resources": []})


class TopicEvent(SNSEvent):
    """A message of a topic, or any other payload: its attributes are empty, and `to_dict` returns it."""

    def _extract_attributes(self, event_dict: Any) -> None:
        try:
            super()._extract_attributes(event_dict)
        except (KeyError, IndexError, TypeError):
            message = {"Message": "", "Subject": "", "MessageAttributes": {}}
            super()._extract_attributes({"Records": [{"Sns": message}]})


class _Rule(ScheduleExpression):
    """The expression of a schedule's EventBridge rule, which Chalice asks for when it deploys."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def to_string(self) -> str:
        from chalicelib.schedule.eventbridge import rule_of

        return rule_of(self._schedule, now=datetime.now(UTC)).expression


def _accepting(event_class: type, decorate: Callable[..., Any]) -> Callable[..., Any]:
    def register(function: Callable[..., Any]) -> Any:
        handler = decorate(function)
        # Chalice builds the event before any of our code runs, and its own classes raise KeyError for `{}`.
        handler.event_class = event_class
        return handler

    return register


def _when_due(schedule: Schedule, task: str, function: Callable[[CloudWatchEvent], Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(event: CloudWatchEvent) -> Any:
        from chalicelib.runs.fire import is_due

        # The rule fires whenever the schedule may be due, since EventBridge knows no zones.
        return function(event) if is_due(event.to_dict(), schedule) else {"task": task, "outcome": "dropped"}

    return call
