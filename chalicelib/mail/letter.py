"""A composition as the MIME bytes that a provider takes: encoded once, joined for each recipient."""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.quoprimime import body_encode

from chalicelib.mail.composition import Composition
from chalicelib.mail.text import clean

# Fixed: every part is quoted-printable, in which a line cannot begin with `--=_`.
BOUNDARY = "=_nightshift"
# RFC 2045 allows 76; one is kept for the soft break that joins a literal to a personal value.
LINE = 75
# RFC 5322 wants 78 at most, the header's name included.
LONGEST_LINE = 78
ONE_LINE = LONGEST_LINE - len("Subject: ")
EOL = "\r\n"
SOFT_BREAK = f"={EOL}"
# What a name may hold without quotes: words of RFC 5322's atext, one space apart.
_PHRASE = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_QUOTABLE, _ESCAPED = re.compile(r'["\\]'), r"\\\g<0>"


class Letter:
    """One composition from one sender, ready to be addressed."""

    def __init__(self, composition: Composition, *, sender_name: str, sender: str, date: datetime) -> None:
        self._headers = _write_headers(clean(sender_name), sender, composition.subject, date)
        self._html = _encode_literals(composition.html)
        self._text = _encode_literals(composition.text)

    def address(self, to: str, personal: Mapping[str, str]) -> bytes:
        """Return the mail to one plain address; `personal` gives name and, for a mailing, unsubscribe_url."""
        return "".join(
            (
                self._headers,
                f"\r\nTo: {to}\r\n",
                *(f"{name}: {value}\r\n" for name, value in unsubscribe_headers(personal).items()),
                f'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="{BOUNDARY}"\r\n\r\n',
                *_write_part("plain", self._text, personal, escape=str),
                *_write_part("html", self._html, personal, escape=html.escape),
                f"\r\n--{BOUNDARY}--\r\n",
            )
        ).encode("ascii")


def write_sender(name: str, address: str) -> str:
    """Return what stands in From, in ASCII and folded where it is long."""
    if not name:
        return address
    # Not by the e-mail package: before 3.13.5 it folds a long name without its quotes, so that a part of the name may
    # read as an address. And it decodes text that looks like an encoded word, such as =?utf-8?q?hi?=.
    written = name if _PHRASE.fullmatch(name) else f'"{_QUOTABLE.sub(_ESCAPED, name)}"'
    if not name.isascii() or "=?" in name or len(f"From: {written} <{address}>") > LONGEST_LINE:
        written = Header(name, "utf-8", header_name="From").encode(linesep=EOL)
    return f"{written} <{address}>"


def _write_headers(sender_name: str, sender: str, subject: str, date: datetime) -> str:
    headers = EmailMessage(policy=SMTP)
    encoded = [f"From: {write_sender(sender_name, sender)}"]
    # As in a sender's name; and where the e-mail package breaks a line of text, it may lose a space or add one.
    if "=?" in subject or len(subject) > ONE_LINE or not subject.isascii():
        encoded.append(f"Subject: {Header(subject, 'utf-8', header_name='Subject').encode(linesep=EOL)}")
    else:
        headers["Subject"] = subject
    headers["Date"] = date
    return EOL.join([*encoded, headers.as_bytes().rstrip().decode("ascii")])


def unsubscribe_headers(personal: Mapping[str, str]) -> dict[str, str]:
    """Return the headers by which a mail client unsubscribes in one click (RFC 8058), none but for a mailing."""
    if "unsubscribe_url" not in personal:
        return {}
    return {
        "List-Unsubscribe": f"<{personal['unsubscribe_url']}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _write_part(
    subtype: str, parts: Sequence[str], personal: Mapping[str, str], *, escape: Callable[[str], str]
) -> list[str]:
    if not parts:
        return []
    head = (
        f"\r\n--{BOUNDARY}\r\nContent-Type: text/{subtype}; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    return [head, *_fill(parts, personal, escape=escape)]


def _encode(text: str) -> str:
    return body_encode(text.encode().decode("latin-1"), maxlinelen=LINE, eol="\r\n")


def _encode_literals(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part if place % 2 else _encode(part) for place, part in enumerate(parts))


def _fill(parts: Sequence[str], personal: Mapping[str, str], *, escape: Callable[[str], str]) -> list[str]:
    # Between two soft breaks each value stands on lines of its own, whatever its length, and reads as one text.
    return [
        SOFT_BREAK + _encode(escape(clean(personal[part]))) + SOFT_BREAK if place % 2 else part
        for place, part in enumerate(parts)
    ]
