"""One mail, at most once: what is refused, what arrives, and the status after each failure."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError

from chalicelib.core.text import clean
from chalicelib.handlers.send_email import send_email
from chalicelib.mail import suppressions
from chalicelib.mail.suppressions import Incident, Reason
from chalicelib.queue import claim
from chalicelib.queue.claim import BACKUP_MS
from chalicelib.schema import emails, jobs
from nightshift.demo.blog import HOSTILE
from nightshift.local.aws import parse_mail
from nightshift.local.environment import SENDER
from nightshift.testkit.kit import DEAD, WORK, Killed, Kit
from nightshift.testkit.memory import MemorySes
from tests.tasks.monthly_report.samples import Page

Log = Callable[[], list[dict[str, Any]]]
# Longer than any lease of a worker that has ended.
LEASE_SECONDS = 300 + 61
INJECTIONS = [
    *HOSTILE,
    "</title></td><script>alert(1)</script>",
    "' onmouseover='x",
    "<!--",
    "\x00name\x00\r\nBcc: e@x.org",
]


@pytest.fixture
def lite(sqlite_url: str) -> Kit:
    """A deployment on SQLite, for tests that do not depend on the database."""
    return Kit(sqlite_url)


def plain(**changed: Any) -> dict[str, Any]:
    return {"to": "jane@example.org", "subject": "Good news", "text": "It is done.\n"} | changed


def notice(*paragraphs: Any, action: Any = None, **changed: Any) -> dict[str, Any]:
    content = {"paragraphs": list(paragraphs) or ["It is done."]} | ({"action": action} if action else {})
    return {"to": "jane@example.org", "subject": "Good news", "template": "notice", "content": content} | changed


def report(**changed: Any) -> dict[str, Any]:
    content = {
        "month": "February 2026",
        "link": "https://reports.example.com/1",
        "cards": [{"label": "New users", "value": "5", "arrow": "", "change": "not compared", "history": []}],
        "posts": [{"title": "Hello", "link": "https://x.org", "author": None, "points": 3, "comments": 1}],
    }
    return {"to": "jane@example.org", "subject": "February", "template": "report", "content": content | changed}


def enqueue(kit: Kit, data: dict[str, Any]) -> str:
    """Enqueue a mail and run the worker once."""
    job_id = kit.enqueue("send_email", data)
    kit.work(kit.receive())
    return job_id


def deliver(kit: Kit, data: dict[str, Any]) -> EmailMessage:
    """Send a mail, and return it as its reader's program reads it."""
    job_id = enqueue(kit, data)
    assert kit.job(job_id).last_error is None
    return read(kit)


def read(kit: Kit) -> EmailMessage:
    message = parse_mail(kit.ses.sent[-1]["Content"]["Raw"]["Data"])
    assert not message.defects
    assert not any(part.defects for part in message.iter_parts())
    return message


def parts(message: EmailMessage) -> dict[str, str]:
    return {part.get_content_subtype(): part.get_content().replace("\r\n", "\n") for part in message.iter_parts()}


def ledger(kit: Kit, job_id: str) -> Any:
    """Return the row of the job's mail, None if there is none."""
    query = select(emails).where(emails.c.job_id == job_id)
    return kit.context().database.transact(lambda connection: connection.execute(query).one_or_none())


def status(kit: Kit, job_id: str) -> tuple[str, str | None]:
    """Return the status of the job and of its mail."""
    row = ledger(kit, job_id)
    return kit.job(job_id).status, row and row.status


def retry(kit: Kit, job_id: str) -> None:
    """Retry a dead job as an operator does, and work until it ends."""
    kit.clock.advance(60)
    reopened = kit.context().database.transact(
        lambda connection: claim.reopen(connection, [job_id], dispatch_ms=kit.clock.now_ms())
    )
    assert reopened == 1
    kit.settle()


def edit(kit: Kit, job_id: str, data: dict[str, Any]) -> None:
    statement = update(jobs).where(jobs.c.id == job_id).values(data=json.dumps(data))
    kit.context().database.transact(lambda connection: connection.execute(statement))


def refusal(code: str, reason: str = "It is refused.", *, http_status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": reason},
        "ResponseMetadata": {"HTTPStatusCode": http_status},
    }
    return ClientError(answer, "SendEmail")


def no_answer() -> ReadTimeoutError:
    return ReadTimeoutError(endpoint_url="https://email.example")


def throttled() -> ClientError:
    return refusal("TooManyRequestsException", "Maximum sending rate exceeded.", http_status=429)


