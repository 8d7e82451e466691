"""Retrying jobs that were given up: anew, at once, and all that were named or none."""

from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.core.context import Context
from chalicelib.core.errors import PermanentError, TransientError
from chalicelib.operate import dead_letters
from nightshift.testkit.kit import NOON
from tests.operate.conftest import Desk


def test_a_retried_job_is_performed_at_once_and_has_all_its_attempts_anew(desk: Desk) -> None:
    job_id = desk.kit.enqueue("greet", {"name": "Ann"})
    desk.error = TransientError("not now")
    desk.kit.settle()
    assert desk.kit.job(job_id).status == "dead"
    assert desk.ask("retry", ids=[job_id]) == {"retried": [job_id]}
    desk.kit.drain()
    assert desk.kit.job(job_id).status == "failed"
    desk.kit.settle()
    assert [(job.id, job.attempt, job.is_last_attempt) for job in desk.done] == 2 * [
        (job_id, 1, False),
        (job_id, 2, True),
    ]
    assert desk.kit.job(job_id).status == "dead"
    assert desk.letters() == [job_id]


def test_a_job_that_succeeds_when_retried_shows_no_error_any_more(desk: Desk) -> None:
    job_id = desk.give_up()
    desk.ask("retry", ids=[job_id])
    desk.kit.drain()
    row = desk.kit.job(job_id)
    assert (row.status, row.last_error, row.attempts, desk.names()) == ("completed", None, 1, ["Ann"])


def test_only_the_dead_letter_of_what_is_retried_goes_and_the_others_stay_to_be_seen(desk: Desk) -> None:
    ids = [desk.give_up(data={"name": str(n)}) for n in range(25)]
    desk.ask("retry", ids=ids[3:5])
    assert sorted(map(str, desk.letters())) == sorted(ids[:3] + ids[5:])


def test_those_of_a_type_or_an_error_or_both_are_retried_oldest_first(desk: Desk) -> None:
    ids = []
    for type_, error in [("greet", "broke"), ("wave", "broke"), ("greet", "late"), ("wave", "late")]:
        ids.append(desk.give_up(type_, error=error))
        desk.kit.clock.advance(1)
    assert desk.ask("retry", type="wave", error="late") == {"retried": [ids[3]]}
    assert desk.ask("retry", error="broke") == {"retried": ids[:2]}
    assert desk.ask("retry", type="greet") == {"retried": [ids[2]]}
    assert desk.letters() == []
    desk.kit.drain()
    assert set(desk.statuses().values()) == {"completed"}


def test_a_limit_retries_the_oldest(desk: Desk) -> None:
    oldest = desk.give_up()
    desk.kit.clock.advance(1)
    newest = desk.give_up()
    assert desk.ask("retry", type="greet", limit=1)["retried"] == [oldest]
    assert desk.letters() == [newest]


def test_in_rounds_each_is_retried_once_also_where_it_is_given_up_again_meanwhile(desk: Desk) -> None:
    ids = [desk.give_up(data={"name": str(n)}) for n in range(5)]
    desk.error = PermanentError("it broke again")
    retried: list[str] = []
    after: dict[str, Any] = {}
    while True:
        answer = desk.ask("retry", type="greet", limit=2, **after)
        retried += answer["retried"]
        desk.kit.drain()
        if "next" not in answer:
            break
        after = {"after": answer["next"]}
    assert sorted(retried) == sorted(ids)
    assert set(desk.statuses().values()) == {"dead"}


