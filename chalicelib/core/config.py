"""Settings from the environment, validated once, with every mistake named in one sentence."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from chalicelib.backup.retention import Policy, read_policy
from chalicelib.core.errors import ConfigurationError
from chalicelib.core.text import clean, header_url, plain_address
from chalicelib.core.zones import find_zone

SMALLEST = 0.001
# What the variable of a task's pings ends in, behind the task's name.
PING = "_PING"


def _setting(variable: str, parse: Callable[[str], Any], *, default: str | None = None) -> Any:
    # Not in the representation: some hold passwords, and a traceback may show it.
    return field(repr=False, metadata={"variable": variable, "parse": parse, "default": default})


def _url(*schemes: str) -> Callable[[str], str]:
    sentence = f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"

    def parse(text: str) -> str:
        # An address of the web comes to stand in a header; a file's path may hold spaces.
        is_plain = text.isprintable() and ("https" not in schemes or (text.isascii() and " " not in text))
        if not (is_plain and text.startswith(tuple(f"{scheme}://" for scheme in schemes))):
            raise ValueError(sentence)
        try:
            parts = urlsplit(text)
            is_whole = parts.port is None or parts.port > 0
        except ValueError:
            # Its own message would repeat the value, and with it a password.
            raise ValueError(sentence) from None
        if not is_whole or not (parts.hostname or parts.scheme == "sqlite"):
            raise ValueError(f"{sentence} and a host")
        return text

    return parse


def _text(text: str) -> str:
    if not clean(text):
        raise ValueError("must not be empty")
    return text


def _address(text: str) -> str:
    try:
        return plain_address(text)
    except ValueError:
        raise ValueError("must be one plain e-mail address") from None


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError("must be up to 64 letters, digits, hyphens and underscores")
    return text


def is_reference(text: str) -> bool:
    """Return whether a value refers to a secret instead of being it."""
    return text.startswith("arn:") and ":secretsmanager:" in text


def _or_reference(parse: Callable[[str], Any]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not is_reference(text):
            parse(text)
        return text

    return check


def _reference(text: str) -> str:
    if not is_reference(text):
        raise ValueError("must be the ARN of a secret in Secrets Manager")
    return text


def _optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: parse(text) if text else None


def _zone(text: str) -> ZoneInfo:
    try:
        return find_zone(text)
    except ValueError:
        raise ValueError("must be an IANA time zone such as Europe/Berlin") from None


def _positive(number: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = number(text)
        except ValueError:
            value = math.nan
        if not SMALLEST <= value < math.inf:
            raise ValueError("must be a number greater than zero")
        return value

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def _hosts(text: str) -> frozenset[str]:
    hosts = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    if any("/" in host or "*" in host for host in hosts):
        raise ValueError("must be names or addresses of hosts, separated by commas, without scheme or path")
    return hosts


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _rds(text: str) -> str:
    if not re.fullmatch(r"(instance|cluster):[A-Za-z][A-Za-z0-9-]{0,62}", text):
        raise ValueError("must be instance: or cluster: and the identifier that RDS has for the database")
    return text


def check_ping(text: str) -> str:
    """Return the URL that pings of a task go to. Raises ValueError for what cannot be one."""
    sentence = "must be the https:// URL of one check, with its path"
    try:
        parts = urlsplit(_url("https", "http")(text))
    except ValueError:
        raise ValueError(sentence) from None
    # Whoever knows the path can ping too, so it goes nowhere in the clear; tests have a server of this machine.
    is_secure = parts.scheme == "https" or parts.hostname == "127.0.0.1"
    if not is_secure or "@" in parts.netloc or parts.fragment or not parts.path.strip("/"):
        raise ValueError(sentence)
    return text


def _problem_of_ping(text: str) -> str | None:
    try:
        _or_reference(check_ping)(text)
    except ValueError as error:
        return str(error)
    return None


def _retention(text: str) -> int:
    days = int(_positive(int)(text))
    # A message may lie on the dead-letter queue for 14 days, and without its job's row it would be done again.
    if days < 15:
        raise ValueError("must be at least 15 days, longer than any message may live")
    return days


def read_secrets(text: str) -> tuple[str, ...]:
    """Return one or more secrets, separated by commas. Raises ValueError for one that is too short."""
    secrets = tuple(part.strip() for part in text.split(","))
    if any(len(secret) < 32 for secret in secrets):
        raise ValueError("must be one or more secrets of at least 32 characters, separated by commas")
    return secrets


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a deployment can set; docs/settings.md describes each variable."""

    database_url: str = _setting("DATABASE_URL", _or_reference(_url("mysql+pymysql", "sqlite")))
    database_credentials: str | None = _setting("DATABASE_CREDENTIALS", _optional(_reference), default="")
    database_admin_credentials: str | None = _setting("DATABASE_ADMIN_CREDENTIALS", _optional(_reference), default="")
    database_ca: str | None = _setting("DATABASE_CA", _optional(str), default="")
    redis_url: str | None = _setting("REDIS_URL", _optional(_or_reference(_url("redis", "rediss"))), default="")
    redis_password: str | None = _setting("REDIS_PASSWORD", _optional(str), default="")
    work_queue_url: str = _setting("WORK_QUEUE_URL", _url("https", "http"))
    priority_queue_url: str = _setting("PRIORITY_QUEUE_URL", _url("https", "http"))
    dead_letter_queue_url: str = _setting("DEAD_LETTER_QUEUE_URL", _url("https", "http"))
    bucket: str = _setting("BUCKET", _text)
    jobs_retention_days: int = _setting("JOBS_RETENTION_DAYS", _retention, default="30")
    mail_from: str = _setting("MAIL_FROM", _address)
    mail_configuration_set: str | None = _setting("MAIL_CONFIGURATION_SET", _optional(_name), default="")
    mail_rate: float | None = _setting("MAIL_RATE", _optional(_positive(float)), default="")
    mail_workers: int = _setting("MAIL_WORKERS", _positive(int), default="5")
    site_name: str = _setting("SITE_NAME", _text)
    site_url: str = _setting("SITE_URL", _url("https", "http"))
    digest_zone: ZoneInfo = _setting("DIGEST_ZONE", _zone, default="UTC")
    digest_max_posts: int = _setting("DIGEST_MAX_POSTS", _positive(int), default="20")
    unsubscribe_url: str = _setting("UNSUBSCRIBE_URL", lambda text: header_url(_url("https")(text)))
    unsubscribe_secrets: str = _setting("UNSUBSCRIBE_SECRETS", _or_reference(read_secrets))
    external_sync_url: str | None = _setting("EXTERNAL_SYNC_URL", _optional(_url("https", "http")), default="")
    external_sync_token: str | None = _setting("EXTERNAL_SYNC_TOKEN", _optional(str), default="")
    external_sync_pages: str = _setting(
        "EXTERNAL_SYNC_PAGES", _one_of("none", "link", "cursor", "page"), default="none"
    )
    external_sync_hosts_allowed: frozenset[str] = _setting("EXTERNAL_SYNC_HOSTS_ALLOWED", _hosts, default="")
    backup_include: tuple[str, ...] = _setting("BACKUP_INCLUDE", _patterns, default="*")
    backup_exclude: tuple[str, ...] = _setting("BACKUP_EXCLUDE", _patterns, default="")
    backup_schema_only: tuple[str, ...] = _setting("BACKUP_SCHEMA_ONLY", _patterns, default="")
    backup_key: str | None = _setting("BACKUP_KEY", _optional(_or_reference(read_secrets)), default="")
    backup_keep: Policy = _setting("BACKUP_KEEP", read_policy, default="all=7 daily=14 weekly=8 monthly=12 yearly=3")
    backup_connections: int = _setting("BACKUP_CONNECTIONS", _positive(int), default="2")
    backup_rds: str | None = _setting("BACKUP_RDS", _optional(_rds), default="")
    backup_export_role: str | None = _setting("BACKUP_EXPORT_ROLE", _optional(_text), default="")
    backup_export_key: str | None = _setting("BACKUP_EXPORT_KEY", _optional(_text), default="")
    # By task.
    pings: Mapping[str, str] = field(repr=False, metadata={"variable": f"NAME{PING}"})


VARIABLES = frozenset(setting.metadata["variable"] for setting in fields(Settings))


def is_setting(variable: str) -> bool:
    """Return whether a variable of the environment is one of the settings."""
    return variable in VARIABLES or variable.endswith(PING)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the validated settings.

    Raises ConfigurationError, which names every variable that is missing or wrong, never its value.
    """
    pings = {name: text for name, text in environment.items() if name.endswith(PING) and text}
    values: dict[str, Any] = {"pings": {name.removesuffix(PING).lower(): text for name, text in pings.items()}}
    problems = [f"{name} {problem}" for name, text in pings.items() if (problem := _problem_of_ping(text))]
    for setting in fields(Settings):
        if setting.name in values:
            continue
        variable = setting.metadata["variable"]
        text = environment.get(variable, setting.metadata["default"])
        if text is None:
            problems.append(f"{variable} is not set")
            continue
        try:
            values[setting.name] = setting.metadata["parse"](text)
        except ValueError as error:
            problems.append(f"{variable} {error}")
    if problems:
        raise ConfigurationError(f"{'; '.join(problems)} (docs/settings.md describes each setting)")
    return Settings(**values)
