"""The settings of the sync."""

from dataclasses import dataclass

from chalicelib.core.config import one_of, optional, setting, url


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