def test_who_comes_second_is_told_what_is_left(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = desk.give_up(), desk.give_up()

    def others_first(remove: Callable[..., None], context: Context, ids: Collection[str]) -> None:
        monkeypatch.setattr(dead_letters, "remove", remove)
        desk.ask("retry", ids=[theirs])
        remove(context, ids)

    monkeypatch.setattr(dead_letters, "remove", partial(others_first, dead_letters.remove))
    assert desk.ask("forget", ids=[mine, theirs]) == {"forgotten": [mine]}
    assert desk.statuses() == {theirs: "pending"}
    desk.kit.drain()
    assert desk.statuses() == {theirs: "completed"}


def test_where_nothing_matches_nothing_is_done(desk: Desk) -> None:
    desk.give_up()
    desk.kit.enqueue("wave", {"name": "Bob"})
    before = desk.state()
    assert desk.ask("retry", type="wave") == {"retried": []}
    assert desk.ask("forget", error="another error") == {"forgotten": []}
    assert desk.state() == before


@pytest.mark.parametrize("command", ["retry", "forget"])
def test_one_wrong_id_and_nothing_at_all_is_done(desk: Desk, command: str) -> None:
    dead = [desk.give_up(), desk.give_up("wave", error="late")]
    waiting = desk.kit.enqueue("greet", {"name": "Bob"})
    done = desk.insert(id="done", status="completed")
    for wrong in ("nobody", waiting, done):
        assert desk.refusal(command, ids=[*dead, wrong]).endswith(f"has the id {wrong}")
    assert desk.refusal(command, ids=dead, type="greet").endswith(f"has the id {dead[1]}")
    assert desk.refusal(command, ids=dead, error="late").endswith(f"has the id {dead[0]}")
    assert desk.refusal(command, ids=["b", *dead, "a"]).endswith("has the id a, b")


@pytest.mark.parametrize("command", ["retry", "forget"])
def test_what_is_to_be_done_must_be_said_and_have_been_given_up(desk: Desk, command: str) -> None:
    dead = desk.give_up()
    assert desk.refusal(command) == "name the jobs: by id, type, or text of their error"
    assert desk.refusal(command, ids=[], limit=1000).startswith("name the jobs")
    for status in ("all", "failed", "completed"):
        assert "omit the status" in desk.refusal(command, ids=[dead], status=status)


def test_an_id_that_is_named_twice_is_retried_once(desk: Desk) -> None:
    job_id = desk.give_up()
    assert desk.ask("retry", ids=[job_id, job_id]) == {"retried": [job_id]}
    desk.kit.drain()
    assert desk.names() == ["Ann"]


def test_retrying_twice_is_retrying_once(desk: Desk) -> None:
    job_id = desk.give_up()
    desk.ask("retry", ids=[job_id])
    assert "has the id" in desk.refusal("retry", ids=[job_id])
    desk.kit.drain()
    assert desk.names() == ["Ann"]


def test_a_job_that_has_expired_meanwhile_is_closed_and_not_done_late(desk: Desk) -> None:
    job_id = desk.give_up(expires_at=NOON + timedelta(hours=1))
    desk.kit.clock.advance(3600)
    desk.ask("retry", ids=[job_id])
    desk.kit.settle()
    assert (desk.kit.job(job_id).status, desk.done) == ("expired", [])


def test_where_sqs_takes_no_message_dispatch_sends_what_was_retried(desk: Desk) -> None:
    job_id = desk.give_up()
    desk.kit.sqs.refuse = {"SendMessageBatch"}
    assert desk.ask("retry", ids=[job_id]) == {"retried": [job_id]}
    desk.kit.drain()
    assert desk.done == []
    desk.kit.sqs.refuse = set()
    desk.kit.settle()
    assert desk.names() == ["Ann"]


def test_where_sqs_shows_no_letters_the_job_is_retried_and_its_letter_harmless(desk: Desk) -> None:
    job_id = desk.give_up()
    desk.kit.sqs.refuse = {"ReceiveMessage"}
    with pytest.raises(ClientError):
        desk.ask("retry", ids=[job_id])
    desk.kit.sqs.refuse = set()
    desk.kit.settle()
    assert desk.ask("redrive")["settled"] == 1
    desk.kit.settle()
    assert desk.names() == ["Ann"]


def test_a_letter_that_sqs_moved_itself_goes_with_its_jobs_others(desk: Desk) -> None:
    job_id, other = desk.give_up(), desk.give_up("wave")
    desk.bury_unexplained({"type": "greet", "data": {"name": "Ann"}, "id": job_id})
    desk.bury_unexplained({"type": "wave", "data": {"name": "Bob"}})
    desk.ask("retry", ids=[job_id])
    assert desk.letters() == [other, None]


def test_looking_through_the_letters_ends_however_long_each_look_takes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [desk.give_up() for _ in range(30)]
    receive, looks = desk.kit.sqs.receive_message, 0

    def slow(**call: Any) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        assert looks < 50, "it looks at the same letters again and again"
        # Longer than what was looked at is hidden.
        desk.kit.clock.advance(61)
        return receive(**call)

    def refuse(**call: Any) -> None:
        # As SQS does for a message that can be seen.
        raise ClientError({"Error": {"Code": "MessageNotInflight", "Message": "not in flight"}}, "Change")

    monkeypatch.setattr(desk.kit.sqs, "receive_message", slow)
    monkeypatch.setattr(desk.kit.sqs, "change_message_visibility", refuse)
    assert desk.ask("retry", ids=ids[:1]) == {"retried": ids[:1]}
    assert desk.ask("redrive", seconds=400)["retried"] > 0