class EventfulSes(MemorySes):
    """SES where something happens just before, or just after, it accepts its first mail; `calls` counts all."""

    def __init__(self, *, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.calls = 0
        self._before, self._after = before, after

    def send_email(self, **call: Any) -> dict[str, Any]:
        self.calls += 1
        before, after, self._before, self._after = self._before, self._after, None, None
        if before:
            before()
        answer = super().send_email(**call)
        if after:
            after()
        return answer


def die() -> None:
    raise Killed


@pytest.mark.parametrize(
    "address",
    [
        "",
        "jane",
        "jane@example.org, eve@example.org",
        "jane@example.org;eve@example.org",
        "Jane <jane@example.org>",
        "<jane@example.org>",
        "jane@example.org\r\nBcc: eve@example.org",
        "jane@example.org\n",
        "jane@example.org\x00",
        " jane@example.org",
        "jané@example.org",
        "jane@exa\u202emple.org",
        "jane@straße.de, jane@strasse.de",
        f"{'jane@example.org,' * 10_000}eve@example.org",
    ],
    ids=lambda address: ascii(address[:40]),
)
def test_invalid_address_is_dead_at_once_and_not_logged(lite: Kit, log: Log, address: str) -> None:
    job = enqueue(lite, plain(to=address))
    assert status(lite, job) == ("dead", None)
    assert lite.job(job).last_error == "InvalidRequestError: to is not one plain e-mail address"
    assert (lite.ses.sent, lite.sqs.messages(WORK), len(lite.sqs.messages(DEAD))) == ([], [], 1)
    lines = [line for line in log() if line.get("job_id") == job]
    assert [line["error"] for line in lines] == ["to is not one plain e-mail address"]
    assert "jane@" not in json.dumps(lines)


def test_unicode_domain_is_sent_to_in_ascii(lite: Kit) -> None:
    message = deliver(lite, plain(to="jane@bücher.example"))
    assert message["To"] == "jane@xn--bcher-kva.example"
    assert lite.ses.sent[-1]["Destination"] == {"ToAddresses": ["jane@xn--bcher-kva.example"]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (plain(to=5), "Expected `str`, got `int` - at `$.to`"),
        (plain(to=["a@x.org", "b@x.org"]), "Expected `str`, got `array` - at `$.to`"),
        (plain(to=None), "Expected `str`, got `null` - at `$.to`"),
        ({"to": "jane@example.org", "text": "x"}, "Object missing required field `subject`"),
        ({"subject": "x", "text": "x"}, "Object missing required field `to`"),
        (plain(cc="eve@example.org"), "Object contains unknown field `cc`"),
        (plain(text=["x"]), "Expected `str | null`, got `array` - at `$.text`"),
        (plain(name=None), "Expected `str`, got `null` - at `$.name`"),
        (notice(content="x"), "Expected `object`, got `str` - at `$.content`"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_payload_is_dead_at_once_and_names_the_key(lite: Kit, data: dict[str, Any], reason: str) -> None:
    job = enqueue(lite, data)
    assert status(lite, job) == ("dead", None)
    assert lite.job(job).last_error == f"InvalidRequestError: the job's data is not valid: {reason}"


@pytest.mark.parametrize(
    "subject",
    [
        *("", " ", "Hi\r\nBcc: eve@example.org", "Hi\n", "\rHi", "Hi\x00name\x00", "Hi\x1b[0m", "Hi\x85", "Hi\x7f"),
        *("Hi\u2028there", "Hi\u2029", " Hi", "Hi\t", "x" * 999, "ü" * 1_000_000),
    ],
    ids=lambda subject: ascii(subject[:20]),
)
def test_invalid_subject_is_dead_at_once(lite: Kit, subject: str) -> None:
    job = enqueue(lite, plain(subject=subject))
    assert status(lite, job) == ("dead", None)
    assert lite.job(job).last_error == (
        "InvalidRequestError: subject must be one line of 1 to 998 characters, "
        "without control characters or space around it"
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"text": None}, "a mail needs a template, or text, or html"),
        ({"text": "", "html": ""}, "a mail needs a template, or text, or html"),
        ({"text": None, "content": {"paragraphs": ["x"]}}, "a mail needs a template, or text, or html"),
        ({"content": {"paragraphs": ["x"]}}, "content is for a template, and this mail has none"),
        ({"template": "notice"}, "a mail has a template, or text and html, not both"),
        ({"template": "notice", "text": None, "html": "x"}, "a mail has a template, or text and html, not both"),
        ({"template": "nosuch", "text": None}, "there is no template 'nosuch'; there are notice, report"),
        # The template exists, but needs values that such a job does not have.
        ({"template": "digest", "text": None}, "there is no template 'digest'; there are notice, report"),
        (
            {"template": "../text.py\x00", "text": None},
            r"there is no template '../text.py\x00'; there are notice, report",
        ),
        ({"template": "", "text": None}, "there is no template ''; there are notice, report"),
        ({"template": "n" * 9999, "text": None}, f"there is no template '{'n' * 64}'; there are notice, report"),
    ],
)
def test_mail_needs_parts_or_existing_template(lite: Kit, changed: dict[str, Any], reason: str) -> None:
    job = enqueue(lite, plain(**changed))
    assert status(lite, job) == ("dead", None)
    assert lite.job(job).last_error == f"InvalidRequestError: {reason}"


