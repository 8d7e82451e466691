"""Read one source: request its pages, store their items, and mark what a snapshot lacks."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import NoReturn

from msgspec.structs import replace
from sqlalchemy import delete

from chalicelib.api import Context, Counts, OutOfTimeError, PermanentError, TransientError, logger
from chalicelib.core import secrets
from chalicelib.core.clock import to_ms
from chalicelib.core.config import is_reference
from chalicelib.core.context import RESERVE_MS
from chalicelib.core.deadline import TimedOutError
from chalicelib.core.errors import ConfigurationError
from chalicelib.core.http import Limits, RetryableError
from chalicelib.queue.services import payloads
from chalicelib.schema import quarantine
from chalicelib.tasks.external_sync import state
from chalicelib.tasks.external_sync.http_client import Response, Validators, check_origin, get
from chalicelib.tasks.external_sync.pages import OnePage, Page
from chalicelib.tasks.external_sync.sources import Credential, Source
from chalicelib.tasks.external_sync.splitting import Splitter
from chalicelib.tasks.external_sync.state import Position, State
from chalicelib.tasks.external_sync.storage import BatchResult, BatchWriter

NOT_MODIFIED = 304
RETRYABLE = frozenset({408, 425, 429})
UNAUTHORIZED = frozenset({401, 403})
# Longer than any run lasts.
MAX_WAIT_SECONDS = 86_400.0
ATTEMPTS = 4
# Items in one transaction.
BATCH = 2000
# Invocations in a row that may end within the same response without having written anything.
MAX_STALLS = 3
# Refused items in the log; quarantine has all of them.
MAX_LOGGED = 10
# How long a refused item stays that a source without snapshots no longer lists.
QUARANTINE_MS = 30 * 24 * 3_600_000


class SourceReader:
    """One read of a source by a run, which commits each page before it requests the next.

    A dry run has no `run_id`, starts over and writes nothing. `full_refresh` ignores what earlier runs have read and
    where they stopped. `accept_loss` lets a snapshot lack any number of items.
    """

    def __init__(
        self,
        context: Context,
        source: Source,
        *,
        run_id: str | None,
        full_refresh: bool = False,
        accept_loss: bool = False,
    ) -> None:
        self._context = context
        self._source = source
        self._is_dry_run = run_id is None
        self._accept_loss = accept_loss
        self._writer = BatchWriter(context.database, source, is_dry_run=self._is_dry_run)
        self._state = State(context.database, context.clock, source=source.name, is_dry_run=self._is_dry_run)
        self._seen = state.SeenIds()
        self._new_validators = Validators()
        self._visited: set[str] = set()
        self._logged = 0
        self._has_progressed = False
        self._declared = declared = source.fingerprint
        saved = None if self._is_dry_run else self._state.position
        self._is_conditional = (
            (saved, source.pages, self._state.validators.declared) == (None, OnePage(), declared)
            and not full_refresh
            and not self._is_dry_run
        )
        # A run with full_refresh starts over once, and not again in each invocation that continues it.
        if saved is None or saved.declared != declared or (full_refresh and saved.run != run_id):
            saved = Position(run=run_id or "", declared=declared, started_at=context.clock.now_ms())
        self._position = saved

    def read(self) -> Counts:
        """Read to the end and return the counts of the whole read, over all its invocations.

        Raises OutOfTimeError when the worker continues the read, AlreadyClaimed when another run has taken over, and
        TransientError or PermanentError when the source cannot be read. A PermanentError deletes the position and the
        validators, since the source may have refused these.
        """
        try:
            if self._position.listed:
                self._seen.restore(payloads(self._context), self._position.listed)
            while (page := self._read_page()) is not None:
                following = self._source.pages.following(page)
                if following is None:
                    return self._finish()
                self._advance(following)
            return Counts()
        except PermanentError:
            if (self._state.position or self._state.validators != Validators()) and not self._is_dry_run:
                self._state.position, self._state.validators = None, Validators()
                self._state.save()
            raise

    def _read_page(self) -> Page | None:
        """Store a page's items and return the page; None when nothing has changed since the last read."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._try_page()
            except RetryableError as error:
                wait = error.wait_seconds
                if wait is None:
                    wait = random.uniform(0.5, 1.5) * 2**attempt / 2  # noqa: S311 (jitter, not a secret)
                if attempt == ATTEMPTS or self._context.is_out_of_time(needed_ms=round(wait * 1000)):
                    raise
                logger.info("request retried", extra={"source": self._source.name, "reason": str(error)})
                self._context.clock.sleep(wait)
            except TimedOutError:
                if self._context.is_out_of_time():
                    self._continue_later()
                raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _try_page(self) -> Page | None:
        if self._context.is_out_of_time():
            self._continue_later()
        source, position, requested_at = self._source, self._position.next, self._context.clock.now_ms()
        url = source.pages.url(source.url, position)
        seconds = min(source.seconds, (self._context.remaining_ms() - RESERVE_MS) / 1000)
        validators = self._state.validators if self._is_conditional else Validators()
        with request(source, url, validators=validators, seconds=seconds, now_ms=requested_at) as response:
            fields = {"source": source.name, "page": self._position.pages + 1, "status": response.status}
            logger.debug("source answered", extra=fields)
            if response.status == NOT_MODIFIED:
                return None
            self._update_validators(response)
            splitter = Splitter(response.body, key=source.items_key)
            counts = Counts()
            for items in splitter:
                for start in range(0, len(items), BATCH):
                    if self._context.is_out_of_time():
                        self._continue_later()
                    now_ms = self._context.clock.now_ms()
                    batch = self._writer.write(items[start : start + BATCH], requested_at=requested_at, now_ms=now_ms)
                    self._record(batch)
                    counts += batch.counts
            self._position = replace(self._position, counts=(Counts(**self._position.counts) + counts).as_dict())
            link = ", ".join(response.headers.get_all("Link", []))
            envelope = splitter.envelope
            return Page(url=response.url, position=position, link=link, envelope=envelope, items=counts.total)

    def _update_validators(self, response: Response) -> None:
        self._new_validators = Validators()
        if self._source.pages == OnePage():
            self._new_validators = Validators.of(response.headers, url=response.url, declared=self._declared)
        if self._state.validators != Validators() and not self._is_dry_run:
            # From the first item that is written, the stored validators no longer describe the stored items.
            self._state.validators = Validators()
            self._state.save()

    def _record(self, batch: BatchResult) -> None:
        self._has_progressed |= batch.counts.succeeded > 0
        self._position = replace(self._position, inserted=self._position.inserted + batch.inserted)
        if self._source.is_snapshot:
            self._seen.add(batch.ids)
        for item in batch.refused[: MAX_LOGGED - self._logged]:
            self._logged += 1
            fields = {"source": self._source.name, "external_id": item.id, "reason": item.reason}
            logger.warning("item refused", extra=fields)

    def _advance(self, following: str) -> None:
        pages = self._position.pages + 1
        if following in self._visited or following == self._position.next:
            raise PermanentError("its pages lead back to one that was read")
        if pages >= self._source.max_pages:
            raise PermanentError(f"it has more than the {self._source.max_pages:,} pages that it may have")
        self._visited.add(following)
        self._has_progressed = True
        self._position = replace(self._position, next=following, pages=pages, stalls=0)
        # A snapshot's position is useless without the ids that were seen before it.
        if not self._source.is_snapshot and not self._is_dry_run:
            self._state.position = self._position
            self._state.save()

    def _continue_later(self) -> NoReturn:
        if self._is_dry_run:
            raise TimedOutError("out of time, and a dry run is not continued")
        stalls = 0 if self._has_progressed else self._position.stalls + 1
        if stalls > MAX_STALLS:
            raise TransientError("one response takes longer than an invocation may; request smaller pages")
        listed = self._seen.store(payloads(self._context)) if len(self._seen) else []
        self._state.position = replace(self._position, listed=listed, stalls=stalls)
        self._state.save()
        pages, name = self._position.pages, self._source.name
        raise OutOfTimeError(f"{pages} pages of {name} are read, the next invocation continues")

    def _finish(self) -> Counts:
        # A snapshot may have to be compared with every row: at least a hundred a millisecond.
        if self._context.is_out_of_time(needed_ms=len(self._seen) // 100):
            self._continue_later()
        counts, since, name = Counts(**self._position.counts), self._position.started_at, self._source.name
        if self._is_dry_run:
            return counts
        known, missing = self._mark_missing(counts) if self._source.is_snapshot else (None, 0)
        unseen = quarantine.c.seen_at < (since if self._source.is_snapshot else since - QUARANTINE_MS)
        statement = delete(quarantine).where(quarantine.c.source == name, unseen)
        self._context.database.transact(lambda connection: connection.execute(statement))
        self._state.position, self._state.known = None, known
        # After refused items the next read must read them again, and count them.
        self._state.validators = self._new_validators if counts.failed == 0 else Validators()
        self._state.save()
        fields = {"source": name, "pages": self._position.pages + 1, **counts.as_dict(), "missing": missing}
        logger.info("source read", extra=fields)
        return counts

    def _mark_missing(self, counts: Counts) -> tuple[int, int]:
        """Mark the items that the snapshot lacks; return how many items are left, and how many were marked."""
        database, name, since = self._context.database, self._source.name, self._position.started_at
        present = state.count_present(database, name)
        if counts.failed == 0 and present == len(self._seen):
            return present, 0
        # Not the items that are present now: an earlier run may have inserted some and then failed.
        known = present - self._position.inserted if self._state.known is None else self._state.known
        allowed = math.inf if self._accept_loss else self._source.max_lost_share * known if len(self._seen) else 0
        ids = state.find_missing(database, name, self._seen, since=since, allowed=allowed)
        state.mark_missing(database, ids, since=since, lock_state=self._state.lock)
        return present - len(ids), len(ids)


@contextmanager
def request(source: Source, url: str, *, validators: Validators, seconds: float, now_ms: int) -> Iterator[Response]:
    """Return the source's response for one of its URLs: 200 with JSON, or 304 where `validators` allow it.

    Raises RetryableError where a retry may succeed, TransientError for a secret that may have been rotated, and
    PermanentError for any other status. Raises as `http_client.get` too.
    """
    check_origin(url, source.url)
    headers = {"Accept": "application/json", "User-Agent": "nightshift"}
    if source.credential is not None:
        headers[source.credential.header] = _header_value(source.credential)
    limits = Limits(seconds=seconds, max_bytes=source.max_bytes, is_internal=source.is_internal)
    with get(url, headers=headers, limits=limits, validators=validators) as response:
        if not (response.status == NOT_MODIFIED and validators.as_headers(response.url)):
            _check(response, source.credential, now_ms=now_ms)
        yield response


def _header_value(credential: Credential) -> str:
    # A pasted secret may end in a line break. Checked here, since the library's own error contains the secret.
    value = credential.prefix + secrets.resolve(credential.secret).strip()
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"the secret for {credential.header} has characters that a header cannot hold")
    return value


def _check(response: Response, credential: Credential | None, *, now_ms: int) -> None:
    status = response.status
    if status in RETRYABLE or status >= 500:
        wait = _parse_wait(response.headers.get("Retry-After", ""), now_ms=now_ms)
        raise RetryableError(f"it answered {status}", wait_seconds=wait)
    if status in UNAUTHORIZED and credential is not None and is_reference(credential.secret):
        secrets.forget()
        raise TransientError(f"it answered {status}; the next attempt fetches the secret again")
    if status != 200:
        raise PermanentError(f"it answered {status}")
    media_type = response.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if not media_type.endswith(("/json", "+json")):
        raise PermanentError(f"it answered with {media_type[:60]}, not with JSON")


def _parse_wait(text: str, *, now_ms: int) -> float | None:
    """Return the seconds that `Retry-After` requests, as a number or a date; a day at most."""
    try:
        seconds = float(text) if text.isdecimal() else (to_ms(parsedate_to_datetime(text)) - now_ms) / 1000
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), MAX_WAIT_SECONDS)
