"""Redaction of secrets, and masking of e-mail addresses, in texts and values."""

import re
from collections.abc import Iterator
from typing import Any

from chalicelib.core.outcome import Counts

# An address is found by its sign and domain; in a URL's query the sign is escaped. Its local part is read backwards
# from there, so the time is linear in the length of the text. A local part ends after 64 characters. It may be quoted,
# or masked before.
_SIGN_AND_DOMAIN = re.compile(r"(?:@|%40)[\w-]++(?:\.[\w-]++)++")
_LOCAL_BACKWARDS = re.compile(r"""(?:"[^"\n]{1,64}")?([\w.!#$%&'*+/=?^`{|}~-]{1,64})|"[^"\n]{1,64}\"""")
_LONGEST_LOCAL = 64 + 66
REDACTED = "[redacted]"
# Each step is bounded or possessive, here and below, since the text may be long.
_GAP = r"\s{0,8}"
_QUOTE = r"""\\{0,8}["']"""
_WORD = r"""(?:\[redacted\]|[^\s,;&}\]"'\\])++"""
# Between a name and its value: the rest of the name, and closing quotes, MySQL's too.
_IS = rf"[\w.-]{{0,40}}\\{{0,8}}[\"'`]?{_GAP}[:=]{_GAP}"

# Names of secrets. In ASCII, since in Unicode other letters match s and i too, which `may_hold_secret` would miss.
_AUTHORIZATION = "(?ai:authori[sz]ation)"
_NAMES = (
    "(?ai:passw|passphrase|pwd|secret|token|authori[sz]ation|credential|cookie|signature|card.?num|"
    r"(?:api|access|account|private|backup|encryption|signing).?key|_pass\b|\bpass(?=[:=]))"
)
_SECRET = re.compile(_NAMES)
_SECRET_OR_VALUE = re.compile(rf"{_NAMES}|(?i:value)\Z")
# Where a secret is kept, and what may be done there; what is before = has a value, and may be one's name after all.
_HARMLESS = (
    r"\b(?:arn:aws[\w-]{0,20}(?::[\w*-]{0,40}){3}:[\w+.@/:*#-]{0,512}+|"
    rf"secretsmanager(?::[A-Z*]\w*+|[\w.-]{{0,40}}\.amazonaws\.com\b))(?!{_GAP}=)"
)

# A header of pairs, such as a cookie's.
_PAIR = r"""[\w!#$%&*+.^|~-]{1,64}=(?:\\{0,8}"[^"\\]*\\{0,8}"|[^\s,;"'\\]*)"""
_SECRET_IN_HEADER = re.compile(
    rf"((?:(?ai:cookie)|{_AUTHORIZATION}){_IS})(?:[\w-]{{1,40}}\s{{1,8}})?{_PAIR}(?:[,;]{_GAP}{_PAIR})*"
)
# Schemes are too many to be named: any word, and the next.
_SECRET_OF_SCHEME = re.compile(rf"({_AUTHORIZATION}{_IS})[\w.+-]{{1,40}}[ \t]{{1,8}}{_WORD}")
# Of XML, also where the text was cut off.
_SECRET_IN_ELEMENT = re.compile(
    rf"(<[\w:.-]{{0,40}}?{_NAMES}[\w:.-]{{0,40}}(?:\s[^<>]{{0,256}})?>)(?:(?:<!\[CDATA\[)?[^<]++(?=</)|[^<\s]++\Z)"
)

# Also bytes of Python, and what was cut off; quoted within a string, up to where as many backslashes quote again.
_QUOTED = (
    r"""b?"(?:[^"\\]|\\.)*"?|b?'(?:[^'\\]|\\.)*'?|"""
    r"""b?(?P<level>\\{1,8})(?:"(?:[^"\\]|(?!(?P=level)")\\++"?)*|'(?:[^'\\]|(?!(?P=level)')\\++'?)*)"""
)
# In JSON nothing ends an object or a list with certainty, as it may be broken, or within a string.
_OPEN = rf"[\[{{](?=(?:[\s\[{{]|\\[nrt])*+b?{_QUOTE}).*"
# In code the bracket that matches does, three deep, but for those in quotes.
_PLAIN = r"""[^\[\]{}"']++|"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'"""
_CLOSED = rf"[\[{{](?:{_PLAIN}|[\[{{](?:{_PLAIN}|[\[{{](?:{_PLAIN})*+[\]}}])*+[\]}}])*+[\]}}]"
_SECRET_IN_TEXT = re.compile(
    rf"{_HARMLESS}|({_NAMES}(?:{_IS}|"
    # Also the first of a pair, or "name": …, "value": …; what is before a line's number is the name of a file.
    rf"[\w.-]{{0,40}}{_QUOTE}{_GAP},(?!{_GAP}line \d){_GAP}(?:{_QUOTE}\w{{0,20}}(?i:value){_QUOTE}{_GAP}:{_GAP})?))"
    rf"(?:\[redacted\]|{_QUOTED}|{_OPEN}|{_CLOSED}|[\[{{].*|"
    # A bare word, or several between commas.
    rf"""(?:(?i:bearer|basic)\s{{1,8}})?{_WORD}(?:,[^\s,;&}}\]"'\\=]++=*+(?=[\s,;&}}\]"'\\]|$))*)""",
    re.S,
)
# Such a pair the other way round.
_SECRET_BEFORE_ITS_NAME = re.compile(
    rf"((?i:value){_QUOTE}{_GAP}:{_GAP})(?:{_QUOTED})(?=(?:{_QUOTE})?{_GAP},{_GAP}{_QUOTE}\w{{0,20}}(?i:name|key)"
    rf"{_QUOTE}{_GAP}:{_GAP}{_QUOTE}[\w.-]{{0,40}}?{_NAMES})",
    re.S,
)