LINK = {"label": "Open", "url": "https://x.org"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "Object missing required field `paragraphs`"),
        # A template would render a text as a list of letters.
        ({"paragraphs": "abc"}, "Expected `array`, got `str` - at `$.paragraphs`"),
        ({"paragraphs": {"a": "b"}}, "Expected `array`, got `object` - at `$.paragraphs`"),
        ({"paragraphs": 5}, "Expected `array`, got `int` - at `$.paragraphs`"),
        ({"paragraphs": None}, "Expected `array`, got `null` - at `$.paragraphs`"),
        ({"paragraphs": []}, "Expected `array` of length >= 1 - at `$.paragraphs`"),
        ({"paragraphs": ["a", 5]}, "Expected `str`, got `int` - at `$.paragraphs[1]`"),
        ({"paragraphs": [None]}, "Expected `str`, got `null` - at `$.paragraphs[0]`"),
        ({"paragraphs": [["a"]]}, "Expected `str`, got `array` - at `$.paragraphs[0]`"),
        ({"paragraphs": ["a"], "paragraph": "b"}, "Object contains unknown field `paragraph`"),
        ({"paragraphs": ["a"], "site_url": "https://evil.example"}, "Object contains unknown field `site_url`"),
        ({"paragraphs": ["a"], "personal": {"name": "Eve"}}, "Object contains unknown field `personal`"),
        ({"paragraphs": ["a"], "action": "https://x.org"}, "Expected `object | null`, got `str` - at `$.action`"),
        ({"paragraphs": ["a"], "action": {"label": "Open"}}, "Object missing required field `url` - at `$.action`"),
        (
            {"paragraphs": ["a"], "action": {"url": "https://x.org"}},
            "Object missing required field `label` - at `$.action`",
        ),
        ({"paragraphs": ["a"], "action": LINK | {"url": 5}}, "Expected `str`, got `int` - at `$.action.url`"),
        ({"paragraphs": ["a"], "action": LINK | {"label": ""}}, "Expected `str` of length >= 1 - at `$.action.label`"),
        *(
            (
                {"paragraphs": ["a"], "action": LINK | {"url": url}},
                "Expected `str` matching regex '^https?://' - at `$.action.url`",
            )
            for url in ("javascript:alert(1)", "\x01https://x.org", " https://x.org", "//x.org", "/open", "")
        ),
    ],
)
def test_notice_content_is_paragraphs_and_action_only(lite: Kit, content: dict[str, Any], reason: str) -> None:
    job = enqueue(lite, notice(content=content))
    assert status(lite, job) == ("dead", None)
    sentence = "InvalidRequestError: the template notice cannot take this content: "
    assert lite.job(job).last_error == sentence + reason


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"link": "javascript:alert(1)"}, "Expected `str` matching regex '^https?://' - at `$.link`"),
        ({"cards": "abc"}, "Expected `array`, got `str` - at `$.cards`"),
        ({"cards": [{"label": "New users"}]}, "Object missing required field `value` - at `$.cards[0]`"),
        ({"posts": "abc"}, "Expected `array`, got `str` - at `$.posts`"),
        (
            {"posts": [{"title": "x", "link": "", "author": None, "points": "3", "comments": 1}]},
            "Expected `int`, got `str` - at `$.posts[0].points`",
        ),
        ({"month": None}, "Expected `str`, got `null` - at `$.month`"),
    ],
)
def test_report_content_is_validated(lite: Kit, changed: dict[str, Any], reason: str) -> None:
    job = enqueue(lite, report(**changed))
    assert status(lite, job) == ("dead", None)
    sentence = "InvalidRequestError: the template report cannot take this content: "
    assert lite.job(job).last_error == sentence + reason


