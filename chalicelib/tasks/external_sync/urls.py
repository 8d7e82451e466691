"""URLs that an answer leads to: they are another system's text, and must stay within its origin."""

from urllib.parse import SplitResult, urljoin, urlsplit

from chalicelib.core.errors import PermanentError

PORTS = {"https": 443, "http": 80}


def join(address: str, reference: str, *, what: str) -> str:
    """Return the URL of a reference in an answer from an address. Raises PermanentError for `what` is not a URL."""
    try:
        return urljoin(address, reference)
    except ValueError:
        raise PermanentError(f"{what} leads to {reference[:60]!r}, which is not a URL") from None


def check_origin(address: str, asked: str) -> None:
    """Raise PermanentError for a URL of another scheme, host or port: it would be sent the credential."""
    if _origin(address) != _origin(asked):
        raise PermanentError(f"it leads to another host, {urlsplit(address).hostname}, which is not followed")


def port_of(parts: SplitResult) -> int:
    """Return the port of a URL, the usual one of its scheme where it names none."""
    return parts.port or PORTS.get(parts.scheme, 0)


def _origin(address: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(address)
        return parts.scheme, parts.hostname, port_of(parts)
    except ValueError:
        raise PermanentError("it leads to what is not a URL") from None
