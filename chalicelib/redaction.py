"""Texts and values without what a person would not want to see in a log: secrets and e-mail addresses."""

import re
from typing import Any

from chalicelib.outcome import Counts

# A local part ends after 64 characters, and so does the search for where it began, however long the text. In a URL's
# query the sign is escaped.
_ADDRESS = re.compile(
    r"""(?:([\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]{0,63}|"[^"\n]{1,64}")(@|%40)([\w-]+(?:\.[\w-]+)+)"""
)

# By the names that people give it.
_NAMES = (
    "passw|passphrase|pwd|secret|token|authori[sz]ation|credential|cookie|signature|"
    "(?:api|access|private|backup|encryption|signing).?key|card.?num"
)
_SECRET = re.compile(_NAMES, re.I)
# A header of pairs, such as a cookie's; each step is bounded here and below, since the text may be long.
_PAIR = r"""[\w!#$%&*+.^|~-]{1,64}=(?:\\{0,8}"[^"\\]*\\{0,8}"|[^\s,;"'\\]*)"""
_SECRET_IN_HEADER = re.compile(
    rf"((?:cookie|authori[sz]ation)\s{{0,8}}[:=]\s{{0,8}})(?:[\w-]{{1,40}}\s{{1,8}})?{_PAIR}(?:[,;]\s{{0,8}}{_PAIR})*",
    re.I,
)
# The same in text that holds JSON, also as a string within a string.
_SECRET_IN_TEXT = re.compile(
    rf"""((?:{_NAMES})[\w.-]{{0,40}}\\{{0,8}}(?:["']?\s{{0,8}}[:=]|["']\s{{0,8}},)\s{{0,8}})"""
    # What was redacted before, as nothing ends an object or a list with certainty in such a text.
    r"""(\[redacted\]|"""
    # Quoted, also bytes of Python, quoted within a string, an object or a list.
    r"""b?"(?:[^"\\]|\\.)*"?|b?'(?:[^'\\]|\\.)*'?|b?\\{1,8}["'][^"'\\]*|[\[{].*|"""
    # A bare word, or several between commas.
    r"""(?:(?:bearer|basic)\s{1,8})?[^\s,;&}\]"'\\]+(?:,[^\s,;&}\]"'\\=]++=*+(?=[\s,;&}\]"'\\]|$))*)""",
    re.I | re.S,
)
# Who one is at a server, before its name: with a password, in which anything may stand, or without.
_SECRET_IN_URL = re.compile(r"""(://)(?:[^\s/?#:@]{0,256}:[^\s"'<>]{0,256}|[^\s/?#"'<>]{0,256})@""")
_SECRET_BY_ITSELF = re.compile(r"(\bbearer\s{1,8}|[?&](?:key|sig|code|auth)=)[^\s&\"'\\]{6,}", re.I)
# Without any of these, as nearly every line is, a text has nothing to hide; looking for them takes no time.
_SIGNS = (
    *("@", "%40", "://", "key", "passw", "passphrase", "pwd", "secret", "token", "authori", "credential", "cookie"),
    *("signature", "bearer", "card"),
)
REDACTED = "[redacted]"
_COUNTS = vars(Counts()).keys()


def mask_addresses(text: str) -> str:
    """Return the text with every e-mail address reduced to its first character and domain."""
    return _ADDRESS.sub(r"\1***\2\3", text) if "@" in text or "%40" in text else text


def redact(value: Any) -> Any:
    """Return a value with secrets replaced, by their names and in URLs, and addresses masked; as JSON can tell it."""
    if isinstance(value, dict):
        # Counts are no secret whatever they count, such as a table of tokens.
        return {
            redact(str(key)): REDACTED if _SECRET.search(str(key)) and not _is_counts(item) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = _SECRET_IN_URL.sub(rf"\1{REDACTED}@", str(value))
    for pattern in (_SECRET_BY_ITSELF, _SECRET_IN_HEADER, _SECRET_IN_TEXT):
        text = pattern.sub(rf"\1{REDACTED}", text)
    return mask_addresses(text)


def may_tell(text: str) -> bool:
    """Return whether there may be something to redact in the text, at a fraction of the cost of doing so."""
    lowered = text.lower()
    return any([sign in lowered for sign in _SIGNS])  # noqa: C419 (a generator takes twice as long)


def _is_counts(item: Any) -> bool:
    return isinstance(item, dict) and item.keys() == _COUNTS