def test_refusal_reason_stays_short(lite: Kit) -> None:
    job = enqueue(lite, notice(content={"paragraphs": ["a"], "x" * 100_000: 1}))
    assert lite.job(job).status == "dead"
    assert len(lite.job(job).last_error) < 400


@pytest.mark.parametrize(
    ("changed", "arriving"),
    [
        ({}, {"plain": "It is done.\n"}),
        ({"text": None, "html": "<p>It is <b>done</b>."}, {"html": "<p>It is <b>done</b>."}),
        ({"text": "", "html": "<p>Done"}, {"html": "<p>Done"}),
        ({"html": "<p>Done</p>"}, {"plain": "It is done.\n", "html": "<p>Done</p>"}),
    ],
)
def test_mail_has_only_given_parts(lite: Kit, changed: dict[str, Any], arriving: dict[str, str]) -> None:
    message = deliver(lite, plain(**changed))
    assert message.get_content_type() == "multipart/alternative"
    assert parts(message) == arriving


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE,
        "\x00name\x00",
        "a\n.\nb\n",
        "From here\n\n\n",
        "--=_nightshift--\n",
        "=3D=\n",
        "x" * 5000,
        "  \tkept \n",
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_text_and_html_arrive_unchanged(lite: Kit, text: str) -> None:
    message = deliver(lite, plain(text=text, html=text, name="Eve"))
    assert parts(message) == {"plain": text, "html": text}


def test_headers_are_exactly_these_without_unsubscribe(lite: Kit) -> None:
    message = deliver(lite, notice(name="Jane"))
    assert message.items() == [
        ("From", f"Slow Harbour <{SENDER}>"),
        ("Subject", "Good news"),
        ("Date", "Mon, 02 Mar 2026 12:00:00 +0000"),
        ("To", "jane@example.org"),
        ("MIME-Version", "1.0"),
        ("Content-Type", 'multipart/alternative; boundary="=_nightshift"'),
    ]
    (call,) = lite.ses.sent
    assert (call["FromEmailAddress"], call["Destination"]) == (SENDER, {"ToAddresses": ["jane@example.org"]})


@pytest.mark.parametrize(
    "subject",
    [
        *(title for title in HOSTILE if title == clean(title)),
        *("x" * 998, "ü" * 998, "🐙 ü " * 199 + "🐙 ü", "=?utf-8?q?hi=0D=0ABcc:_eve=40x.org?=", "a  b", "\u202eyadot"),
    ],
    ids=lambda subject: ascii(subject[:30]),
)
def test_accepted_subject_is_decoded_as_written(lite: Kit, subject: str) -> None:
    message = deliver(lite, plain(subject=subject))
    assert message["Subject"] == subject
    assert message["Bcc"] is None


def test_notice_has_paragraphs_and_action_in_both_parts(lite: Kit) -> None:
    action = {"label": "Open <it>", "url": "https://x.org/?a=1&b=2"}
    message = deliver(lite, notice("One & two.", "Three.", action=action, name="Jane <J>"))
    page = Page(parts(message)["html"])
    assert "Hi Jane <J> , One & two. Three. Open <it> Slow Harbour sent you this mail." in page.text
    assert page.links == ["https://slow-harbour.example", "https://x.org/?a=1&b=2"]
    assert parts(message)["plain"].splitlines() == [
        *("Slow Harbour", "Good news", "", "Hi Jane <J>,", "", "One & two.", "", "Three.", ""),
        *("Open <it>:", "https://x.org/?a=1&b=2", "", "Slow Harbour sent you this mail."),
    ]


@pytest.mark.parametrize("name", ["", " ", "\x00\r\n\u2028"], ids=ascii)
def test_missing_name_gets_default_greeting(lite: Kit, name: str) -> None:
    for part in parts(deliver(lite, notice(name=name))).values():
        assert "Hi" in part
        assert "there" in part


def test_null_action_is_no_action(lite: Kit) -> None:
    message = deliver(lite, notice(content={"paragraphs": ["a"], "action": None}))
    assert Page(parts(message)["html"]).links == ["https://slow-harbour.example"]


def test_report_content_from_json_is_sent(lite: Kit) -> None:
    message = deliver(lite, report())
    assert "New users: 5 (not compared)" in parts(message)["plain"]
    assert "https://reports.example.com/1" in Page(parts(message)["html"]).links


