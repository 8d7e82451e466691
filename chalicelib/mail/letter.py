"""A mail: composed once, with placeholders for each recipient's own values, and encoded for one of SES's calls.

`SendEmail` takes MIME bytes (`MimeMail`). `SendBulkEmail` takes a template, in which SES fills in the values itself
(`SesTemplate`).
"""

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.quoprimime import body_encode
from pathlib import Path
from typing import Any

from chalicelib.core.templates import templates
from chalicelib.core.text import clean

TEMPLATES = Path(__file__).parent / "templates"
PERSONAL = ("name", "unsubscribe_url")
# Delimits a placeholder in rendered text. `clean` removes it from every value, so no title or name can forge one.
DELIMITER = "\x00"

# Fixed: every part is quoted-printable, in which a line cannot begin with `--=_`.
BOUNDARY = "=_nightshift"
# RFC 2045 allows 76; one is kept for the soft break that joins a literal to a personal value.
LINE = 75
# RFC 5322 recommends 78 at most, including the header's name.
MAX_HEADER_LINE = 78
MAX_SUBJECT_ON_ONE_LINE = MAX_HEADER_LINE - len("Subject: ")
EOL = "\r\n"
SOFT_BREAK = f"={EOL}"
# A name that needs no quotes: words of RFC 5322's atext, one space apart.
_PHRASE = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_QUOTABLE, _ESCAPED = re.compile(r'["\\]'), r"\\\g<0>"

