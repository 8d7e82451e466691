"""The lock of a deployment: one holder at a time, and none that is dead for long."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from nightshift.deploy import lock
from nightshift.deploy.lock import Holder
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET


def never(_seconds: float) -> None:
    pytest.fail("it waited")


@pytest.fixture
def s3(aws: LocalAws) -> Iterator[Any]:
    client = aws.client("s3")
    yield client
    client.delete_object(Bucket=BUCKET, Key=lock.KEY)


def dead_process() -> int:
    printed = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return int(printed.stdout)


def holder(*, host: str = "laptop", process: int = 1, count: int = 0) -> Holder:
    return Holder(who="a teammate", host=host, process=process, since="2027-03-01T09:00:00+00:00", count=count)


def leave(s3: Any, left: Holder) -> None:
    """Store a lock as whoever holds it does."""
    s3.put_object(Bucket=BUCKET, Key=lock.KEY, Body=json.dumps(asdict(left)).encode())


def stored(s3: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(s3.get_object(Bucket=BUCKET, Key=lock.KEY)["Body"].read())
    return found


def held(s3: Any, *, pause: Callable[[float], object] = never) -> Any:
    return lock.held(s3, BUCKET, stage="prod", who="me", pause=pause)


def test_the_next_gets_the_lock_at_once_when_it_was_given_back(s3: Any) -> None:
    for _ in range(2):
        with held(s3) as check:
            assert (stored(s3)["who"], stored(s3)["is_done"]) == ("me", False)
            check()
    assert stored(s3)["is_done"]


def test_it_is_given_back_when_the_deployment_fails(s3: Any) -> None:
    with pytest.raises(KeyError), held(s3):
        raise KeyError
    assert stored(s3)["is_done"]


def test_who_renews_the_lock_keeps_it(s3: Any) -> None:
    leave(s3, holder())
    renewals = iter(range(1, 100))
    with (
        pytest.raises(ValueError, match="a teammate on laptop has been deploying prod since 2027-03-01T09:00:00"),
        held(s3, pause=lambda _: leave(s3, holder(count=next(renewals)))),
    ):
        pass
    assert stored(s3)["who"] == "a teammate"


def test_a_lock_that_another_machine_left_behind_is_taken_over_after_twenty_looks(s3: Any) -> None:
    leave(s3, holder())
    waited: list[float] = []
    with held(s3, pause=waited.append):
        assert stored(s3)["who"] == "me"
    assert waited == [1] * lock.LOOKS


def test_a_lock_that_a_dead_process_of_this_machine_left_behind_is_taken_over_at_once(s3: Any) -> None:
    leave(s3, holder(host=os.uname().nodename, process=dead_process()))
    with held(s3):
        assert stored(s3)["who"] == "me"


def test_a_process_that_begins_once_more_keeps_its_lock(s3: Any) -> None:
    leave(s3, holder(host=os.uname().nodename, process=os.getpid()))
    with held(s3):
        assert stored(s3)["process"] == os.getpid()


def test_of_two_that_take_a_lock_at_once_the_slower_waits_for_the_other(s3: Any) -> None:
    class Slower:
        """A client whose first write comes after somebody else's."""

        exceptions = s3.exceptions
        get_object = s3.get_object

        def put_object(self, **request: Any) -> Any:
            if stored_or_none(s3) is None:
                leave(s3, holder())
            return s3.put_object(**request)

    with (
        pytest.raises(ValueError, match="a teammate on laptop"),
        held(Slower(), pause=lambda _: leave(s3, holder(count=stored(s3)["count"] + 1))),
    ):
        pass


def stored_or_none(s3: Any) -> dict[str, Any] | None:
    return stored(s3) if s3.list_objects_v2(Bucket=BUCKET, Prefix=lock.KEY)["KeyCount"] else None


def check_until_lost(check: Callable[[], None]) -> None:
    while True:
        check()


def test_a_lock_that_was_lost_is_noticed_and_left_to_its_new_holder(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEWED_SECONDS", 0.001)
    with held(s3) as check:
        leave(s3, holder())
        with pytest.raises(ValueError, match="another deployment of prod has begun meanwhile"):
            check_until_lost(check)
    assert stored(s3)["who"] == "a teammate"
