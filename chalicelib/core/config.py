"""Settings from the environment: their parsers, and the settings of the engine.

Each part and task declares its own in a frozen dataclass. A field is read from the variable of its name in capitals.
"""

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar
from urllib.parse import urlsplit

from chalicelib.core.errors import ConfigurationError

T = TypeVar("T")

SMALLEST = 0.001
# The end of the variable of a task's pings, after the task's name.
PING = "_PING"


def setting(parse: Callable[[str], Any], *, default: str | None = None) -> Any:
    """Declare a setting. Without a default it must be set; `parse` raises ValueError with the rest of a sentence."""
    # Not in the representation, which a traceback may show: some settings hold passwords.
    return field(repr=False, metadata={"parse": parse, "default": default})


def url(*schemes: str) -> Callable[[str], str]:
    """Return a parser of URLs that begin with one of the schemes."""
    sentence = f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"

    def parse(text: str) -> str:
        # A web address becomes part of a header; a file's path may have spaces.
        is_plain = text.isprintable() and ("https" not in schemes or (text.isascii() and " " not in text))
        if not (is_plain and text.startswith(tuple(f"{scheme}://" for scheme in schemes))):
            raise ValueError(sentence)
        try:
            parts = urlsplit(text)
            is_whole = parts.port is None or parts.port > 0
        except ValueError:
            # Python's message repeats the value, perhaps with a password.
            raise ValueError(sentence) from None
        if not is_whole or not (parts.hostname or parts.scheme == "sqlite"):
            raise ValueError(f"{sentence} and a host")
        return text

    return parse


def not_empty(text: str) -> str:
    """Return a text that is not blank. Raises ValueError for any other."""
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def is_reference(text: str) -> bool:
    """Return whether a value is a reference to a secret."""
    return text.startswith("arn:") and ":secretsmanager:" in text


def or_reference(parse: Callable[[str], Any]) -> Callable[[str], str]:
    """Return a parser that accepts references to secrets too, and leaves them as they are."""

    def check(text: str) -> str:
        if not is_reference(text):
            parse(text)
        return text

    return check


def reference(text: str) -> str:
    """Return the ARN of a secret."""
    if not is_reference(text):
        raise ValueError("must be the ARN of a secret in Secrets Manager")
    return text


def optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser that reads an empty text as None."""
    return lambda text: parse(text) if text else None


def positive(number: Callable[[str], float]) -> Callable[[str], float]:
    """Return a parser of numbers greater than zero."""

    def parse(text: str) -> float:
        try:
            value = number(text)
        except ValueError:
            value = math.nan
        if not SMALLEST <= value < math.inf:
            raise ValueError("must be a number greater than zero")
        return value

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser of one of these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def patterns(text: str) -> tuple[str, ...]:
    """Return names or patterns, separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def check_ping(text: str) -> str:
    """Return the URL of a task's pings. Raises ValueError for any other text."""
    sentence = "must be the https:// URL of one check, with its path"
    try:
        parts = urlsplit(url("https", "http")(text))
    except ValueError:
        raise ValueError(sentence) from None
    # Anyone who knows the path can ping, so it is sent encrypted, except to a server of this machine in tests.
    is_secure = parts.scheme == "https" or parts.hostname == "127.0.0.1"
    if not is_secure or "@" in parts.netloc or parts.fragment or not parts.path.strip("/"):
        raise ValueError(sentence)
    return text


def _retention(text: str) -> int:
    days = int(positive(int)(text))
    # SQS keeps a dead letter for 14 days, and its job would be performed again if its row were gone.
    if days < 15:
        raise ValueError("must be at least 15 days, longer than SQS keeps any message")
    return days


def read_secrets(text: str) -> tuple[str, ...]:
    """Return one or more secrets, separated by commas. Raises ValueError for one that is too short."""
    secrets = tuple(part.strip() for part in text.split(","))
    if any(len(secret) < 32 for secret in secrets):
        raise ValueError("must be one or more secrets of at least 32 characters, separated by commas")
    return secrets