# SES finds variables by Handlebars' rules and escapes nothing. Our literals hold what users wrote, so each of
# Handlebars' signs in them becomes a variable too. Letters only: SES refuses an underscore in the name of a variable
# of an inline template.
SIGNS = {"openBrace": "{", "closeBrace": "}", "backslash": "\\"}
_SIGNS_AS_VARIABLES = str.maketrans({sign: f"{{{{{variable}}}}}" for variable, sign in SIGNS.items()})


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A subject, and HTML and text parts: literals at even indexes, names of personal values at odd ones."""

    subject: str
    html: tuple[str, ...]
    text: tuple[str, ...]

    def to_json(self) -> str:
        """Return the composition as stored in the `digests` table."""
        return json.dumps(asdict(self), ensure_ascii=False)


def from_json(stored: str) -> Composition:
    """Return a stored composition."""
    values = json.loads(stored)
    return Composition(subject=values["subject"], html=tuple(values["html"]), text=tuple(values["text"]))


def compose(template: str, *, subject: str, content: Mapping[str, Any]) -> Composition:
    """Render `<template>.html.j2` and `<template>.txt.j2`, with a placeholder for each personal value."""
    # Imported late, as Jinja is: sending a stored composition needs neither.
    from markupsafe import Markup

    personal = {name: Markup(f"{DELIMITER}{name}{DELIMITER}") for name in PERSONAL}  # noqa: S704 (ours alone)
    parts = {
        kind: templates(TEMPLATES)
        .get_template(f"{template}.{kind}.j2")
        .render(content, subject=subject, personal=personal)
        .split(DELIMITER)
        for kind in ("html", "txt")
    }
    return Composition(subject=clean(subject), html=tuple(parts["html"]), text=tuple(parts["txt"]))


class MimeMail:
    """One composition from one sender as MIME: encoded once, joined for each recipient."""

    def __init__(self, composition: Composition, *, sender_name: str, sender: str, date: datetime) -> None:
        self._headers = _headers(clean(sender_name), sender, composition.subject, date)
        self._html = _encode_literals(composition.html)
        self._text = _encode_literals(composition.text)

    def encode(self, to: str, personal: Mapping[str, str]) -> bytes:
        """Return the mail to one plain address; `personal` has name and, for a mailing, unsubscribe_url."""
        return "".join(
            (
                self._headers,
                f"\r\nTo: {to}\r\n",
                *(f"{name}: {value}\r\n" for name, value in _unsubscribe_headers(personal).items()),
                f'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="{BOUNDARY}"\r\n\r\n',
                *_mime_part("plain", self._text, personal, escape=str),
                *_mime_part("html", self._html, personal, escape=html.escape),
                f"\r\n--{BOUNDARY}--\r\n",
            )
        ).encode("ascii")


def _sender(name: str, address: str) -> str:
    """Return the value of From, in ASCII and folded where it is long."""
    if not name:
        return address
    # Not by the e-mail package: before 3.13.5 it folds a long name without its quotes, so that a part of the name may
    # read as an address. It also decodes text that looks like an encoded word, such as =?utf-8?q?hi?=.
    written = name if _PHRASE.fullmatch(name) else f'"{_QUOTABLE.sub(_ESCAPED, name)}"'
    if not name.isascii() or "=?" in name or len(f"From: {written} <{address}>") > MAX_HEADER_LINE:
        written = Header(name, "utf-8", header_name="From").encode(linesep=EOL)
    return f"{written} <{address}>"


def _headers(sender_name: str, sender: str, subject: str, date: datetime) -> str:
    headers = EmailMessage(policy=SMTP)
    encoded = [f"From: {_sender(sender_name, sender)}"]
    # As for the sender's name; and where the e-mail package breaks a line of text, it may lose a space or add one.
    if "=?" in subject or len(subject) > MAX_SUBJECT_ON_ONE_LINE or not subject.isascii():
        encoded.append(f"Subject: {Header(subject, 'utf-8', header_name='Subject').encode(linesep=EOL)}")
    else:
        headers["Subject"] = subject
    headers["Date"] = date
    return EOL.join([*encoded, headers.as_bytes().rstrip().decode("ascii")])


def _unsubscribe_headers(personal: Mapping[str, str]) -> dict[str, str]:
    """Return a mailing's headers for one-click unsubscribing (RFC 8058); no other mail has any."""
    if "unsubscribe_url" not in personal:
        return {}
    return {
        "List-Unsubscribe": f"<{personal['unsubscribe_url']}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _mime_part(
    subtype: str, parts: Sequence[str], personal: Mapping[str, str], *, escape: Callable[[str], str]
) -> list[str]:
    if not parts:
        return []
    head = (
        f"\r\n--{BOUNDARY}\r\nContent-Type: text/{subtype}; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    # Each value has its own lines between two soft breaks, whatever its length, and reads as one text.
    values = (
        SOFT_BREAK + _encode(escape(clean(personal[part]))) + SOFT_BREAK if index % 2 else part
        for index, part in enumerate(parts)
    )
    return [head, *values]


def _encode(text: str) -> str:
    return body_encode(text.encode().decode("latin-1"), maxlinelen=LINE, eol=EOL)


def _encode_literals(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part if index % 2 else _encode(part) for index, part in enumerate(parts))


class SesTemplate:
    """One composition from one sender: `content` and `sender` as SendBulkEmail takes them."""

    def __init__(self, composition: Composition, *, sender_name: str, sender: str) -> None:
        self.sender = _sender(clean(sender_name), sender).replace(EOL, "")
        parts = {"Html": _with_variables(composition.html, "Html"), "Text": _with_variables(composition.text, "Text")}
        self.content: dict[str, Any] = {
            "TemplateContent": {
                "Subject": composition.subject.translate(_SIGNS_AS_VARIABLES),
                **{kind: text for kind, text in parts.items() if text},
            },
            # Required, though each recipient's own data replaces it.
            "TemplateData": json.dumps(SIGNS),
        }

    def entry(self, to: str, personal: Mapping[str, str]) -> dict[str, Any]:
        """Return the entry of one plain address; `personal` has name and, for a mailing, unsubscribe_url."""
        plain = {name: clean(value) for name, value in personal.items()}
        # Every variable for every recipient: SES accepts a mail that lacks one and never sends it, and its
        # documentation and its behaviour differ on whether the template's own data fills in.
        values = {
            **{_variable(name, "Html"): html.escape(value) for name, value in plain.items()},
            **{_variable(name, "Text"): value for name, value in plain.items()},
            **SIGNS,
        }
        headers = [{"Name": name, "Value": value} for name, value in _unsubscribe_headers(personal).items()]
        return {
            "Destination": {"ToAddresses": [to]},
            "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": json.dumps(values)}},
            **({"ReplacementHeaders": headers} if headers else {}),
        }


def _with_variables(parts: Sequence[str], kind: str) -> str:
    return "".join(
        f"{{{{{_variable(part, kind)}}}}}" if index % 2 else part.translate(_SIGNS_AS_VARIABLES)
        for index, part in enumerate(parts)
    )


def _variable(name: str, kind: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others) + kind
