"""What CloudWatch keeps comes in order of time and once, however late and out of order it arrives there."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from nightshift.local.aws import LocalAws
from nightshift.logs.stream import FAR_EVERY, Event, Log, NoLogError, Tail, follow
from tests.logs.cloudwatch import STREAM, CloudWatch

HOUR = 3600


@pytest.fixture
def cloudwatch(aws: LocalAws) -> CloudWatch:
    return CloudWatch(aws)


def tail(cloudwatch: CloudWatch, function: str = "work", *, ago: float = HOUR) -> Tail:
    log = Log(logs=cloudwatch.client, function=function, group=cloudwatch.group(function))
    return Tail(log, since_ms=round(1000 * (time.time() - ago)))


def texts(events: Iterator[Event]) -> list[str]:
    return [event.text for event in events]


def test_events_of_many_invocations_come_in_order_of_time(cloudwatch: CloudWatch) -> None:
    cloudwatch.write("work", "third", ago=10, stream="a")
    cloudwatch.write("work", "first", ago=30, stream="b")
    cloudwatch.write("work", "second", ago=20, stream="a")
    cloudwatch.write("work", "too old", ago=2 * HOUR)
    assert texts(tail(cloudwatch).read()) == ["first", "second", "third"]


def test_a_log_longer_than_a_page_is_read_whole(cloudwatch: CloudWatch) -> None:
    for batch in range(3):
        cloudwatch.write("work", *(str(n) for n in range(4000)), ago=100 - batch)
    assert len(texts(tail(cloudwatch).read())) == 12_000


def test_each_reading_has_what_is_new_also_where_it_is_older_than_what_was_read(cloudwatch: CloudWatch) -> None:
    reader = tail(cloudwatch)
    cloudwatch.write("work", "one", "two", ago=5)
    assert texts(reader.read()) == ["one", "two"]
    assert texts(reader.read()) == []
    cloudwatch.write("work", "late", ago=30, stream="b")
    cloudwatch.write("work", "three")
    assert texts(reader.read()) == ["late", "three"]
    assert texts(reader.read()) == []


def test_two_events_that_say_the_same_at_the_same_moment_are_two(cloudwatch: CloudWatch) -> None:
    reader = tail(cloudwatch)
    for stream in ("a", "b"):
        cloudwatch.write("work", "same", ago=5, stream=stream)
    assert texts(reader.read()) == ["same", "same"]


@pytest.fixture
def no_ids(cloudwatch: CloudWatch) -> Iterator[None]:
    def drop(*, parsed: dict[str, Any], **_: Any) -> None:
        for event in parsed["events"]:
            del event["eventId"]

    # Its client is that of other tests too.
    events, answer = cloudwatch.client.meta.events, "after-call.cloudwatch-logs.FilterLogEvents"
    events.register(answer, drop)
    yield
    events.unregister(answer, drop)


@pytest.mark.usefixtures("no_ids")
def test_also_where_no_event_has_an_id_each_comes_once_and_two_alike_are_two(cloudwatch: CloudWatch) -> None:
    reader, put = tail(cloudwatch), cloudwatch.client.put_log_events
    place = {"logGroupName": cloudwatch.group("work"), "logStreamName": STREAM}
    same = {"timestamp": round(1000 * time.time()), "message": "same"}
    cloudwatch.write("work", "first", ago=5)
    put(**place, logEvents=[same, same])
    assert texts(reader.read()) == ["first", "same", "same"]
    assert texts(reader.read()) == []
    put(**place, logEvents=[same])
    assert texts(reader.read()) == ["same"]


def test_what_arrives_many_minutes_late_comes_too_and_once(cloudwatch: CloudWatch) -> None:
    reader = tail(cloudwatch)
    cloudwatch.write("work", "now")
    assert texts(reader.read()) == ["now"]
    cloudwatch.write("work", "of a function that was frozen", ago=20 * 60)
    later = [text for _ in range(2 * FAR_EVERY) for text in texts(reader.read())]
    assert later == ["of a function that was frozen"]


def test_a_reading_that_broke_off_is_made_up_for(cloudwatch: CloudWatch) -> None:
    reader = tail(cloudwatch)
    cloudwatch.write("work", "one", "two", "three", ago=1800)
    begun: Any = reader.read()
    assert next(begun).text == "one"
    begun.close()
    assert texts(reader.read()) == ["two", "three"]


def test_a_log_that_there_is_not_is_named(cloudwatch: CloudWatch) -> None:
    log = Log(logs=cloudwatch.client, function="work", group="/aws/lambda/nightshift-prod-work")
    with pytest.raises(
        NoLogError, match="work has not run yet: the log group /aws/lambda/nightshift-prod-work does not exist"
    ):
        list(log.read(0))


class Flaky:
    """A source that fails now and then, as the network does."""

    def __init__(self, *readings: list[str] | Exception) -> None:
        self.readings = list(readings)

    def read(self) -> Iterator[Event]:
        reading = self.readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        for text in reading:
            yield Event(id=text, function="work", at_ms=1, arrived_ms=1, text=text)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "FilterLogEvents")


def test_following_outlives_a_network_that_is_gone_and_tells_so() -> None:
    gone: Any = EndpointConnectionError(endpoint_url="https://logs")
    source = Flaky(["one"], gone, refusal("ThrottlingException"), ["two"])
    told, slept = list[str](), list[float]()
    events = follow(source, report=told.append, sleep=slept.append)
    assert [next(events).text, next(events).text] == ["one", "two"]
    assert len(told) == 2
    assert 'trying again: Could not connect to the endpoint URL: "https://logs"' in told[0]
    assert len(slept) == 3
    assert min(slept) >= 2


def test_following_ends_where_asking_again_does_not_help() -> None:
    events = follow(Flaky(["one"], refusal("ExpiredTokenException")), report=print, sleep=lambda _: None)
    assert next(events).text == "one"
    with pytest.raises(ClientError, match="ExpiredTokenException"):
        next(events)
