"""What a task or a handler is handed: settings, database, queue, mailer, clock and deadline, built on first use."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Protocol

from chalicelib.core.clock import Clock, SystemClock
from chalicelib.core.config import Settings, is_setting, read_secrets, read_settings
from chalicelib.core.errors import ConfigurationError

if TYPE_CHECKING:
    from redis import Redis
    from types_boto3_sesv2 import SESV2Client

    from chalicelib.core.database import Database
    from chalicelib.core.store import Store
    from chalicelib.mail.sending import NextSlot, Pace
    from chalicelib.mail.ses import Account, Mailer
    from chalicelib.queue.payloads import Payloads
    from chalicelib.queue.sqs import Queues

# What finishing takes: saving, sending the continuation, the summary line, on a slow day.
RESERVE_MS = 10_000
# A lease ends so long after the function's limit: its process is certainly dead by then, even if clocks differ.
LEASE_GRACE_MS = 60_000
# How long a transaction waits for a database that restarts or fails over, where the deadline leaves as much. A person
# who waits for an answer learns sooner that there is none.
LONGEST_PATIENCE_MS, PATIENCE_OF_PEOPLE_MS = 600_000, 15_000


# One for all invocations of a process.
SYSTEM_CLOCK = SystemClock()


class LambdaContext(Protocol):
    """The part of Lambda's context object that we use."""

    @property
    def aws_request_id(self) -> str:
        """Return the id of the request, the same for each repetition of it."""

    @property
    def function_name(self) -> str:
        """Return what AWS calls the function."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the process."""


class Context:
    """One invocation's surroundings. Connections and clients outlive it, for the next one in this process."""

    def __init__(
        self,
        lambda_context: LambdaContext,
        *,
        settings: Settings,
        clock: Clock,
        client: Callable[[str], Any],
        patience_ms: int = LONGEST_PATIENCE_MS,
    ) -> None:
        self._lambda_context = lambda_context
        self._client = client
        self._most_patience_ms = patience_ms
        self.settings = settings
        self.clock = clock
        self.request_id = lambda_context.aws_request_id
        self.function_name = lambda_context.function_name

    def client(self, service: str) -> Any:
        """Return the process's client of an AWS service."""
        return self._client(service)

    def remaining_ms(self) -> int:
        """Return the milliseconds until Lambda ends the process."""
        return self._lambda_context.get_remaining_time_in_millis()

    def is_out_of_time(self, *, needed_ms: int = 0) -> bool:
        """Return whether work of this length might no longer end, and be recorded, before the deadline."""
        return self.remaining_ms() < needed_ms + RESERVE_MS

    @cached_property
    def database(self) -> Database:
        """The application's database."""
        from chalicelib.core.database import Database
        from chalicelib.core.engine import engine_for

        settings = self.settings
        engine = engine_for(settings.database_url, credentials=settings.database_credentials, ca=settings.database_ca)
        return Database(engine, self.clock, patience_ms=self._patience_ms)

    def _patience_ms(self) -> int:
        return min(self._most_patience_ms, self.remaining_ms() - RESERVE_MS)

    @cached_property
    def connector(self) -> Callable[..., Any]:
        """What makes a connection of its own to the database, with options of PyMySQL. Raises ConfigurationError."""
        from chalicelib.core.engine import connector_for

        settings = self.settings
        return connector_for(settings.database_url, credentials=settings.database_credentials, ca=settings.database_ca)

    @cached_property
    def queues(self) -> Queues:
        """The work queues and the dead-letter queue."""
        from chalicelib.queue.sqs import DeadLetters, Queues, WorkQueue

        settings, sqs, payloads = self.settings, self._client("sqs"), self.payloads
        return Queues(
            work=WorkQueue(sqs, url=settings.work_queue_url, payloads=payloads, clock=self.clock),
            priority=WorkQueue(sqs, url=settings.priority_queue_url, payloads=payloads, clock=self.clock),
            dead_letters=DeadLetters(sqs, url=settings.dead_letter_queue_url, payloads=payloads),
        )

    @cached_property
    def payloads(self) -> Payloads:
        """The bodies of messages that are too long for SQS."""
        from chalicelib.queue.payloads import Payloads

        return Payloads(lambda: self._client("s3"), bucket=self.settings.bucket)

    @cached_property
    def store(self) -> Store:
        """The deployment's own bucket."""
        from chalicelib.core.store import Store

        return Store(self._client("s3"), bucket=self.settings.bucket)

    @cached_property
    def cache(self) -> Redis | None:
        """Redis, or None where the deployment has none."""
        from chalicelib.core.cache import cache_of

        return cache_of(self.settings.redis_url, self.settings.redis_password) if self.settings.redis_url else None

    @cached_property
    def unsubscribe_secrets(self) -> tuple[str, ...]:
        """The secrets of unsubscribe links: the first signs, all verify."""
        from chalicelib.core import secrets

        return _read_unsubscribe_secrets(secrets.resolve(self.settings.unsubscribe_secrets))

    def rotated_unsubscribe_secrets(self) -> tuple[str, ...]:
        """Return the secrets of unsubscribe links as they are now, for a link that the ones in memory do not verify."""
        from chalicelib.core import secrets

        text = secrets.resolve_again(self.settings.unsubscribe_secrets, now_ms=self.clock.now_ms())
        return _read_unsubscribe_secrets(text)

    @property
    def mail_account(self) -> Account:
        """What SES lets the account do, asked once a process. Raises TransientError when SES does not say."""
        return _account_of(self._client("sesv2"))

    @cached_property
    def mailer(self) -> Mailer:
        """SES."""
        from chalicelib.mail.ses import Mailer

        return Mailer(self._client("sesv2"), configuration_set=self.settings.mail_configuration_set)

    @cached_property
    def pace(self) -> Pace:
        """The pace of sending: MAIL_RATE where it is set, the account's own rate elsewhere."""
        from chalicelib.mail.sending import Pace

        rate = self.settings.mail_rate or self.mail_account.rate
        workers, slot = self.settings.mail_workers, _next_slot(self.clock)
        return Pace(rate=rate, workers=workers, redis=self.cache, clock=self.clock, slot=slot)


