"""The live page's buttons in a browser: they work without a script, and for this page alone."""

from pathlib import Path

import pytest
from sqlalchemy import select

from chalicelib.schema import jobs, pauses
from tests.dev.conftest import Visitor
from tests.e2e.browser.browser import Browser

OPEN_ALL = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


@pytest.mark.parametrize("width", [360, 1200])
def test_in_a_browser_the_buttons_work_without_a_script_and_nothing_sticks_out(
    chromium: Browser, visitor: Visitor, width: int
) -> None:
    visitor.give_up()
    chromium.show(width=width, scheme="dark")
    chromium.open(visitor.server.url)
    chromium.evaluate(OPEN_ALL)
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.requests == [visitor.server.url]
    chromium.evaluate("document.querySelector('form[action=\"/retry\"] button').click()")
    chromium.wait()
    assert chromium.evaluate("document.querySelector('.notice').textContent") == "Job dead is retried."
    # A pause without a reason is not sent at all.
    chromium.evaluate(OPEN_ALL)
    chromium.evaluate("document.querySelector('form[action=\"/pause-task\"] button').click()")
    assert chromium.evaluate("document.querySelector('form[action=\"/pause-task\"] :invalid').name") == "reason"
    chromium.evaluate("document.querySelector('form[action=\"/pause-task\"] [name=reason]').value = 'too many mails'")
    chromium.evaluate("document.querySelector('form[action=\"/pause-task\"] button').click()")
    chromium.wait()
    assert [row.reason for row in visitor.world.execute(select(pauses))] == ["too many mails"]
    assert chromium.complaints == []


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_the_buttons_of_a_task_are_in_one_row(chromium: Browser, visitor: Visitor, width: int) -> None:
    chromium.show(width=width, scheme="light")
    chromium.open(visitor.server.url)
    rows = chromium.evaluate(
        "[...document.querySelectorAll('.task .buttons')]"
        ".map((each) => new Set([...each.children].map((button) => button.getBoundingClientRect().top)).size)"
    )
    assert len(rows) > 1
    assert set(rows) == {1}


def test_a_page_of_another_site_cannot_press_a_button(chromium: Browser, visitor: Visitor, tmp_path: Path) -> None:
    visitor.give_up()
    file = tmp_path / "evil.html"
    # Even one that has learnt the token.
    file.write_text(
        f'<form method="post" action="http://{visitor.host}/forget"><input name="token" value="{visitor.server.token}">'
        '<input name="id" value="dead"></form>'
    )
    chromium.open(file.as_uri())
    chromium.evaluate("document.forms[0].submit()")
    chromium.wait()
    assert "only this server's own page" in chromium.evaluate("document.body.textContent")
    assert [row.status for row in visitor.world.execute(select(jobs))] == ["dead"]