@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
def test_notice_text_cannot_inject_anything(lite: Kit, text: str) -> None:
    action = {"label": text, "url": f"https://x.org/{text}"}
    data = notice(text, action=action, name=text, subject=clean(text))
    hostile, harmless = deliver(lite, data), deliver(lite, notice("a", action=LINK, name="b", subject="c"))
    assert sorted(hostile.keys()) == sorted(harmless.keys())
    page, expected = Page(parts(hostile)["html"]), Page(parts(harmless)["html"])
    assert page.tags == expected.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in expected.attributes]
    assert clean(f"https://x.org/{text}") in page.links
    # In the title, preview, heading, greeting, paragraph and label.
    assert page.text.count(" ".join(clean(text).split())) == 6
    assert parts(hostile)["plain"].splitlines() == [
        *("Slow Harbour", clean(text), "", f"Hi {clean(text)},", "", clean(text), ""),
        *(f"{clean(text)}:", clean(f"https://x.org/{text}"), "", "Slow Harbour sent you this mail."),
    ]


def test_mail_larger_than_sqs_message_arrives_whole(lite: Kit) -> None:
    long = "Donaudampfschiff 🐙 <b> " * 50_000
    message = deliver(lite, notice(long))
    assert long.strip() in parts(message)["plain"]


def test_repeated_message_sends_one_mail(kit: Kit) -> None:
    job = enqueue(kit, plain())
    for _ in range(3):
        kit.redeliver(job)
    kit.drain()
    assert status(kit, job) == ("completed", "sent")
    assert len(kit.ses.sent) == 1
    row = ledger(kit, job)
    assert row.provider_id
    assert (row.claimed_at, row.settled_at, row.error) == (kit.clock.now_ms(), kit.clock.now_ms(), None)


def test_sent_mail_of_unrecorded_job_is_not_resent(kit: Kit, log: Log) -> None:
    with kit.killed_at("end"):
        job = enqueue(kit, plain())
    assert status(kit, job) == ("claimed", "sent")
    kit.settle()
    assert status(kit, job) == ("completed", "sent")
    assert len(kit.ses.sent) == 1
    (line,) = [line for line in log() if line.get("job_id") == job]
    assert (line["outcome"], line["total"], line["skipped"]) == ("succeeded", 1, 1)


def test_worker_killed_before_claim_leaves_mail_for_later(kit: Kit) -> None:
    with kit.killed_at("begin"):
        job = enqueue(kit, plain())
    assert status(kit, job) == ("claimed", None)
    kit.settle()
    assert status(kit, job) == ("completed", "sent")
    assert len(kit.ses.sent) == 1


@pytest.mark.parametrize(("moment", "mails"), [("before", 0), ("after", 1)])
def test_mail_killed_during_call_is_resent_only_by_operator(kit: Kit, moment: str, mails: int) -> None:
    kit.ses = EventfulSes(**{moment: die})
    job = enqueue(kit, plain())
    assert status(kit, job) == ("claimed", "sending")
    kit.settle()
    assert status(kit, job) == ("dead", "unknown")
    assert len(kit.ses.sent) == mails
    assert kit.job(job).last_error == (
        "PermanentError: an earlier attempt ended in the call to SES, so it may have been sent; "
        "retry the job to send it again"
    )
    row = ledger(kit, job)
    assert row.error == "the process ended before SES's answer was recorded"
    assert row.settled_at == kit.job(job).ended_at
    retry(kit, job)
    assert status(kit, job) == ("completed", "sent")
    assert len(kit.ses.sent) == mails + 1
    assert ledger(kit, job).error is None


def test_dead_mail_does_not_affect_its_batch(kit: Kit) -> None:
    kit.ses = EventfulSes(after=die)
    first, second = kit.enqueue("send_email", plain()), kit.enqueue("send_email", plain(to="bob@example.org"))
    kit.drain()
    kit.settle()
    assert {status(kit, first), status(kit, second)} == {("dead", "unknown"), ("completed", "sent")}
    assert sorted(call["Destination"]["ToAddresses"][0] for call in kit.ses.sent) == [
        "bob@example.org",
        "jane@example.org",
    ]


@contextmanager
def no_dead_letters(kit: Kit) -> Iterator[None]:
    """Make the dead-letter queue refuse messages."""
    kit.sqs.refuse.add("SendMessage")
    try:
        yield
    finally:
        kit.sqs.refuse.clear()


