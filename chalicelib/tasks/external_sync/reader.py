"""A source's reply to a request: an answer, or a refusal that may pass or may not."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import NoReturn

from msgspec.structs import replace

from chalicelib.core import secrets
from chalicelib.core.clock import to_ms
from chalicelib.core.config import is_reference
from chalicelib.core.context import RESERVE_MS, Context
from chalicelib.core.deadline import TimedOutError
from chalicelib.core.errors import ConfigurationError, OutOfTimeError, PermanentError, TransientError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.queue.services import payloads
from chalicelib.tasks.external_sync import intake, state
from chalicelib.tasks.external_sync.connection import TryAgainError
from chalicelib.tasks.external_sync.http_client import Answer, Limits, Validators, check_origin, get
from chalicelib.tasks.external_sync.intake import Intake, Taken
from chalicelib.tasks.external_sync.pages import OnePage, Page
from chalicelib.tasks.external_sync.sources import Credential, Source
from chalicelib.tasks.external_sync.splitting import Splitter
from chalicelib.tasks.external_sync.state import Position, States

UNCHANGED = 304
MAY_PASS = frozenset({408, 425, 429})
NOT_ALLOWED = frozenset({401, 403})
# Longer than any run lasts.
MAX_WAIT_SECONDS = 86_400.0


@contextmanager
def ask(source: Source, address: str, *, validators: Validators, seconds: float, now_ms: int) -> Iterator[Answer]:
    """Give the source's answer at an address of its own: 200 with JSON, or 304 where `validators` allow it.

    Raises TryAgainError for what a repetition may mend, TransientError for a secret that may have been changed, and
    PermanentError for any other refusal; and what `answers.get` does.
    """
    check_origin(address, source.url)
    headers = {"Accept": "application/json", "User-Agent": "nightshift"}
    if source.credential is not None:
        headers[source.credential.header] = _read(source.credential)
    limits = Limits(seconds=seconds, max_bytes=source.max_bytes, is_internal=source.is_internal)
    with get(address, headers=headers, limits=limits, validators=validators) as answer:
        if not (answer.status == UNCHANGED and validators.as_headers(answer.address)):
            _check(answer, source.credential, now_ms=now_ms)
        yield answer


def _read(credential: Credential) -> str:
    # A secret that was pasted may end in a line break. What the error of the library would say has the secret in it.
    value = credential.prefix + secrets.resolve(credential.secret).strip()
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"the secret for {credential.header} has characters that a header cannot hold")
    return value


def _check(answer: Answer, credential: Credential | None, *, now_ms: int) -> None:
    status = answer.status
    if status in MAY_PASS or status >= 500:
        wait = _read_wait(answer.headers.get("Retry-After", ""), now_ms=now_ms)
        raise TryAgainError(f"it answered {status}", wait_seconds=wait)
    if status in NOT_ALLOWED and credential is not None and is_reference(credential.secret):
        secrets.forget()
        raise TransientError(f"it answered {status}; the secret is fetched anew for the next attempt")
    if status != 200:
        raise PermanentError(f"it answered {status}")
    kind = answer.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if not (kind.endswith(("/json", "+json"))):
        raise PermanentError(f"it answered with {kind[:60]}, not with JSON")


def _read_wait(text: str, *, now_ms: int) -> float | None:
    """Return the seconds that `Retry-After` asks for, as a number or a date; a day at most."""
    try:
        seconds = float(text) if text.isdecimal() else (to_ms(parsedate_to_datetime(text)) - now_ms) / 1000
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), MAX_WAIT_SECONDS)


ATTEMPTS = 4
# A block of very small items has more.
BATCH = 2000
# Invocations in a row that may end within the same answer without having written anything.
MAX_STALLS = 3
# Refused items that are logged one by one; quarantine has them all.
MAX_TOLD = 10


class Reading:
    """One read of a source by a run; a rehearsal has no run, begins anew and writes nothing.

    `anew` forgets what earlier runs have read and where they stopped. `accept_loss` lets a snapshot lack anything.
    """

    def __init__(
        self, context: Context, source: Source, *, run_id: str | None, anew: bool = False, accept_loss: bool = False
    ) -> None:
        self._context = context
        self._source = source
        self._is_rehearsal = run_id is None
        self._accept_loss = accept_loss
        self._intake = Intake(context.database, source, is_rehearsal=self._is_rehearsal)
        self._states = States(context.database, context.clock, source=source.name)
        self._state = self._states.load(is_rehearsal=self._is_rehearsal)
        self._listing = state.Listing()
        self._new_validators = Validators()
        self._visited: set[str] = set()
        self._told = 0
        self._has_progressed = False
        self._declared = declared = source.fingerprint
        stood = None if self._is_rehearsal else self._state.position
        self._is_conditional = (
            (stood, source.pages, self._state.validators.declared) == (None, OnePage(), declared)
            and not anew
            and not self._is_rehearsal
        )
        # A run that was asked to begin anew does so once, however often it is handed on.
        if stood is None or stood.declared != declared or (anew and stood.run != run_id):
            stood = Position(run=run_id or "", declared=declared, started_at=context.clock.now_ms())
        self._position = stood

    def finish(self) -> Counts:
        """Read to the end and return what became of the items, of this read as a whole.

        Raises OutOfTimeError when the rest is handed on, AlreadyClaimed when another run has taken over, and
        TransientError or PermanentError where the source cannot be read; the latter forgets the position and the
        validators too, since the source may have refused just those.
        """
        try:
            if self._position.listed:
                self._listing.restore(payloads(self._context), self._position.listed)
            while (page := self._read_page()) is not None:
                following = self._source.pages.following(page)
                if following is None:
                    return self._conclude()
                self._advance(following)
            return Counts()
        except PermanentError:
            forgotten = dataclasses.replace(self._state, position=None, validators=Validators())
            if forgotten != self._state and not self._is_rehearsal:
                self._states.save(forgotten)
            raise

    def _read_page(self) -> Page | None:
        """Take a page's items and return what else it said; None when nothing has changed since the last read."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._try_page()
            except TryAgainError as refusal:
                wait = refusal.wait_seconds
                if wait is None:
                    wait = random.uniform(0.5, 1.5) * 2**attempt / 2  # noqa: S311 (jitter, not a secret)
                if attempt == ATTEMPTS or self._context.is_out_of_time(needed_ms=round(wait * 1000)):
                    raise
                logger.info("source asked again", extra={"source": self._source.name, "reason": str(refusal)})
                self._context.clock.sleep(wait)
            except TimedOutError:
                if self._context.is_out_of_time():
                    self._hand_on()
                raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _try_page(self) -> Page | None:
        if self._context.is_out_of_time():
            self._hand_on()
        source, position, asked_at = self._source, self._position.next, self._context.clock.now_ms()
        address = source.pages.address(source.url, position)
        seconds = min(source.seconds, (self._context.remaining_ms() - RESERVE_MS) / 1000)
        validators = self._state.validators if self._is_conditional else Validators()
        with ask(source, address, validators=validators, seconds=seconds, now_ms=asked_at) as answer:
            told = {"source": source.name, "page": self._position.pages + 1, "status": answer.status}
            logger.debug("source answered", extra=told)
            if answer.status == UNCHANGED:
                return None
            self._note_validators(answer)
            splitter = Splitter(answer.pieces, key=source.items_key)
            counts = Counts()
            for found in splitter:
                for start in range(0, len(found), BATCH):
                    if self._context.is_out_of_time():
                        self._hand_on()
                    now_ms = self._context.clock.now_ms()
                    taken = self._intake.take(found[start : start + BATCH], asked_at=asked_at, now_ms=now_ms)
                    self._note(taken)
                    counts += taken.counts
            self._position = replace(self._position, counts=(Counts(**self._position.counts) + counts).as_dict())
            link = ", ".join(answer.headers.get_all("Link", []))
            envelope = splitter.envelope
            return Page(address=answer.address, position=position, link=link, envelope=envelope, items=counts.total)

    def _note_validators(self, answer: Answer) -> None:
        self._new_validators = Validators()
        if self._source.pages == OnePage():
            self._new_validators = Validators.of(answer.headers, address=answer.address, declared=self._declared)
        if self._state.validators != Validators() and not self._is_rehearsal:
            # From the first item that is written, they no longer stand for what we have.
            self._state = self._states.save(self._state, validators=Validators())

    def _note(self, taken: Taken) -> None:
        self._has_progressed |= taken.counts.succeeded > 0
        self._position = replace(self._position, inserted=self._position.inserted + taken.inserted)
        if self._source.is_snapshot:
            self._listing.add(taken.ids)
        for item in taken.refused[: MAX_TOLD - self._told]:
            self._told += 1
            what = {"source": self._source.name, "external_id": item.id, "reason": item.reason}
            logger.warning("item refused", extra=what)

    def _advance(self, following: str) -> None:
        pages = self._position.pages + 1
        if following in self._visited or following == self._position.next:
            raise PermanentError("its pages lead back to one that was read")
        if pages >= self._source.max_pages:
            raise PermanentError(f"it has more than the {self._source.max_pages:,} pages that it may have")
        self._visited.add(following)
        self._has_progressed = True
        self._position = replace(self._position, next=following, pages=pages, stalls=0)
        # Of a snapshot, a position is worth nothing without what was listed before it.
        if not self._source.is_snapshot and not self._is_rehearsal:
            self._state = self._states.save(self._state, position=self._position)

    def _hand_on(self) -> NoReturn:
        if self._is_rehearsal:
            raise TimedOutError("there is no more time, and a dry run is not continued")
        stalls = 0 if self._has_progressed else self._position.stalls + 1
        if stalls > MAX_STALLS:
            raise TransientError("one answer takes longer than an invocation may; let it come in smaller pages")
        listed = self._listing.store(payloads(self._context)) if len(self._listing) else []
        position = replace(self._position, listed=listed, stalls=stalls)
        self._states.save(self._state, position=position)
        raise OutOfTimeError(f"{position.pages} pages of {self._source.name} are read, the rest is handed on")

    def _conclude(self) -> Counts:
        # A snapshot may have to be compared with every row: a hundred a millisecond, on a slow day.
        if self._context.is_out_of_time(needed_ms=len(self._listing) // 100):
            self._hand_on()
        counts, since = Counts(**self._position.counts), self._position.started_at
        if self._is_rehearsal:
            return counts
        database, name = self._context.database, self._source.name
        known, missing = self._compare(counts) if self._source.is_snapshot else (None, 0)
        before_ms = since if self._source.is_snapshot else since - intake.KEPT_MS
        database.transact(lambda connection: intake.expire(connection, source=name, before_ms=before_ms))
        # Where items were refused the next read shall find and count them again.
        validators = self._new_validators if counts.failed == 0 else Validators()
        self._states.save(self._state, position=None, known=known, validators=validators)
        told = {"source": name, "pages": self._position.pages + 1, **counts.as_dict(), "missing": missing}
        logger.info("source read", extra=told)
        return counts

    def _compare(self, counts: Counts) -> tuple[int, int]:
        """Mark what the snapshot lacks; return how many items there are, and how many were marked."""
        database, since = self._context.database, self._position.started_at
        present = state.count_present(database, self._source)
        if counts.failed == 0 and present == len(self._listing):
            return present, 0
        # Not of those that are present now: an earlier run may have added others, and then failed here.
        known = present - self._position.inserted if self._state.known is None else self._state.known
        most = math.inf if self._accept_loss else self._source.max_lost_share * known if len(self._listing) else 0
        ids = state.find_missing(database, self._source, self._listing, since=since, most=most)
        state.mark_missing(database, ids, since=since, hold=lambda c: self._states.hold(c, self._state))
        return present - len(ids), len(ids)
