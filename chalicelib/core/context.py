"""The context of an invocation: settings, database, bucket, cache, clock and deadline, built on first use."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, cached_property, lru_cache, wraps
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from chalicelib.core.clock import Clock, SystemClock
from chalicelib.core.config import CacheSettings, DatabaseSettings, Environment, StorageSettings

if TYPE_CHECKING:
    from redis import Redis

    from chalicelib.core.database import Database
    from chalicelib.core.store import Store

T = TypeVar("T")

# Enough to save a checkpoint, send the continuation and write the summary line, even when they are slow.
RESERVE_MS = 10_000
# A lease ends so long after the function's limit: its process is certainly dead by then, even if clocks differ.
LEASE_GRACE_MS = 60_000
# How long a transaction waits for a database that restarts or fails over, if the deadline allows it. A person who
# waits for an answer gets an error sooner.
LONGEST_PATIENCE_MS, PATIENCE_OF_PEOPLE_MS = 600_000, 15_000


# Shared by all invocations of a process.
SYSTEM_CLOCK = SystemClock()
_MAKING_CLIENT = Lock()


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
    """The context of one invocation. The process keeps connections and clients for the next one."""

    def __init__(
        self,
        lambda_context: LambdaContext,
        *,
        environment: Environment,
        clock: Clock,
        client: Callable[[str], Any],
        patience_ms: int = LONGEST_PATIENCE_MS,
    ) -> None:
        self._lambda_context = lambda_context
        self._client = client
        self._most_patience_ms = patience_ms
        self.environment = environment
        self.services: dict[Callable[[Context], Any], Any] = {}
        self.clock = clock
        self.request_id = lambda_context.aws_request_id
        self.function_name = lambda_context.function_name

    def settings(self, kind: type[T]) -> T:
        """Return validated settings of a class. Raises ConfigurationError."""
        return self.environment.read(kind)

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

        settings = self.settings(DatabaseSettings)
        engine = engine_for(settings.database_url, credentials=settings.database_credentials, ca=settings.database_ca)
        return Database(engine, self.clock, patience_ms=self._patience_ms)

    def _patience_ms(self) -> int:
        return min(self._most_patience_ms, self.remaining_ms() - RESERVE_MS)

    @cached_property
    def connector(self) -> Callable[..., Any]:
        """A function that opens a connection to the database, with options of PyMySQL. Raises ConfigurationError."""
        from chalicelib.core.engine import connector_for

        settings = self.settings(DatabaseSettings)
        return connector_for(settings.database_url, credentials=settings.database_credentials, ca=settings.database_ca)

    @cached_property
    def store(self) -> Store:
        """The deployment's own bucket."""
        from chalicelib.core.store import Store

        return Store(self._client("s3"), bucket=self.settings(StorageSettings).bucket)

    @cached_property
    def cache(self) -> Redis | None:
        """Redis, or None where the deployment has none."""
        from chalicelib.core.cache import cache_of

        settings = self.settings(CacheSettings)
        return cache_of(settings.redis_url, settings.redis_password) if settings.redis_url else None


def service(build: Callable[[Context], T]) -> Callable[[Context], T]:
    """Make a function of a context build its result once an invocation."""

    @wraps(build)
    def get(context: Context) -> T:
        if build not in context.services:
            context.services[build] = build(context)
        found: T = context.services[build]
        return found

    return get


def from_lambda(
    lambda_context: Any, *, kinds: tuple[type, ...] = (), patience_ms: int = LONGEST_PATIENCE_MS
) -> Context:
    """Return the context of an invocation on Lambda, or of one that looks like it.

    The settings of all `kinds` are validated first; others when they are read. `patience_ms` limits how long a
    transaction waits for a database that refuses. Raises ConfigurationError.
    """
    from chalicelib.core import telemetry

    telemetry.sample()
    # Without Lambda's own, such as the trace's id, which differ between invocations.
    variables = tuple((name, text) for name, text in os.environ.items() if not name.startswith("_"))
    environment = _environment_of(kinds, variables)
    # The local runtime has its own clock, on which a night passes in seconds.
    clock = getattr(lambda_context, "clock", None) or SYSTEM_CLOCK
    return Context(lambda_context, environment=environment, clock=clock, client=client, patience_ms=patience_ms)


@lru_cache(maxsize=1)
def _environment_of(kinds: tuple[type, ...], pairs: tuple[tuple[str, str], ...]) -> Environment:
    # They are the same in each invocation of a process, and validating them takes as long as several small jobs.
    environment = Environment(dict(pairs))
    environment.check(kinds)
    return environment


# SES once: botocore repeats a request whose answer was lost, and the recipient would get two mails.
# Lambda twice: it is unreachable from some private networks, and callers have another way.
RETRIES: dict[str, Any] = {"sesv2": {"total_max_attempts": 1}, "lambda": {"total_max_attempts": 2}}
# A function cannot begin without its secrets.
READ_SECONDS = {"secretsmanager": 10}
# For links to objects that KMS encrypts: S3 refuses signatures of version 2, boto3's default in older regions, and its
# global address redirects to the wrong region on a new bucket's first day.
SIGNING: dict[str, Any] = {"s3": {"signature_version": "s3v4", "s3": {"addressing_style": "virtual"}}}


def client(service: str) -> Any:
    """Return the process's client of an AWS service."""
    # Threads can share a client, but boto3's session cannot make two at once.
    with _MAKING_CLIENT:
        return _made_client(service)


@cache
def _made_client(service: str) -> Any:
    import boto3
    from botocore.config import Config

    retries = RETRIES.get(service, {"mode": "standard"})
    seconds = READ_SECONDS.get(service, 30)
    config = Config(connect_timeout=5, read_timeout=seconds, retries=retries, **SIGNING.get(service, {}))
    session: Any = boto3
    return session.client(service, config=config)