@pytest.mark.parametrize(
    "error", [no_answer(), refusal("InternalFailure", http_status=500)], ids=lambda e: type(e).__name__
)
def test_unknown_mail_is_dead_and_resent_only_by_operator(kit: Kit, error: Exception) -> None:
    kit.ses.answers = [error]
    job = enqueue(kit, plain())
    assert status(kit, job) == ("dead", "unknown")
    reason = kit.job(job).last_error
    assert reason.startswith("PermanentError: it may or may not have been sent: ")
    assert reason.endswith("; retry the job to send it again")
    assert ledger(kit, job).error in reason
    kit.redeliver(job)
    kit.clock.advance(LEASE_SECONDS)
    kit.settle()
    assert (status(kit, job), kit.ses.sent) == (("dead", "unknown"), [])
    retry(kit, job)
    assert (status(kit, job), len(kit.ses.sent)) == (("completed", "sent"), 1)


def test_unknown_mail_is_not_resent_by_attempt_that_dead_letters_it(kit: Kit) -> None:
    kit.ses = EventfulSes()
    kit.ses.answers = [no_answer()]
    with no_dead_letters(kit):
        job = enqueue(kit, plain())
    assert status(kit, job) == ("failed", "unknown")
    kit.settle()
    assert status(kit, job) == ("dead", "unknown")
    assert kit.ses.calls == 1
    retry(kit, job)
    assert (status(kit, job), kit.ses.calls) == (("completed", "sent"), 2)


@pytest.mark.parametrize("in_company", [False, True])
def test_unknown_mail_killed_before_dead_is_not_resent(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, in_company: bool
) -> None:
    kit.ses = EventfulSes()
    kit.ses.answers = [no_answer()]
    job = kit.enqueue("send_email", plain())
    if in_company:
        kit.enqueue("send_email", plain())
    with monkeypatch.context() as patch:
        patch.setattr(kit.sqs, "send_message", lambda **_: die())
        kit.work(kit.receive())
    assert status(kit, job) == ("claimed", "unknown")
    kit.settle()
    assert status(kit, job) == ("dead", "unknown")
    assert kit.ses.calls == len(kit.ses.sent) + 1 == (2 if in_company else 1)
    # After an operator's retry it is killed in the same way again.
    retry_calls = kit.ses.calls
    kit.ses.answers = [no_answer()]
    kit.clock.advance(60)
    kit.context().database.transact(lambda connection: claim.reopen(connection, [job], dispatch_ms=kit.clock.now_ms()))
    kit.dispatch()
    with monkeypatch.context() as patch:
        patch.setattr(kit.sqs, "send_message", lambda **_: die())
        kit.work(kit.receive())
    kit.settle()
    assert (status(kit, job), kit.ses.calls) == (("dead", "unknown"), retry_calls + 1)


@pytest.mark.parametrize(
    "error",
    [
        throttled(),
        EndpointConnectionError(endpoint_url="https://email.example"),
        refusal("AccountSuspendedException", "Sending is paused for this account."),
        refusal("LimitExceededException", "Daily message quota exceeded."),
    ],
    ids=["throttled", "unreachable", "paused", "quota"],
)
def test_unsent_mail_is_sent_after_backoff(kit: Kit, error: Exception) -> None:
    kit.ses.answers = [error, error, error]
    job = kit.enqueue("send_email", plain())
    for wait in send_email.backoff_seconds[:3]:
        kit.work(kit.receive())
        assert status(kit, job) == ("failed", "pending")
        assert ledger(kit, job).settled_at is None
        seconds = (kit.job(job).due_at - kit.clock.now_ms()) / 1000
        assert 0.8 * wait <= seconds <= 1.2 * wait
        kit.clock.advance(seconds - 2)
        assert kit.receive() == []
        kit.clock.advance(4)
    kit.work(kit.receive())
    assert (status(kit, job), kit.job(job).attempts, len(kit.ses.sent)) == (("completed", "sent"), 4, 1)


def test_mail_throttled_for_a_day_is_dead_and_can_be_retried(kit: Kit) -> None:
    kit.ses.answers = [throttled() for _ in range(send_email.max_attempts)]
    job = kit.enqueue("send_email", plain())
    for _ in range(send_email.max_attempts):
        assert kit.job(job).status != "dead"
        kit.dispatch()
        kit.drain()
        kit.clock.advance(send_email.backoff_seconds[-1] * 1.2 + BACKUP_MS / 1000)
    assert status(kit, job) == ("dead", "pending")
    assert kit.job(job).last_error == "ThrottledError: SES asks for a slower pace: Maximum sending rate exceeded."
    assert len(kit.sqs.messages(DEAD)) == 1
    retry(kit, job)
    assert (status(kit, job), len(kit.ses.sent)) == (("completed", "sent"), 1)


