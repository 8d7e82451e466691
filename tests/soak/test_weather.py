"""The weather and the rules of a soak: the same by the same seed, and calm when it is told to be."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from chalicelib.schedule.schedule import Schedule
from soak.chaos import chaos
from soak.rules import LATEST_COPY, Rules
from soak.weather import SERVICES, Weather

START, DAYS = datetime(2027, 1, 1, tzinfo=UTC), 60
END = START + timedelta(days=DAYS)
PLANNED = {"daily_digest": Schedule("30 2 * * * Europe/Berlin"), "external_sync": Schedule("every 8 hours")}


def weather(seed: int) -> Weather:
    return Weather(start=START, days=DAYS, seed=seed)


def troubles(found: Weather) -> list[str | None]:
    return [found.trouble("ses", START + timedelta(minutes=n)) for n in range(DAYS * 24 * 60)]


def test_a_seed_makes_the_same_weather_and_another_seed_another() -> None:
    assert weather(1).storms == weather(1).storms != weather(2).storms
    assert troubles(weather(1)) == troubles(weather(1)) != troubles(weather(2))


def test_each_service_has_storms_in_which_about_every_other_call_is_in_trouble_and_few_else() -> None:
    found = weather(1)
    assert {storm.service for storm in found.storms} == set(SERVICES)
    storm = max((each for each in found.storms if each.service == "ses"), key=lambda each: each.end - each.start)
    within = [found.trouble("ses", storm.start) for _ in range(1000)]
    before = [found.trouble("ses", START - timedelta(days=1)) for _ in range(1000)]
    assert 400 < sum(kind is not None for kind in within) < 600
    assert 0 < sum(kind is not None for kind in before) < 30
    assert found.troubles.total() == sum(kind is not None for kind in within + before)


def test_in_the_calm_nothing_is_in_trouble_and_every_fire_comes_once() -> None:
    found = weather(1)
    found.is_calm = True
    assert set(troubles(found)) == {None}
    rules = Rules(PLANNED, start=START, seed=1, steady=())
    rules.is_calm = True
    fires = [due.at for due in rules.take(until=END) if due.function == "daily_digest"]
    assert fires == PLANNED["daily_digest"].between(START, END, limit=1000)


def test_some_fires_are_lost_some_come_twice_by_another_request_and_steady_ones_do_neither() -> None:
    rules = Rules({**PLANNED, "watch": Schedule("every hour"), "application": Schedule("every hour")},
                  start=START, seed=1, steady={"application"})  # fmt: skip
    came = list(rules.take(until=END + LATEST_COPY))
    fires = Counter((due.function, due.event["time"]) for due in came)
    assert len({due.request_id for due in came}) == len(came)
    assert rules.lost > 10
    assert rules.doubled > 30
    assert set(fires.values()) == {1, 2}
    hourly = [number for (function, _), number in fires.items() if function == "application"]
    assert hourly == [1] * len(hourly)
    assert len(hourly) == 24 * DAYS + 3


def test_what_is_dropped_never_comes() -> None:
    rules = Rules(PLANNED, start=START, seed=1, steady=())
    for due in chaos(PLANNED, start=START, days=DAYS, seed=1):
        rules.add(due)
    rules.drop({"database", "redis", "killer", "operator"})
    assert {due.function for due in rules.take(until=END)} == set(PLANNED)


def test_whatever_is_killed_is_started_and_whatever_is_paused_is_resumed() -> None:
    found = list(chaos(PLANNED, start=START, days=DAYS, seed=1))
    acts = Counter((due.function, due.event["act"]) for due in found)
    assert acts["database", "kill"] == acts["database", "start"] > 0
    assert acts["redis", "kill"] == acts["redis", "start"] > 0
    assert acts["operator", "pause"] == acts["operator", "resume"] > 0
    assert acts["killer", "kill"] > 0


def test_a_database_that_is_killed_is_back_within_seconds() -> None:
    acts = [due for due in chaos(PLANNED, start=START, days=DAYS, seed=1) if due.function == "database"]
    outages = [started.at - killed.at for killed, started in zip(acts[::2], acts[1::2], strict=True)]
    assert max(outages) < timedelta(seconds=10)
