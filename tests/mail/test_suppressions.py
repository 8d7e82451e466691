"""Suppressed addresses: what suppresses one, what counts once, and lifting."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from chalicelib.core.clock import SystemClock
from chalicelib.core.database import Database
from chalicelib.core.errors import InvalidRequestError
from chalicelib.mail import suppressions
from chalicelib.mail.commands import Address, Newest, lift, list_suppressions
from chalicelib.mail.suppressions import Incident, Reason
from chalicelib.schema import suppressions as table
from nightshift.testkit.kit import Kit

JANE = "jane@example.org"
DAY = 86_400


@dataclass(kw_only=True)
class Book:
    """The suppressions of a deployment with a frozen clock; each incident has its own mail."""

    kit: Kit
    mails: int = 0
    recorded: list[Incident] = field(default_factory=list)

    def record(
        self, reason: Reason, *, address: str = JANE, words: str = "", days_ago: float = 0, mail: str = ""
    ) -> bool:
        """Record an incident, and return whether it is new."""
        self.mails += 1
        incident = Incident(
            address=address,
            spellings=frozenset([address]),
            reason=reason,
            message_id=mail or f"mail-{self.mails}",
            at_ms=self.kit.clock.now_ms() - round(1000 * DAY * days_ago),
            words=words,
        )
        self.recorded.append(incident)
        return self.record_again(incident)

    def record_again(self, incident: Incident) -> bool:
        now_ms = self.kit.clock.now_ms()
        return bool(self.transact(lambda connection: suppressions.record(connection, incident, now_ms=now_ms)))

    def suppressed(self, *addresses: str | None) -> dict[str, str]:
        return dict(self.transact(lambda connection: suppressions.among(connection, addresses or [JANE])))

    def lift(self, address: str = JANE) -> bool:
        return bool(lift(self.kit.context(), Address(address=address))["lifted"])

    def list(self, **asked: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = list_suppressions(self.kit.context(), Newest(**asked))["suppressions"]
        return found

    def row(self, address: str = JANE) -> Any:
        return self.transact(
            lambda connection: connection.execute(select(table).where(table.c.address == address)).one()
        )

    def transact(self, work: Callable[[Connection], Any]) -> Any:
        return self.kit.context().database.transact(work)


@pytest.fixture
def book(database_url: str) -> Book:
    return Book(kit=Kit(database_url))


@pytest.mark.parametrize("reason", [Reason.PERMANENT, Reason.COMPLAINT])
def test_permanent_bounce_and_complaint_suppress_at_once(book: Book, reason: Reason) -> None:
    assert book.record(reason)
    assert book.suppressed(JANE, "joe@example.org") == {JANE: reason}


def test_fifth_transient_bounce_in_a_fortnight_suppresses(book: Book) -> None:
    for _ in range(4):
        book.record(Reason.TRANSIENT)
        assert book.suppressed() == {}
        book.kit.clock.advance(3 * DAY)
    assert (book.row().bounces, book.row().suppressed_at) == (4, None)
    book.record(Reason.TRANSIENT)
    assert book.suppressed() == {JANE: "transient bounce"}
    assert (book.row().bounces, book.row().suppressed_at) == (5, book.kit.clock.now_ms())


def test_rarer_transient_bounces_never_suppress(book: Book) -> None:
    for _ in range(12):
        book.record(Reason.TRANSIENT)
        book.kit.clock.advance(3.5 * DAY)
    assert book.suppressed() == {}
    assert book.row().bounces == 12


def test_time_of_bounce_counts_not_of_delivery(book: Book) -> None:
    for days_ago in (20, 18, 16, 14):
        book.record(Reason.TRANSIENT, days_ago=days_ago)
    for _ in range(4):
        book.record(Reason.TRANSIENT, days_ago=1)
    assert book.suppressed() == {}
    book.record(Reason.TRANSIENT, days_ago=13.9)
    assert book.suppressed() == {JANE: "transient bounce"}


def test_bounces_of_one_address_do_not_count_for_another(book: Book) -> None:
    for number in range(5):
        book.record(Reason.TRANSIENT, address=f"jane{number}@example.org")
    assert book.suppressed(*(f"jane{number}@example.org" for number in range(5))) == {}


@pytest.mark.parametrize("reason", Reason)
def test_repeated_incident_is_not_new(book: Book, reason: Reason) -> None:
    assert book.record(reason)
    before = book.row()
    for _ in range(5):
        book.kit.clock.advance(60)
        assert not book.record_again(book.recorded[0])
    assert book.row() == before


def test_another_reason_for_same_mail_is_new(book: Book) -> None:
    assert [book.record(reason, mail="the one") for reason in Reason] == [True, True, True]
    assert book.suppressed() == {JANE: "complaint"}


@pytest.mark.parametrize(
    ("reasons", "reason"),
    [
        ([Reason.PERMANENT, Reason.COMPLAINT], "complaint"),
        ([Reason.COMPLAINT, Reason.PERMANENT], "complaint"),
        ([Reason.COMPLAINT, Reason.TRANSIENT], "complaint"),
        ([Reason.PERMANENT, Reason.TRANSIENT], "permanent bounce"),
        ([*[Reason.TRANSIENT] * 5, Reason.PERMANENT, Reason.TRANSIENT], "permanent bounce"),
    ],
)
def test_strongest_reason_and_first_time_are_kept(book: Book, reasons: list[Reason], reason: str) -> None:
    moments = []
    for each in reasons:
        book.record(each, words=f"words of a {each}")
        moments.append(book.row().suppressed_at)
        book.kit.clock.advance(60)
    assert book.suppressed() == {JANE: reason}
    assert book.list()[0]["words"] == f"words of a {reason}"
    assert len(set(filter(None, moments))) == 1


def test_address_is_found_in_any_spelling_and_returned_as_given(book: Book) -> None:
    book.record(Reason.PERMANENT, address="jane@xn--bcher-kva.example")
    asked = ["Jane@Bücher.example", "jane@xn--bcher-kva.EXAMPLE", "jane@bucher.example", "jané@bücher.example"]
    assert set(book.suppressed(*asked)) == set(asked[:2])


@pytest.mark.parametrize(
    "invalid", [None, "", "jane", "a@example.org, b@example.org", "jane@exa\ud800mple.org", "@" * 999]
)
def test_invalid_address_is_not_suppressed_and_hides_no_other(book: Book, invalid: str | None) -> None:
    book.record(Reason.PERMANENT)
    assert book.suppressed(invalid, JANE) == {JANE: "permanent bounce"}


def test_lifted_address_gets_mail_and_counts_from_zero(book: Book) -> None:
    for _ in range(5):
        book.record(Reason.TRANSIENT)
    assert book.lift()
    assert (book.suppressed(), book.row().bounces, book.list()) == ({}, 0, [])
    for _ in range(4):
        book.record(Reason.TRANSIENT)
    assert book.suppressed() == {}
    book.record(Reason.TRANSIENT)
    assert book.suppressed() == {JANE: "transient bounce"}


@pytest.mark.parametrize("reason", Reason)
def test_late_copy_does_not_suppress_lifted_address(book: Book, reason: Reason) -> None:
    for _ in range(5):
        book.record(reason)
    book.lift()
    assert [book.record_again(incident) for incident in book.recorded] == [False] * 5
    assert book.suppressed() == {}


@pytest.mark.parametrize("reason", [Reason.PERMANENT, Reason.COMPLAINT])
def test_new_incident_suppresses_lifted_address(book: Book, reason: Reason) -> None:
    book.record(Reason.COMPLAINT)
    book.lift()
    book.record(reason)
    assert book.suppressed() == {JANE: reason}


def test_lifting_unsuppressed_address_changes_nothing(book: Book) -> None:
    book.record(Reason.TRANSIENT)
    before = book.row()
    assert [book.lift("joe@example.org"), book.lift()] == [False, False]
    assert book.row() == before


def test_operator_lifts_an_address_in_any_spelling(book: Book) -> None:
    book.record(Reason.PERMANENT)
    assert book.lift("Jane@Example.ORG")
    assert book.suppressed() == {}


@pytest.mark.parametrize(
    "address", ["", "jane", "a@example.org, b@example.org", "Jane <jane@example.org>", "\ud800@x.org"]
)
def test_lifting_invalid_address_fails_without_showing_it(book: Book, address: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        book.lift(address)
    assert str(refused.value) == "address is not one plain e-mail address"


def test_list_is_newest_first_and_masks_addresses(book: Book) -> None:
    for number, reason in enumerate([Reason.PERMANENT, Reason.COMPLAINT, Reason.TRANSIENT]):
        book.record(reason, address=f"jane{number}@example.org", words=f"550 <jane{number}@example.org> is unknown")
        book.kit.clock.advance(60)
    assert book.list() == [
        {
            "address": "j***@example.org",
            "reason": reason,
            "words": "550 <j***@example.org> is unknown",
            "bounces": 0,
            "suppressed_at": f"2026-03-02T12:0{minute}:00Z",
        }
        for minute, reason in ((1, "complaint"), (0, "permanent bounce"))
    ]
    assert [found["reason"] for found in book.list(limit=1)] == ["complaint"]


@pytest.mark.parametrize("words", ["x" * 10_000, '"\\' * 5000, "🐙" * 10_000, "用" * 10_000])
def test_any_incidents_fit_into_the_row(book: Book, words: str) -> None:
    for _ in range(20):
        book.record(Reason.TRANSIENT, words=words)
    assert len(book.row().detail) <= 500
    assert book.list()[0]["words"] == words[:100]
    assert not book.record_again(book.recorded[-1])


@pytest.mark.parametrize("detail", [None, "", "spam trap", "[]", '{"seen": 5}', '{"words": "\\ud800"}'])
def test_address_suppressed_by_hand_keeps_its_reason(book: Book, detail: str | None) -> None:
    values = {"address": JANE, "reason": "by hand", "detail": detail, "suppressed_at": 1, "updated_at": 1}
    book.record(Reason.TRANSIENT)
    values["address_digest"] = book.row().address_digest
    book.transact(lambda connection: connection.execute(table.delete()))
    book.transact(lambda connection: connection.execute(insert(table).values(**values)))
    assert book.suppressed() == {JANE: "by hand"}
    assert book.record(Reason.COMPLAINT)
    assert [found["reason"] for found in book.list()] == ["by hand"]
    assert book.lift()
    assert book.suppressed() == {}


def test_concurrent_incidents_all_count(book: Book) -> None:
    database = Database(book.kit.context().database.engine, SystemClock())
    now_ms = book.kit.clock.now_ms()

    def record(number: int) -> bool:
        incident = Incident(
            address=JANE,
            spellings=frozenset(),
            reason=Reason.TRANSIENT,
            # The last two are the same.
            message_id=f"mail-{min(number, 5)}",
            at_ms=now_ms,
            words="",
        )
        return database.transact(lambda connection: suppressions.record(connection, incident, now_ms=now_ms))

    with ThreadPoolExecutor(3) as threads:
        assert sorted(threads.map(record, range(1, 7))) == [False, *[True] * 5]
    assert book.row().bounces == 5
    assert book.suppressed() == {JANE: "transient bounce"}
