"""What an operator may ask of a deployment from inside it."""

from typing import Any

import pytest
from sqlalchemy import insert, make_url, text

from app import PARTS
from chalicelib.core.config import QueueSettings
from chalicelib.core.engine import engine_for
from chalicelib.core.errors import InvalidRequestError
from chalicelib.migrations import newest
from chalicelib.operate import operate
from chalicelib.schema import backups
from nightshift.local.servers import free_port
from tests.queue.receiving import application
from tests.servers import on_a_server
from tests.world import World


def check(world: World) -> dict[str, Any]:
    return operate({"command": "check"}, world.context(), {}, PARTS)


def test_a_healthy_deployment_answers_for_each_part(world: World, redis_url: str) -> None:
    world.configure(redis_url=redis_url)
    found = check(world)
    assert found["database"]["revision"] == found["database"]["newest"] == newest()
    assert found["database"]["ok"]
    assert found["backup"] == {"ok": True, "reads": make_url(world.environment["DATABASE_URL"]).database}
    assert found["cache"]["server"].startswith("redis ")
    assert found["application"] == {"ok": True, "host": None}
    assert found["queue"] == {
        "ok": True,
        "waiting": 0,
        "delayed": 0,
        "in_work": 0,
        "visibility_seconds": 1800,
        "priority_waiting": 0,
        "dead_letters": 0,
    }


def test_an_application_is_reached_and_asked_for_nothing(world: World) -> None:
    with application() as app:
        settings = {"app_jobs_secrets": "whsec_" + 32 * "k", "app_jobs_private": "on"}
        world.configure(app_jobs_url=app.url, **settings)
        assert check(world)["application"] == {"ok": True, "host": "127.0.0.1"}
        assert app.calls == []


def test_the_queues_messages_are_counted_where_they_are(world: World) -> None:
    settings = world.context().settings(QueueSettings)
    for url, count in ((settings.work_queue_url, 4), (settings.priority_queue_url, 2)):
        for _ in range(count):
            world.sqs.send_message(QueueUrl=url, MessageBody="{}")
    world.sqs.send_message(QueueUrl=settings.work_queue_url, MessageBody="{}", DelaySeconds=900)
    world.sqs.send_message(QueueUrl=settings.dead_letter_queue_url, MessageBody="{}")
    world.sqs.receive_message(QueueUrl=settings.work_queue_url, MaxNumberOfMessages=1)
    queue = check(world)["queue"]
    assert (queue["waiting"], queue["in_work"], queue["delayed"]) == (3, 1, 1)
    assert (queue["priority_waiting"], queue["dead_letters"]) == (2, 1)


def test_one_part_that_does_not_answer_does_not_hide_the_others(world: World) -> None:
    world.configure(
        database_url=f"mysql+pymysql://root@127.0.0.1:{free_port()}/gone",
        redis_url=f"redis://127.0.0.1:{free_port()}",
        app_jobs_url=f"http://127.0.0.1:{free_port()}/jobs",
        app_jobs_secrets="whsec_" + 32 * "k",
        app_jobs_private="on",
        work_queue_url=f"{world.environment['WORK_QUEUE_URL']}-gone",
    )
    found = check(world)
    assert {name: part["ok"] for name, part in found.items()} == dict.fromkeys(found, False)
    assert "Can't connect" in found["database"]["error"]
    assert "Redis does not answer" in found["cache"]["error"]
    assert "the application cannot be reached: there is no connection to 127.0.0.1" in found["application"]["error"]
    assert "SES does not return the account's quota" in found["mail"]["error"]
    engine_for(world.environment["DATABASE_URL"]).dispose()


@on_a_server
def test_a_user_with_too_few_rights_is_told_which_to_be_granted(world: World) -> None:
    root = make_url(world.environment["DATABASE_URL"])
    with engine_for(world.environment["DATABASE_URL"]).begin() as connection:
        connection.execute(text("DROP USER IF EXISTS app@localhost"))
        connection.execute(text("CREATE USER app@localhost"))
        connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, EXECUTE ON `{root.database}`.* TO app@localhost"))
    world.configure(database_url=root.set(username="app").render_as_string(hide_password=False))
    lack = "the user's rights are not enough for tasks and migrations and backups and drills: as an administrator"
    error = check(world)["user"]["error"]
    assert error.startswith(lack)
    assert f"GRANT LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON `{root.database}`.* TO 'app'@'localhost'" in error


def test_only_where_rds_makes_the_backups_no_user_need_see_anything(world: World) -> None:
    world.configure(backup_rds="instance:shop")
    assert "reads" in check(world)["backup"]
    for status, told in (("failed", "reads"), ("running", "rds")):
        new = {"id": status, "kind": "snapshot", "status": status, "taken_at": world.clock.now_ms()}
        world.execute(insert(backups).values(**new))
        assert set(check(world)["backup"]) == {"ok", told}


def test_a_deployment_without_redis_has_nothing_wrong(world: World) -> None:
    assert check(world)["cache"] == {"ok": True, "server": None}


def test_migrating_tells_where_the_database_was_and_is(world: World) -> None:
    assert operate({"command": "migrate"}, world.context(), {}, PARTS) == {
        "before": newest(),
        "after": newest(),
        "advice": [],
    }


@pytest.mark.parametrize("request_", [None, {}, [], "migrate", {"command": "drop"}, {"command": ["migrate"]}])
def test_anything_else_is_refused_with_what_there_is(world: World, request_: object) -> None:
    with pytest.raises(InvalidRequestError, match="an object with a command of migrate, check"):
        operate(request_, world.context(), {}, PARTS)
