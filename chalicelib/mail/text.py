"""What may stand in a header or a line of a mail: text without control characters, a URL, and one plain address."""

import re

# Invisible and control characters that end lines, hide text or mark our own substitutions.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ADDRESS = re.compile(
    r"(?=.{3,254}\Z)(?=[^@]{1,64}@)"
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?:[A-Za-z]{2,63}|[Xx][Nn]--[A-Za-z0-9-]{1,58}[A-Za-z0-9])\Z"
)

# With a token behind it, it has to fit into the 870 characters that SES takes for a header.
LONGEST_URL = 400
# RFC 3986 allows none of these.
_NOT_IN_URL = re.compile(r"""[<>"\\^`{|}]""")

# Python's codec turns these into other letters, as IDNA did until 2008, and so into somebody else's domain.
_AMBIGUOUS = re.compile("[ßẞς\u200c\u200d]")


def clean(text: str) -> str:
    """Return the text on one line, with every run of control characters turned into a space."""
    # A lone surrogate, which a database column can hold, is no text that a mail could carry.
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode().strip()


def header_url(url: str) -> str:
    """Return a URL that can stand in angle brackets in a header. Raises ValueError for any other."""
    if len(url) > LONGEST_URL or _NOT_IN_URL.search(url):
        raise ValueError(f"must have at most {LONGEST_URL} characters, and <, >, quotes and braces in it as %3C etc.")
    return url


def plain_address(text: str) -> str:
    """Return one plain address, its domain in ASCII. Raises ValueError for anything else.

    E-mail libraries read `a@x.org, b@x.org` as two recipients, so nothing beyond one address is let through.
    """
    local, at, domain = text.rpartition("@")
    try:
        address = f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        address = ""
    if not at or _AMBIGUOUS.search(domain) or not _ADDRESS.match(address):
        raise ValueError("not one plain e-mail address")
    return address
