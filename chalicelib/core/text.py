"""Text from outside that goes into a header or a line: without control characters, a URL, or one plain address."""

import re

# Control and line-separator characters end lines, hide text or forge our placeholders.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ADDRESS = re.compile(
    r"(?=.{3,254}\Z)(?=[^@]{1,64}@)"
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?:[A-Za-z]{2,63}|[Xx][Nn]--[A-Za-z0-9-]{1,58}[A-Za-z0-9])\Z"
)
# A token is appended, and SES accepts 870 characters in a header.
MAX_URL = 400
# RFC 3986 allows none of these.
_NOT_IN_URL = re.compile(r"""[<>"\\^`{|}]""")
# Python's codec replaces these by other letters, as IDNA 2003 did, which gives a different domain.
_AMBIGUOUS = re.compile("[ßẞς\u200c\u200d]")


def clean(text: str) -> str:
    """Return the text on one line, with every run of control characters replaced by a space."""
    # A database column can hold a lone surrogate, which UTF-8 cannot encode.
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode().strip()


def header_url(url: str) -> str:
    """Return a URL that can be put in angle brackets in a header. Raises ValueError for any other."""
    if len(url) > MAX_URL or _NOT_IN_URL.search(url):
        raise ValueError(f"must have at most {MAX_URL} characters, and <, >, quotes and braces in it as %3C etc.")
    return url


def plain_address(text: str) -> str:
    """Return one plain address, its domain in ASCII. Raises ValueError for anything else.

    E-mail libraries read `a@x.org, b@x.org` as two recipients, so only one address is allowed.
    """
    local, at, domain = text.rpartition("@")
    try:
        address = f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        address = ""
    if not at or _AMBIGUOUS.search(domain) or not _ADDRESS.match(address):
        raise ValueError("not one plain e-mail address")
    return address