def from_lambda(lambda_context: Any, *, patience_ms: int = LONGEST_PATIENCE_MS) -> Context:
    """Return the context of an invocation on Lambda, or of one that looks like it.

    `patience_ms` limits how long a transaction waits for a database that refuses. Raises ConfigurationError.
    """
    from chalicelib.core import telemetry

    telemetry.sample()
    settings = _settings_of(tuple(pair for pair in os.environ.items() if is_setting(pair[0])))
    # The local runtime brings a clock of its own, which a night passes on in seconds.
    clock = getattr(lambda_context, "clock", None) or SYSTEM_CLOCK
    return Context(lambda_context, settings=settings, clock=clock, client=client, patience_ms=patience_ms)


@cache
def _next_slot(_clock: Clock) -> NextSlot:
    from chalicelib.mail.sending import NextSlot

    return NextSlot()


@cache
def _settings_of(pairs: tuple[tuple[str, str], ...]) -> Settings:
    # A warm process has the same ones each time, and validating them takes as long as several small jobs.
    return read_settings(dict(pairs))


# SES once: botocore repeats a request whose answer got lost, and the recipient would have two mails.
# Lambda hardly more: where a private network does not reach it, there is another way.
RETRIES: dict[str, Any] = {"sesv2": {"total_max_attempts": 1}, "lambda": {"total_max_attempts": 2}}
# For links to objects that KMS encrypts: version 2, boto3's default in the older regions, is refused for them; and the
# global address, its default everywhere, leads astray on a new bucket's first day.
SIGNING: dict[str, Any] = {"s3": {"signature_version": "s3v4", "s3": {"addressing_style": "virtual"}}}


@cache
def client(service: str) -> Any:
    """Return the process's client of an AWS service."""
    import boto3
    from botocore.config import Config

    retries = RETRIES.get(service, {"mode": "standard"})
    config = Config(connect_timeout=5, read_timeout=30, retries=retries, **SIGNING.get(service, {}))
    session: Any = boto3
    return session.client(service, config=config)


def _read_unsubscribe_secrets(text: str) -> tuple[str, ...]:
    try:
        return read_secrets(text)
    except ValueError as error:
        raise ConfigurationError(f"what UNSUBSCRIBE_SECRETS refers to {error}") from None


@cache
def _account_of(ses: SESV2Client) -> Account:
    from chalicelib.mail.ses import read_account

    return read_account(ses, clock=SYSTEM_CLOCK)