def test_refused_mail_is_dead_and_sent_after_correction(kit: Kit, log: Log) -> None:
    kit.ses.answers = [refusal("MessageRejected", "Address jane@example.org is on the suppression list.")]
    job = enqueue(kit, plain())
    assert status(kit, job) == ("dead", "refused")
    assert kit.job(job).attempts == 1
    assert "MessageRejected: Address jane@example.org is on the suppression list." in kit.job(job).last_error
    assert ledger(kit, job).error == "MessageRejected: Address jane@example.org is on the suppression list."
    (line,) = [line for line in log() if line.get("job_id") == job]
    assert line["error"].endswith("Address j***@example.org is on the suppression list.")
    edit(kit, job, plain(to="jane@example.com"))
    retry(kit, job)
    assert status(kit, job) == ("completed", "sent")
    assert [call["Destination"]["ToAddresses"] for call in kit.ses.sent] == [["jane@example.com"]]
    assert ledger(kit, job).error is None


def test_mail_refused_again_is_dead_again(kit: Kit) -> None:
    kit.ses.answers = [refusal("MessageRejected", "once"), refusal("MessageRejected", "twice")]
    job = enqueue(kit, plain())
    retry(kit, job)
    assert (status(kit, job), ledger(kit, job).error) == (("dead", "refused"), "MessageRejected: twice")


def test_invalid_job_is_sent_after_correction(kit: Kit) -> None:
    job = enqueue(kit, notice(content={"paragraphs": "abc"}))
    assert status(kit, job) == ("dead", None)
    edit(kit, job, notice("abc"))
    retry(kit, job)
    assert (status(kit, job), len(kit.ses.sent)) == (("completed", "sent"), 1)


def test_operator_retry_does_not_resend_sent_mail(kit: Kit) -> None:
    job = kit.enqueue("send_email", plain())
    with kit.killed_at("end"):
        while kit.job(job).status != "dead":
            kit.dispatch()
            kit.drain()
            kit.clock.advance(LEASE_SECONDS)
    retry(kit, job)
    assert (status(kit, job), len(kit.ses.sent)) == (("completed", "sent"), 1)


