"""Each button of the live page does what the operator's command does, and the page tells what became of it."""

import html

import pytest
from sqlalchemy import URL, insert, select

from chalicelib.schema import jobs, pauses, runs
from nightshift.demo.blog import HOSTILE
from tests.dev.conftest import Visitor
from tests.tasks.monthly_report.samples import Page


def test_the_page_is_the_status_with_buttons_and_where_it_is_from(visitor: Visitor) -> None:
    visitor.give_up()
    answer = visitor.open()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    shown = Page(answer.text)
    assert "Not well: 1 job was given up." in shown.text
    assert "Live, with this shell's settings, on " in shown.text
    assert ("href", visitor.server.path) in shown.attributes
    actions = {value for name, value in shown.attributes if name == "action"}
    assert actions == {"/run", "/pause-task", "/retry", "/forget", "/pause-jobs"}
    assert shown.tags.count("form") == [value for _, value in shown.attributes].count(visitor.server.token)
    assert {value for name, value in shown.attributes if name == "method"} == {"post"}


def test_a_password_of_the_database_is_not_shown(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = URL.create("mysql+pymysql", "root", "hunter2", "127.0.0.1", 1, "gone")
    monkeypatch.setenv("DATABASE_URL", gone.render_as_string(hide_password=False))
    answer = visitor.open()
    assert answer.status == 503
    assert answer.text.startswith("the status cannot be read: ")
    assert "hunter2" not in answer.text


def test_a_job_is_tried_again(visitor: Visitor) -> None:
    visitor.give_up()
    answer = visitor.press("retry", id="dead")
    assert (answer.status, answer.headers["Location"]) == (303, visitor.server.path)
    (row,) = visitor.world.execute(select(jobs))
    assert row.status == "pending"
    assert visitor.world.messages_left() == 1
    assert visitor.notice() == "Job dead is retried."


def test_a_job_is_forgotten(visitor: Visitor) -> None:
    visitor.give_up()
    visitor.press("forget", id="dead")
    assert visitor.world.execute(select(jobs)) == []
    assert visitor.notice() == "Job dead is deleted."


def test_what_a_button_did_is_told_once(visitor: Visitor) -> None:
    visitor.press("resume-task", name="daily_digest")
    assert visitor.notice() == "daily_digest was not paused."
    assert visitor.notice() == ""


@pytest.mark.parametrize(
    ("kind", "name", "table_kind"), [("task", "daily_digest", "task"), ("jobs", "send_email", "job")]
)
def test_tasks_and_types_of_jobs_are_paused_with_a_reason_and_resumed(
    visitor: Visitor, kind: str, name: str, table_kind: str
) -> None:
    visitor.press(f"pause-{kind}", name=name, reason="The mails are wrong.")
    (row,) = visitor.world.execute(select(pauses))
    assert (row.kind, row.name, row.reason) == (table_kind, name, "The mails are wrong.")
    assert f'action="/resume-{kind}"' in visitor.open().text
    visitor.press(f"resume-{kind}", name=name)
    assert visitor.world.execute(select(pauses)) == []
    assert visitor.notice() == f"Resumed {name}."


def test_a_pause_of_every_task_has_one_button_to_resume(visitor: Visitor) -> None:
    visitor.world.execute(insert(pauses).values(kind="task", name="*", reason="a migration", paused_at=1))
    source = visitor.open().text
    assert source.count('action="/resume-task"') == 1
    assert source.count('action="/pause-task"') == 0
    visitor.press("resume-task", name="*")
    assert visitor.world.execute(select(pauses)) == []


def test_a_task_is_run_now(visitor: Visitor) -> None:
    visitor.press("run", name="record_activity")
    (row,) = visitor.world.execute(select(runs))
    assert (row.task, row.status, row.trigger) == ("record_activity", "succeeded", "manual")
    assert visitor.notice() == "record_activity: succeeded."


def test_a_run_that_takes_its_time_goes_on_behind_the_page(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightshift.dev.actions.PATIENCE_SECONDS", 0)
    visitor.press("run", name="record_activity")
    assert visitor.notice() == "record_activity is running."


@pytest.mark.parametrize(
    ("action", "fields", "sentence"),
    [
        ("retry", {"id": "nobody"}, "no matching dead job has the id nobody"),
        ("forget", {"id": ""}, "no matching dead job"),
        ("pause-task", {"name": "daily_digest", "reason": ""}, "Expected `str` of length >= 1"),
        ("pause-task", {"name": "<b>", "reason": "x"}, "there is no task '<b>'"),
        ("pause-jobs", {"name": "nothing", "reason": "x"}, "there is no handler for jobs of type 'nothing'"),
        ("resume-task", {"name": "nothing"}, "there is no task 'nothing'"),
        ("run", {"name": "cache_warming"}, "cache_warming failed"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    visitor: Visitor, action: str, fields: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    assert visitor.press(action, **fields).status == 303
    notice = html.unescape(visitor.notice())
    assert notice.startswith("Not done: ")
    assert sentence in notice


@pytest.mark.parametrize("name", ["nothing", "app", "operate", "_execute", "PARTS"])
def test_only_a_task_can_be_run(visitor: Visitor, name: str) -> None:
    visitor.press("run", name=name)
    assert html.unescape(visitor.notice()) == f"Not done: there is no task {name!r}; there are " + ", ".join(_tasks())


def _tasks() -> list[str]:
    import app

    return list(app.app.schedules)


@pytest.mark.parametrize("text", [HOSTILE[5], HOSTILE[11], '"><script>alert(1)</script>', "' onclick='alert(1)"])
def test_no_text_of_a_row_or_of_a_form_becomes_markup(visitor: Visitor, text: str) -> None:
    def open_with(words: str) -> Page:
        visitor.world.execute(jobs.delete())
        visitor.world.execute(pauses.delete())
        visitor.give_up(id=words[:36], type=words[:64], last_error=words)
        visitor.world.execute(insert(pauses).values(kind="job", name=words[:64], reason=words, paused_at=1))
        visitor.press("retry", id=words)
        return Page(visitor.open().text)

    poisoned, harmless = open_with(text), open_with("x" * len(text))
    assert poisoned.tags == harmless.tags
    assert [name for name, _ in poisoned.attributes] == [name for name, _ in harmless.attributes]