def read_signing_keys(text: str) -> tuple[bytes, ...]:
    """Return the keys of one or more secrets in the form of Standard Webhooks, separated by commas."""
    sentence = "must be one or more secrets of the form whsec_…, with 24 to 64 bytes in base64, separated by commas"
    keys: list[bytes] = []
    for part in (part.strip() for part in text.split(",")):
        try:
            key = base64.b64decode(part.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError(sentence) from None
        if not part.startswith("whsec_") or not 24 <= len(key) <= 64:
            raise ValueError(sentence)
        keys.append(key)
    return tuple(keys)


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """The application's database."""

    database_url: str = setting(or_reference(url("mysql+pymysql", "sqlite")))
    database_credentials: str | None = setting(optional(reference), default="")
    database_admin_credentials: str | None = setting(optional(reference), default="")
    database_ca: str | None = setting(optional(str), default="")


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """Redis, where the deployment has one."""

    redis_url: str | None = setting(optional(or_reference(url("redis", "rediss"))), default="")
    redis_password: str | None = setting(optional(str), default="")


@dataclass(frozen=True, kw_only=True)
class StorageSettings:
    """The deployment's own bucket."""

    bucket: str = setting(not_empty)


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """The queues of SQS, and how many days ended jobs are kept."""

    work_queue_url: str = setting(url("https", "http"))
    priority_queue_url: str = setting(url("https", "http"))
    dead_letter_queue_url: str = setting(url("https", "http"))
    jobs_retention_days: int = setting(_retention, default="30")


@dataclass(frozen=True, kw_only=True)
class ApplicationJobsSettings:
    """Where the application performs jobs itself, and of which types."""

    app_jobs_url: str | None = setting(optional(url("https", "http")), default="")
    app_jobs_types: tuple[str, ...] = setting(patterns, default="*")
    app_jobs_secrets: str | None = setting(optional(or_reference(read_signing_keys)), default="")
    app_jobs_private: str = setting(one_of("on", "off"), default="off")
    app_jobs_parallel: int = setting(positive(int), default="10")

    def __post_init__(self) -> None:
        if self.app_jobs_url is None:
            return
        if self.app_jobs_secrets is None:
            raise ValueError("APP_JOBS_SECRETS is not set, and APP_JOBS_URL needs it to sign what it sends")
        if self.app_jobs_url.startswith("http:") and not self.is_private:
            raise ValueError("APP_JOBS_URL must begin with https://, unless APP_JOBS_PRIVATE is on")

    @property
    def is_private(self) -> bool:
        """Whether the application may be at a private address, and without TLS."""
        return self.app_jobs_private == "on"

    def takes(self, type_: str) -> bool:
        """Return whether the application performs jobs of a type for which there is no handler."""
        return self.app_jobs_url is not None and not {type_, "*"}.isdisjoint(self.app_jobs_types)


@dataclass(frozen=True, kw_only=True)
class PingSettings:
    """Where pings of a task go, by the task's name."""

    pings: Mapping[str, str] = field(repr=False, metadata={"suffix": PING, "parse": or_reference(check_ping)})


ENGINE = (
    DatabaseSettings,
    CacheSettings,
    QueueSettings,
    ApplicationJobsSettings,
    StorageSettings,
    PingSettings,
)


def declared_in(kind: type) -> dict[str, str | None]:
    """Return by variable the default of each setting of a class, None where it must be set.

    NAME_PING stands for the variable of each task.
    """
    declared: Any = fields(kind)
    defaults = {each.name.upper(): each.metadata["default"] for each in declared if "default" in each.metadata}
    return defaults | {f"NAME{each.metadata['suffix']}": None for each in declared if "suffix" in each.metadata}


class Environment:
    """The variables of one process, from which settings are read once."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self._read: dict[type, Any] = {}

    def read(self, kind: type[T]) -> T:
        """Return validated settings. Raises ConfigurationError as `check`."""
        if kind not in self._read:
            self.check([kind])
        settings: T = self._read[kind]
        return settings

    def check(self, kinds: Iterable[type]) -> None:
        """Validate settings. Raises ConfigurationError, which names each variable that is wrong, never its value."""
        problems: list[str] = []
        for kind in kinds:
            values: dict[str, Any] = {}
            declared: Any = fields(kind)
            for each in declared:
                try:
                    values[each.name] = self._value(each)
                except ValueError as error:
                    problems.append(str(error))
            if not problems:
                try:
                    self._read[kind] = kind(**values)
                except ValueError as error:
                    problems.append(str(error))
        if problems:
            # Several classes may read the same variable.
            raise ConfigurationError(f"{'; '.join(dict.fromkeys(problems))} (docs/settings.md describes each setting)")

    def _value(self, declared: Any) -> Any:
        parse, suffix = declared.metadata["parse"], declared.metadata.get("suffix")
        if suffix is not None:
            found = {name: text for name, text in self.variables.items() if name.endswith(suffix) and text}
            problems = [problem for name, text in found.items() if (problem := _problem(name, parse, text))]
            if problems:
                raise ValueError("; ".join(problems))
            return {name.removesuffix(suffix).lower(): text for name, text in found.items()}
        variable = declared.name.upper()
        text = self.variables.get(variable, declared.metadata["default"])
        if text is None:
            raise ValueError(f"{variable} is not set")
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError(f"{variable} {error}") from None


def _problem(variable: str, parse: Callable[[str], Any], text: str) -> str | None:
    try:
        parse(text)
    except ValueError as error:
        return f"{variable} {error}"
    return None
