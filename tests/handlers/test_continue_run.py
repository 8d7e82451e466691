"""A run is continued by its task's own function, and by the worker if there is no Lambda to invoke."""

import pytest

from chalicelib.core.errors import RunFailedError
from chalicelib.queue import worker
from chalicelib.runs import execution
from nightshift.local.invocation import sqs_event
from tests.runs.plan import MINUTE, NAME, PREFIX, Plan, fail, utc

# The invocation is the same on every database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def plan(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Plan:
    plan = Plan(database_url, monkeypatch, "0 8 * * *", catch_up="latest")
    plan.watch(utc("02 09:00"))
    plan.kit.dispatch()
    return plan


def work(plan: Plan) -> None:
    worker.work(sqs_event(plan.kit.receive()), plan.kit.context(function_name=f"{PREFIX}work"), queue="work")


def test_deployed_worker_asks_the_tasks_own_function_to_make_up_for_a_fire(plan: Plan) -> None:
    work(plan)
    assert plan.performed == []
    ((name, event),) = plan.kit.awslambda.invoked
    assert name == "nightshift-test-nightly"
    execution.execute(NAME, event=event, context=plan.kit.context(function_name=name))
    assert [(run.trigger, run.scheduled_for) for run in plan.performed] == [("catch_up", utc("02 08:00"))]
    assert {job.status for job in plan.kit.jobs()} == {"completed"}


def test_lambda_may_deliver_a_continued_run_twice(plan: Plan) -> None:
    work(plan)
    ((_, event),) = plan.kit.awslambda.invoked
    for _ in range(2):
        execution.execute(NAME, event=event, context=plan.kit.context())
    assert len(plan.performed) == 1


def test_worker_makes_up_for_a_fire_where_lambda_refuses(plan: Plan) -> None:
    plan.kit.awslambda.updated_ms.clear()
    work(plan)
    assert [run.trigger for run in plan.performed] == ["catch_up"]


def test_run_keeps_its_options_when_its_own_function_continues_it(plan: Plan) -> None:
    plan.kit.enqueue(
        "continue_run",
        {"task": NAME, "scheduled_for": "2026-03-02T07:00:00Z", "trigger": "backfill", "options": {"colour": "red"}},
    )
    work(plan)
    event = plan.kit.awslambda.invoked[-1][1]
    execution.execute(NAME, event=event, context=plan.kit.context())
    assert [(run.trigger, dict(run.options)) for run in plan.performed] == [("backfill", {"colour": "red"})]


def test_run_that_fails_in_its_own_function_is_continued_by_the_watch(plan: Plan) -> None:
    work(plan)
    ((_, event),) = plan.kit.awslambda.invoked
    plan.meanwhile(fail)
    with pytest.raises(RunFailedError):
        execution.execute(NAME, event=event, context=plan.kit.context())
    plan.watch(utc("02 09:00") + 20 * MINUTE)
    plan.kit.dispatch()
    work(plan)
    execution.execute(NAME, event=plan.kit.awslambda.invoked[-1][1], context=plan.kit.context())
    assert plan.became() == {"02 08:00": "succeeded"}
