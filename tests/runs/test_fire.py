"""Fires: which moment EventBridge or a person asks for."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.clock import iso, to_ms
from chalicelib.core.errors import InvalidRequestError
from chalicelib.runs.fire import Fire, is_due, read_fire
from chalicelib.schedule.schedule import Schedule
from nightshift.local.invocation import scheduled_event
from tests.sweep import examples

NOW = datetime(2016, 8, 4, 8, 0, 30, tzinfo=UTC)
EIGHT = datetime(2016, 8, 4, 8, 0, tzinfo=UTC)

any_text = st.text(st.characters())
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=8,
)
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(timezones=offsets).map(datetime.isoformat)


def read(event: object) -> Fire:
    return read_fire(event, now_ms=to_ms(NOW))


def refusal(event: object) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        read(event)
    return str(caught.value)


def read_or_refusal(event: object) -> Fire | str:
    try:
        return read(event)
    except InvalidRequestError as error:
        return str(error)


def test_an_eventbridge_event_asks_for_its_own_time() -> None:
    assert read(scheduled_event(EIGHT)) == Fire(scheduled_for=EIGHT, trigger="schedule", dry_run=False)


def test_an_eventbridge_event_asks_for_its_minute_at_whichever_second_the_rule_fires() -> None:
    late = {**scheduled_event(EIGHT), "time": "2016-08-04T08:00:59Z"}
    assert read(late).scheduled_for == EIGHT
    assert is_due(late, Schedule("0 8 * * *"))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (scheduled_event(EIGHT), True),
        (scheduled_event(EIGHT + timedelta(hours=1)), False),
        # What people ask for is meant, and what cannot be read is for the run to refuse.
        ({"scheduled_for": "2016-08-04T09:00:00Z"}, True),
        (None, True),
        ([], True),
        ({"detail-type": "Scheduled Event"}, True),
        ({"detail-type": "Scheduled Event", "time": "soon"}, True),
        ({"detail-type": "Scheduled Event", "time": "0001-01-01T00:00:00Z"}, True),
        ({"detail-type": "Scheduled Event", "time": "9999-12-31T23:59:59Z"}, True),
    ],
)
def test_a_fire_of_the_rule_is_meant_when_the_schedule_is_due(event: object, expected: bool) -> None:
    assert is_due(event, Schedule("0 8 * * *")) is expected


def test_an_eventbridge_event_delivered_days_later_asks_for_the_same_time() -> None:
    late = to_ms(NOW + timedelta(days=3))
    assert read_fire(scheduled_event(EIGHT), now_ms=late).scheduled_for == EIGHT


@pytest.mark.parametrize("event", [None, {}])
def test_nothing_asks_for_the_current_minute(event: object) -> None:
    assert read(event) == Fire(scheduled_for=EIGHT, trigger="manual", dry_run=False)


@pytest.mark.parametrize(
    "text", ["2016-08-04T08:00:00Z", "2016-08-04T08:00Z", "2016-08-04T10:00:00+02:00", "2016-08-04T03:30-0430"]
)
def test_a_moment_may_be_written_in_any_zone(text: str) -> None:
    fire = read({"scheduled_for": text})
    assert fire == Fire(scheduled_for=EIGHT, trigger="manual", dry_run=False)
    assert fire.scheduled_for.tzinfo is UTC


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_dry_run_is_asked_for_by_name(dry_run: bool) -> None:
    assert read({"dry_run": dry_run}) == Fire(scheduled_for=EIGHT, trigger="manual", dry_run=dry_run)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("schedule_for", "did you mean 'scheduled_for'?"),
        ("scheduledFor", "did you mean 'scheduled_for'?"),
        ("dryrun", "did you mean 'dry_run'?"),
        ("dry-run", "did you mean 'dry_run'?"),
        ("nonsense", "known keys are scheduled_for, dry_run"),
        ("", "known keys are scheduled_for, dry_run"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(key: str, hint: str) -> None:
    assert refusal({"dry_run": True, key: 1}) == f"unknown key {key!r} in the payload; {hint}"


@pytest.mark.parametrize("text", ["2016-08-04T08:00:00", "2016-08-04"])
def test_a_moment_without_a_zone_is_refused(text: str) -> None:
    assert refusal({"scheduled_for": text}).startswith("scheduled_for needs a time zone, as in ")


def test_a_moment_in_the_future_is_refused_beyond_what_clocks_may_differ() -> None:
    assert read({"scheduled_for": "2016-08-04T08:01:30Z"}).scheduled_for == NOW + timedelta(minutes=1)
    assert refusal({"scheduled_for": "2016-08-04T08:01:31Z"}) == (
        "scheduled_for is in the future: '2016-08-04T08:01:31Z'"
    )


@pytest.mark.parametrize(
    "value",
    [None, True, 0, 1470297600, 1470297600.5, [], {}, "", "tomorrow", "08:00Z", "2016-02-30T08:00:00Z", "\ud800"],
)
def test_what_is_no_moment_is_refused(value: object) -> None:
    assert refusal({"scheduled_for": value}).startswith('scheduled_for must be a moment such as "2016-08-04T08:00:00Z"')


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_outside_the_calendar_is_refused(text: str) -> None:
    assert refusal({"scheduled_for": text}).startswith("scheduled_for must be a moment")


@pytest.mark.parametrize("value", [None, 0, 1, "true", "yes", [], {}])
def test_a_dry_run_is_true_or_false(value: object) -> None:
    assert refusal({"dry_run": value}) == f"dry_run must be true or false, not {value!r}"


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (["daily_digest"], "a list"),
        ([], "a list"),
        ("daily_digest", "a string"),
        ("", "a string"),
        (True, "a boolean"),
        (False, "a boolean"),
        (0, "a number"),
        (1.5, "a number"),
    ],
)
def test_a_payload_that_is_no_object_is_refused(payload: object, kind: str) -> None:
    assert refusal(payload) == f"the payload must be a JSON object, not {kind}"


def test_a_payload_may_have_the_tasks_own_options_and_no_others() -> None:
    fire = read_fire({"month": "2026-02", "dry_run": True}, now_ms=to_ms(NOW), options=("month", "mail"))
    assert (dict(fire.options), fire.dry_run) == ({"month": "2026-02"}, True)
    with pytest.raises(InvalidRequestError, match="unknown key 'mnoth' in the payload; did you mean 'month'"):
        read_fire({"mnoth": "2026-02"}, now_ms=to_ms(NOW), options=("month", "mail"))
    with pytest.raises(
        InvalidRequestError, match="unknown key 'month' in the payload; known keys are scheduled_for, dry_run"
    ):
        read_fire({"month": "2026-02"}, now_ms=to_ms(NOW))


@settings(max_examples=examples(200))
@given(
    any_json
    | st.dictionaries(
        st.sampled_from(["scheduled_for", "dry_run", "schedule_for", "detail-type", "time"]), any_json | moments
    )
)
def test_every_json_value_gives_a_fire_or_is_refused_in_one_line(event: Any) -> None:
    answer = read_or_refusal(event)
    assert answer.isprintable() if isinstance(answer, str) else answer.scheduled_for.tzinfo is UTC


@settings(max_examples=examples(100))
@given(time=any_json | moments)
def test_every_time_of_an_eventbridge_event_gives_a_fire_or_is_refused(time: Any) -> None:
    answer = read_or_refusal({**scheduled_event(EIGHT), "time": time})
    assert answer.startswith("time ") if isinstance(answer, str) else answer.trigger == "schedule"


def test_an_eventbridge_event_without_a_time_is_refused() -> None:
    event = scheduled_event(EIGHT)
    del event["time"]
    assert refusal(event).startswith("time must be a moment")


@pytest.mark.parametrize("text", ["2016-08-04T08:00:00.5Z", "2016-08-04T07:59:59.999999Z", "0987-06-05T04:03:02Z"])
def test_continued_run_is_found_by_its_moment(text: str) -> None:
    fire = read({"scheduled_for": text})
    # runs.py hands a run on as {"scheduled_for": iso(...)}; claims.py looks it up by the millisecond.
    assert to_ms(read({"scheduled_for": iso(fire.scheduled_for)}).scheduled_for) == to_ms(fire.scheduled_for)
