"""The sources of the external sync. Add yours to SOURCES; docs/external_sync.md shows how."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from chalicelib.core.config import one_of, optional, setting, url
from chalicelib.core.errors import ConfigurationError
from chalicelib.tasks.external_sync.pages import Cursors, Links, Numbers, OnePage, Pages

MEBIBYTE = 1024 * 1024
# The width of the column.
MAX_NAME = 64
# A token of RFC 9110.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A secret, or its ARN in Secrets Manager, and the header that sends it."""

    secret: str = field(repr=False)
    header: str = "Authorization"
    prefix: str = "Bearer "

    def __post_init__(self) -> None:
        if not _HEADER.fullmatch(self.header):
            raise ConfigurationError(f"{self.header!r} is not the name of a header, so no credential can be sent in it")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Another system's list of items.

    `items_key` is the key of the list, unless the response itself is a list. Two sources whose ids may be equal need
    an `id_prefix` each. `changed_field` says when an item changed, in `changed_unit`; ISO 8601 without a zone is
    UTC. `keep` names the keys to store, all where it is empty. `valid` is a Struct that the stored item must fit, or a
    function that raises an error for an invalid item.
    `is_snapshot` says that one complete read lists everything: other items are marked as missing, unless more than
    `max_lost_share` (0 to 1) are. `is_internal` allows private addresses and plain http.
    A response may have `max_bytes`, decoded, and take `seconds` of waiting in all; a read may have `max_pages`.
    """

    name: str
    url: str
    credential: Credential | None = None
    pages: Pages = field(default_factory=OnePage)
    items_key: str = "items"
    id_field: str = "id"
    id_prefix: str = ""
    changed_field: str | None = None
    changed_unit: Literal["ms", "s", "iso"] = "iso"
    keep: tuple[str, ...] = ()
    valid: type[msgspec.Struct] | Callable[[Any], object] | None = None
    is_snapshot: bool = False
    max_lost_share: float = 0.5
    is_internal: bool = False
    max_bytes: int = 512 * MEBIBYTE
    seconds: float = 60.0
    max_pages: int = 10_000

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= MAX_NAME:
            raise ConfigurationError(f"a source's name has 1 to {MAX_NAME} characters, not {len(self.name)}")
        try:
            parts = urlsplit(self.url)
            is_whole = self.url.isascii() and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_whole = False
        schemes = {"https", "http"} if self.is_internal else {"https"}
        if not is_whole or parts.scheme not in schemes or parts.fragment or "@" in parts.netloc:
            raise ConfigurationError(
                f"the URL of source {self.name} must begin with https:// and a host, without user, password or fragment"
            )

    @property
    def fingerprint(self) -> str:
        """A hash of the request and of what is kept: when it changes, everything is read again."""
        valid = None if self.valid is None else getattr(self.valid, "__qualname__", type(self.valid).__qualname__)
        kept = (self.items_key, self.id_field, self.id_prefix, self.changed_field, self.changed_unit, self.keep, valid)
        return sha256(repr((self.url, self.pages, kept, self.is_snapshot)).encode()).hexdigest()[:16]


def _hosts(text: str) -> frozenset[str]:
    hosts = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    if any("/" in host or "*" in host for host in hosts):
        raise ValueError("must be names or addresses of hosts, separated by commas, without scheme or path")
    return hosts


@dataclass(frozen=True, kw_only=True)
class SyncSettings:
    """The one source that needs no code, and the hosts of private networks that may be asked."""

    external_sync_url: str | None = setting(optional(url("https", "http")), default="")
    external_sync_token: str | None = setting(optional(str), default="")
    external_sync_pages: str = setting(one_of("none", "link", "cursor", "page"), default="none")
    external_sync_hosts_allowed: frozenset[str] = setting(_hosts, default="")


# In addition to the source that settings describe.
SOURCES: tuple[Source, ...] = ()

STYLES: dict[str, Pages] = {"none": OnePage(), "link": Links(), "cursor": Cursors(), "page": Numbers()}


def all_sources(settings: SyncSettings) -> tuple[Source, ...]:
    """Return all sources, that of the settings first. Raises ConfigurationError."""
    sources = (*_source_of_settings(settings), *SOURCES)
    for name, times in Counter(source.name for source in sources).items():
        if times > 1:
            raise ConfigurationError(f"{times} sources are called {name}")
    return sources


def _source_of_settings(settings: SyncSettings) -> tuple[Source, ...]:
    address, token = settings.external_sync_url, settings.external_sync_token
    if address is None:
        return ()
    is_internal = urlsplit(address).hostname in settings.external_sync_hosts_allowed
    if address.startswith("http://") and not is_internal:
        raise ConfigurationError(
            "EXTERNAL_SYNC_URL must begin with https://, or EXTERNAL_SYNC_HOSTS_ALLOWED must name its host"
        )
    return (
        Source(
            name="default",
            url=address,
            credential=Credential(secret=token) if token else None,
            pages=STYLES[settings.external_sync_pages],
            is_internal=is_internal,
        ),
    )
