"""The application of app.py deploys what Chalice does, fires when the text is due, and answers people."""

from datetime import UTC, datetime
from typing import Any

import pytest
from chalice.app import Cron, Rate, ScheduleExpression
from chalice.config import Config
from chalice.deploy.appgraph import ApplicationGraphBuilder
from chalice.deploy.models import ScheduledEvent

from chalicelib.core.errors import ConfigurationError
from chalicelib.schedule.schedule import Schedule
from chalicelib.triggers import App
from nightshift.local.invocation import LocalContext, scheduled_event, sns_event

CONTEXT = LocalContext(function_name="nightly")


@pytest.fixture
def app() -> App:
    return App(app_name="nightshift")


def deployed(app: App) -> list[tuple[str, str]]:
    """Return the name and the expression of each rule that Chalice deploys."""
    config = Config.create(
        chalice_app=app, app_name="nightshift", project_dir=".", manage_iam_role=False, iam_role_arn=""
    )
    resources = ApplicationGraphBuilder().build(config, stage_name="dev").resources
    return [(each.rule_name, each.schedule_expression) for each in resources if isinstance(each, ScheduledEvent)]


@pytest.mark.parametrize(
    ("expression", "rule"),
    [
        ("rate(5 minutes)", "rate(5 minutes)"),
        ("cron(0 8 * * ? *)", "cron(0 8 * * ? *)"),
        (Rate(1, unit=Rate.HOURS), "rate(1 hour)"),
        (Cron(0, 8, "?", "*", "MON-FRI", "*"), "cron(0 8 ? * MON-FRI *)"),
        ("0 8 * * *", "cron(0 8 * * ? *)"),
        ("0 8 * * 1-5 Asia/Tokyo", "cron(0 23 ? * SUN,MON,TUE,WED,THU *)"),
        ("every 15 minutes", "rate(15 minutes)"),
    ],
)
def test_each_form_of_a_schedule_deploys(app: App, expression: str | ScheduleExpression, rule: str) -> None:
    @app.schedule(expression, description="Nightly.")
    def nightly(event: Any) -> None: ...

    assert deployed(app) == [("nightshift-dev-nightly-event", rule)]


def test_only_schedules_of_our_own_forms_are_listed(app: App) -> None:
    @app.schedule("rate(5 minutes)")
    def often(event: Any) -> None: ...

    @app.schedule("0 8 * * * Europe/Berlin")
    def daily(event: Any) -> None: ...

    assert app.schedules == {"daily": Schedule("0 8 * * * Europe/Berlin")}


def test_a_stage_overrides_a_schedule(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTLY_SCHEDULE", "every 2 hours")

    @app.schedule("0 8 * * *")
    def nightly(event: Any) -> None: ...

    assert deployed(app) == [("nightshift-dev-nightly-event", "rate(2 hours)")]


def test_an_invalid_schedule_names_the_function(app: App) -> None:
    with pytest.raises(ConfigurationError, match=r"^nightly: the schedule '61 \* \* \* \*' is not valid: '61' is not"):

        @app.schedule("61 * * * *")
        def nightly(event: Any) -> None: ...


@pytest.mark.parametrize("expression", ["0 8 * * *", "rate(5 minutes)", Rate(1, unit=Rate.HOURS)])
@pytest.mark.parametrize("payload", [{}, None, [], {"time": "noon"}])
def test_a_scheduled_function_accepts_any_payload(app: App, expression: str | ScheduleExpression, payload: Any) -> None:
    @app.schedule(expression)
    def nightly(event: Any) -> Any:
        return event.to_dict(), event.time, event.detail

    assert nightly(payload, CONTEXT) == (payload, "", {})


@pytest.mark.parametrize("payload", [{}, None, {"Records": []}, {"Records": [{"Sns": {}}]}])
def test_a_function_of_a_topic_accepts_any_payload(app: App, payload: Any) -> None:
    @app.on_sns_message(topic="feedback")
    def feedback(event: Any) -> Any:
        return event.to_dict(), event.message

    assert feedback(payload, CONTEXT) == (payload, "")
    assert feedback(sns_event("hello"), CONTEXT)[1] == "hello"


def test_a_function_is_called_only_when_its_schedule_is_due(app: App) -> None:
    @app.schedule("0 8 * * * Europe/Berlin")
    def nightly(event: Any) -> Any:
        return event.time

    # The rule fires at 06:00 and 07:00 in UTC, for Berlin's summer and winter.
    answers = [nightly(scheduled_event(datetime(2026, 7, 1, hour, tzinfo=UTC)), CONTEXT) for hour in (6, 7)]
    assert answers == ["2026-07-01T06:00:00Z", {"task": "nightly", "outcome": "dropped"}]


def test_middleware_of_chalice_sees_the_event(app: App) -> None:
    seen = []

    @app.middleware("scheduled")
    def note(event: Any, get_response: Any) -> Any:
        seen.append(event.to_dict())
        return get_response(event)

    @app.schedule("0 8 * * *")
    def nightly(event: Any) -> str:
        return "done"

    assert nightly({}, CONTEXT) == "done"
    assert seen == [{}]