# Who one is at a server, before its name: with a password, in which anything may stand, or without.
_SECRET_IN_URL = re.compile(r"""(://)(?:[^\s/?#:@]{0,256}:[^\s"'<>]{0,256}|[^\s/?#"'<>]{0,256})@""")
_SECRET_BY_ITSELF = re.compile(r"""((?ai:\bbearer)\s{1,8}|[?&](?ai:key|sig|code|auth)=)[^\s&"'\\]{6,}""")
# The id of an AWS access key, and a token of JSON (JWT), whose every part is base64 of an object.
_SECRET_BY_SHAPE = re.compile(
    r"()(?<![A-Za-z0-9_-])(?:A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])|eyJ[A-Za-z0-9_-]{17,}+(?:\.[A-Za-z0-9_-]++)*+)"
)
# What takes more of a text comes before what takes less; only an element is sought in what the others leave.
_SECRETS = (
    _SECRET_IN_HEADER,
    _SECRET_OF_SCHEME,
    _SECRET_BEFORE_ITS_NAME,
    _SECRET_IN_TEXT,
    _SECRET_BY_ITSELF,
    _SECRET_BY_SHAPE,
    _SECRET_IN_ELEMENT,
)
# Without any of these, as nearly every line is, a text has nothing to hide; looking for them takes no time.
_SIGNS = (
    *("@", "%40", "://", "key", "pass", "pwd", "secret", "token", "authori", "credential", "cookie", "signature"),
    *("bearer", "card", "sig=", "code=", "auth=", "akia", "asia", "eyj"),
)
# Of a traceback, with its lines of source: what nothing ends there ends with them.
_FRAME = re.compile(r'(?:\A|\n)([ |]*)File "[^"\n]*", line \d+[^\n]*(?:\n\1  [^\n]*)*')
_COUNTS = vars(Counts()).keys()


def mask_addresses(text: str) -> str:
    """Return the text with every e-mail address reduced to its first character and domain."""
    if "@" not in text and "%40" not in text:
        return text
    parts, masked, end = [], 0, 0
    for found in _SIGN_AND_DOMAIN.finditer(text):
        sign = found.start()
        local = _LOCAL_BACKWARDS.match(text[max(end, sign - _LONGEST_LOCAL) : sign][::-1])
        if local is not None:
            start = sign - len(local[0])
            first = text[start] if local[1] and local[0] != "***" else ""
            parts += [text[masked:start], first, "***"]
            masked, end = sign, found.end()
    return "".join([*parts, text[masked:]])


def redact(value: Any) -> Any:
    """Return a value with secrets replaced, by their names and in URLs, and addresses masked; in types of JSON."""
    if isinstance(value, dict):
        secret_name = _SECRET_OR_VALUE if _is_pair(value) else _SECRET
        # Counts are no secret whatever they count, such as a table of tokens.
        return {
            redact(str(key)): REDACTED if secret_name.search(str(key)) and not _is_counts(item) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return mask_addresses("".join(_without_secrets(piece) for piece in _pieces(str(value))))


def may_hold_secret(text: str) -> bool:
    """Return whether there may be something to redact in the text, at a fraction of the cost of doing so."""
    lowered = text.lower()
    return any([sign in lowered for sign in _SIGNS])  # noqa: C419 (a generator takes twice as long)


def _pieces(text: str) -> Iterator[str]:
    """Return the frames of a traceback, and what is around them, each apart."""
    start = 0
    for frame in _FRAME.finditer(text):
        yield text[start : frame.start()]
        yield frame[0]
        start = frame.end()
    yield text[start:]


def _without_secrets(text: str) -> str:
    text = _SECRET_IN_URL.sub(rf"\1{REDACTED}@", text)
    for pattern in _SECRETS:
        text = pattern.sub(lambda found: found[0] if found[1] is None else f"{found[1]}{REDACTED}", text)
    return text


def _is_pair(value: dict[Any, Any]) -> bool:
    """Return whether it is as lists of headers have it: {"name": "Authorization", "value": …}."""
    names = [item for key, item in value.items() if str(key).lower().endswith(("name", "key"))]
    return any(isinstance(name, str) and _SECRET.search(name) for name in names)


def _is_counts(item: Any) -> bool:
    return isinstance(item, dict) and item.keys() == _COUNTS
