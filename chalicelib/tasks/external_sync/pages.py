"""Pagination: one page, links, cursors or page numbers. A position is a page as text; None is the first."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from chalicelib.api import PermanentError
from chalicelib.tasks.external_sync.http_client import join

_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^\s,;"]*))*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s,;"]*))', re.I)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A response without its items: its URL, position, Link header, other JSON keys, and number of items."""

    url: str
    position: str | None
    link: str
    envelope: Mapping[str, Any]
    items: int


class Pages:
    """A style of pagination."""

    def url(self, url: str, position: str | None) -> str:
        """Return the URL of the page at a position."""
        return position or url

    def following(self, page: Page) -> str | None:  # noqa: ARG002 (for subclasses)
        """Return the position after a page, None after the last. Raises PermanentError for an invalid one."""
        return None


@dataclass(frozen=True, kw_only=True)
class OnePage(Pages):
    """One response lists everything."""


@dataclass(frozen=True, kw_only=True)
class Links(Pages):
    """The header `Link` names the next page with rel="next" (RFC 8288)."""

    def following(self, page: Page) -> str | None:
        for target, parameters in _LINK.findall(page.link):
            rel = _REL.search(parameters)
            if rel and "next" in (rel[1] or rel[2] or "").lower().split():
                return join(page.url, target, what="the response's Link")
        return None


@dataclass(frozen=True, kw_only=True)
class Cursors(Pages):
    """A field of the response, with dots for nesting (`meta.next`), is the next page's query parameter."""

    field: str = "next_cursor"
    parameter: str = "cursor"

    def url(self, url: str, position: str | None) -> str:
        return url if position is None else _with_parameter(url, self.parameter, position)

    def following(self, page: Page) -> str | None:
        value: Any = page.envelope
        for key in self.field.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None or value is False or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise PermanentError(f"the response's {self.field} is neither text nor a number")
        return str(value)


@dataclass(frozen=True, kw_only=True)
class Numbers(Pages):
    """A query parameter counts the pages. The first page without items is the last; a shorter page is not."""

    parameter: str = "page"
    first: int = 1

    def url(self, url: str, position: str | None) -> str:
        return _with_parameter(url, self.parameter, position or str(self.first))

    def following(self, page: Page) -> str | None:
        return str(int(page.position or self.first) + 1) if page.items else None


def _with_parameter(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != name]
    return urlunsplit(parts._replace(query=urlencode([*query, (name, value)])))