@contextmanager
def database_gone(kit: Kit) -> Iterator[None]:
    """Make every statement fail, as if the server had gone."""
    engine = kit.context().database.engine

    def refuse(*_: Any) -> None:
        raise OperationalError("any", {}, Exception(2013, "Lost connection to server during query"))

    event.listen(engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", refuse)


def test_mail_with_unrecorded_answer_is_not_resent(kit: Kit) -> None:
    gone = database_gone(kit)
    kit.ses = EventfulSes(after=gone.__enter__)
    job = enqueue(kit, plain())
    gone.__exit__(None, None, None)
    assert status(kit, job) == ("claimed", "sending")
    kit.settle()
    assert status(kit, job) == ("dead", "unknown")
    assert len(kit.ses.sent) == 1


@pytest.mark.parametrize("error", [throttled(), refusal("MessageRejected")], ids=["throttled", "refused"])
def test_unsent_mail_with_unrecorded_answer_is_unknown(kit: Kit, error: Exception) -> None:
    gone = database_gone(kit)
    kit.ses = EventfulSes(before=gone.__enter__)
    kit.ses.answers = [error]
    job = enqueue(kit, plain())
    gone.__exit__(None, None, None)
    kit.settle()
    assert status(kit, job) == ("dead", "unknown")
    retry(kit, job)
    assert (status(kit, job), len(kit.ses.sent)) == (("completed", "sent"), 1)


def test_unrecorded_mail_is_not_sent(kit: Kit) -> None:
    job = kit.enqueue("send_email", plain())
    messages = kit.receive()
    with database_gone(kit):
        assert kit.work(messages) is None
    assert kit.ses.sent == []
    kit.clock.advance(1800)
    kit.settle()
    assert (status(kit, job), len(kit.ses.sent)) == (("completed", "sent"), 1)


def suppress(kit: Kit, address: str = "jane@example.org") -> None:
    now_ms = kit.clock.now_ms()
    incident = Incident(
        address=address, spellings=frozenset(), reason=Reason.COMPLAINT, message_id="1", at_ms=now_ms, words=""
    )
    kit.context().database.transact(lambda connection: suppressions.record(connection, incident, now_ms=now_ms))


@pytest.mark.parametrize("to", ["jane@example.org", "Jane@Example.ORG"])
def test_mail_to_suppressed_address_is_withheld_without_alarm(kit: Kit, log: Log, to: str) -> None:
    suppress(kit)
    job = enqueue(kit, plain(to=to))
    assert status(kit, job) == ("completed", "refused")
    assert ledger(kit, job).error == "the address is suppressed: complaint"
    assert (kit.ses.sent, kit.sqs.messages(WORK), kit.sqs.messages(DEAD)) == ([], [], [])
    lines = log()
    assert "mail withheld" in [line.get("message") for line in lines]
    (summary,) = (line for line in lines if line.get("outcome") and line.get("job_id", job) == job)
    assert (summary["outcome"], summary["total"], summary["skipped"]) == ("succeeded", 1, 1)
    assert "jane@" not in json.dumps(lines).lower()


def test_mail_to_another_address_is_sent(kit: Kit) -> None:
    suppress(kit, "joe@example.org")
    assert status(kit, enqueue(kit, plain())) == ("completed", "sent")


def test_lifted_address_gets_the_next_mail(kit: Kit) -> None:
    suppress(kit)
    enqueue(kit, plain())
    database = kit.context().database
    database.transact(lambda connection: suppressions.lift(connection, "jane@example.org", now_ms=1))
    assert status(kit, enqueue(kit, plain())) == ("completed", "sent")
    assert len(kit.ses.sent) == 1


def test_sent_mail_stays_sent_after_suppression(kit: Kit) -> None:
    job = enqueue(kit, plain())
    suppress(kit)
    kit.redeliver(job)
    kit.drain()
    assert status(kit, job) == ("completed", "sent")


def test_unknown_mail_stays_unknown_after_suppression(kit: Kit) -> None:
    kit.ses = EventfulSes(after=die)
    job = enqueue(kit, plain())
    suppress(kit)
    kit.clock.advance(LEASE_SECONDS)
    kit.settle()
    assert status(kit, job) == ("dead", "unknown")


def test_failed_suppression_lookup_delays_the_mail(kit: Kit) -> None:
    engine = kit.context().database.engine

    def refuse(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM suppressions" in statement:
            raise OperationalError("any", {}, Exception(2013, "Lost connection to server during query"))

    event.listen(engine, "before_cursor_execute", refuse)
    job = enqueue(kit, plain())
    event.remove(engine, "before_cursor_execute", refuse)
    assert status(kit, job) == ("failed", None)
    kit.settle()
    assert status(kit, job) == ("completed", "sent")


def test_worker_without_time_for_a_call_leaves_mail_for_later(kit: Kit) -> None:
    job = kit.enqueue("send_email", plain())
    assert kit.work(kit.receive(), seconds=44) is None
    assert (status(kit, job), kit.ses.sent) == (("failed", None), [])
    kit.settle()
    assert (status(kit, job), len(kit.ses.sent)) == (("completed", "sent"), 1)


def test_worker_with_time_for_one_call_to_ses_makes_it(kit: Kit) -> None:
    job = kit.enqueue("send_email", plain())
    kit.work(kit.receive(), seconds=46)
    assert (status(kit, job), len(kit.ses.sent)) == (("completed", "sent"), 1)


@pytest.mark.parametrize(("seconds", "sent_at_once"), [(19, 2), (21, 1)])
def test_mail_waits_for_pace_while_time_allows(database_url: str, seconds: int, sent_at_once: int) -> None:
    kit = Kit(database_url, MAIL_RATE=str(1 / seconds), MAIL_WORKERS="1")
    ids = [kit.enqueue("send_email", plain()) for _ in range(2)]
    kit.work(kit.receive())
    assert len(kit.ses.sent) == sent_at_once
    # The attempt may be interrupted a minute after it began, and a call may take 35 seconds.
    assert sum(kit.clock.slept) + 35 < 60
    kit.settle()
    assert [status(kit, job) for job in ids] == [("completed", "sent")] * 2
    assert len(kit.ses.sent) == 2


def test_unknown_account_rate_delays_the_mail(database_url: str) -> None:
    class SilentSes(MemorySes):
        def get_account(self) -> dict[str, Any]:
            raise refusal("TooManyRequestsException", http_status=429)

    kit = Kit(database_url, MAIL_RATE="")
    kit.ses = SilentSes()
    job = enqueue(kit, plain())
    assert (status(kit, job), kit.ses.sent) == (("failed", None), [])
    assert kit.job(job).last_error.startswith("TransientError: SES does not return the account's quota")
