"""MIME mails, as Python's own e-mail package reads them."""

import html
import quopri
import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import compat32
from email.utils import getaddresses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.text import clean
from chalicelib.mail.letter import Composition, MimeMail
from nightshift.local.aws import parse_mail
from tests.sweep import examples

MORNING = datetime(2016, 8, 4, 8, 0, tzinfo=UTC)
URL = "https://example.org/unsubscribe?lang=en&token=T-_"
PERSONAL = {"name": "Jane", "unsubscribe_url": URL}

any_text = st.text(st.characters())
# Literals come out of templates: text, with a line feed at the end of each line.
literals = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"))


def write(
    name: str = "Jane",
    *,
    subject: str = "News",
    sender_name: str = "Slow Harbour",
    html_parts: tuple[str, ...] = ("<p>Hello ", "name", "</p>"),
    text_parts: tuple[str, ...] = ("Hello ", "name", "\n"),
) -> bytes:
    composition = Composition(subject=subject, html=html_parts, text=text_parts)
    mime = MimeMail(composition, sender_name=sender_name, sender="digest@example.org", date=MORNING)
    return mime.encode("jane@example.org", PERSONAL | {"name": name})


def part(mail: bytes, subtype: str) -> str:
    body = parse_mail(mail).get_body((subtype,))
    assert isinstance(body, EmailMessage)
    return str(body.get_content()).replace("\r\n", "\n")


def test_mail_has_text_and_html_parts() -> None:
    mail = parse_mail(write())
    assert mail.get_content_type() == "multipart/alternative"
    assert [alternative.get_content_type() for alternative in mail.iter_parts()] == ["text/plain", "text/html"]
    assert [alternative.get_content_charset() for alternative in mail.iter_parts()] == ["utf-8", "utf-8"]
    assert not mail.defects
    assert not any(alternative.defects for alternative in mail.iter_parts())


def test_its_headers_are_exactly_these() -> None:
    head, _, _ = write().partition(b"\r\n\r\n")
    assert head.decode().split("\r\n") == [
        "From: Slow Harbour <digest@example.org>",
        "Subject: News",
        "Date: Thu, 04 Aug 2016 08:00:00 +0000",
        "To: jane@example.org",
        f"List-Unsubscribe: <{URL}>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "MIME-Version: 1.0",
        'Content-Type: multipart/alternative; boundary="=_nightshift"',
    ]


@pytest.mark.parametrize(
    "name",
    [
        'Jane "the <b>Boss</b>" & Sons',
        "O'Brien",
        "Zoë 🐙 שלום",
        "\u202eenaJ",
        "Jane\r\nBcc: eve@example.org\r\n\r\nHello",
        "\r\n--=_nightshift--\r\n",
        "=\r\n=3D=",
        ".\r\n",
        "From here",
        "\x00name\x00",
        "\ud800",
        " ",
        "",
        "x" * 1000,
        "🐙" * 100,
    ],
    ids=ascii,
)
def test_name_is_plain_text_in_both_parts(name: str) -> None:
    mail = write(name)
    assert part(mail, "plain") == f"Hello {clean(name)}\n"
    assert part(mail, "html") == f"<p>Hello {html.escape(clean(name))}</p>"


@settings(max_examples=examples(150))
@given(name=any_text)
def test_any_name_is_plain_text_and_adds_no_line(name: str) -> None:
    mail = write(name)
    assert part(mail, "plain") == f"Hello {clean(name)}\n"
    assert part(mail, "html") == f"<p>Hello {html.escape(clean(name))}</p>"
    assert mail.partition(b"\r\n\r\n")[0] == write().partition(b"\r\n\r\n")[0]
    assert len(list(parse_mail(mail).iter_parts())) == 2


@settings(max_examples=examples(150))
@given(before=literals, between=literals, after=literals, name=any_text)
def test_any_composition_is_decoded_as_composed(before: str, between: str, after: str, name: str) -> None:
    parts = (before, "name", between, "unsubscribe_url", after)
    mail = write(name, html_parts=parts, text_parts=parts)
    assert part(mail, "plain") == f"{before}{clean(name)}{between}{URL}{after}"
    assert part(mail, "html") == f"{before}{html.escape(clean(name))}{between}{html.escape(URL)}{after}"


@settings(max_examples=examples(150))
@given(before=literals | st.integers(60, 240).map("x".__mul__), name=any_text | st.integers(60, 240).map("y".__mul__))
def test_mime_lines_are_short_ascii_with_crlf(before: str, name: str) -> None:
    mail = write(name, html_parts=(before, "name", before), text_parts=(before, "name", before, "name", ""))
    assert mail.isascii()
    assert mail.endswith(b"\r\n")
    lines = mail.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    _, _, body = mail.partition(b"\r\n\r\n")
    assert max(len(line) for line in body.split(b"\r\n")) <= 76


@settings(max_examples=examples(50))
@given(literals, any_text)
def test_second_quoted_printable_decoder_agrees(before: str, name: str) -> None:
    mail = write(name, text_parts=(before, "name", "\n"))
    encoded = mail.split(b"\r\n--=_nightshift")[1].partition(b"\r\n\r\n")[2]
    assert quopri.decodestring(encoded).decode().replace("\r\n", "\n") == f"{before}{clean(name)}\n"


def test_each_address_gets_its_own_mail() -> None:
    composition = Composition(subject="News", html=("", "name", ""), text=("", "name", ""))
    mime = MimeMail(composition, sender_name="Slow Harbour", sender="digest@example.org", date=MORNING)
    mails = [
        parse_mail(mime.encode(f"{name}@example.org", {"name": name, "unsubscribe_url": f"https://x.org/{name}"}))
        for name in ("ann", "bob")
    ]
    assert [mail.get_all("To") for mail in mails] == [["ann@example.org"], ["bob@example.org"]]
    assert [mail["List-Unsubscribe"] for mail in mails] == ["<https://x.org/ann>", "<https://x.org/bob>"]
    assert [mail.get_all(header) for mail in mails for header in ("Cc", "Bcc")] == [None] * 4


@pytest.mark.parametrize(
    "subject",
    [
        "Slow Harbour: 3 posts from Wednesday, 3 August 2016",
        "🐙 Zoë: שלום",
        "🐙" * 60,
        "a long subject of many words " * 12,
        "one-word-of-" + "x" * 200,
        "100% = <b>1</b> \"quoted\" 'too', (all) of: it; @",
    ],
)
def test_subject_is_decoded_as_written(subject: str) -> None:
    mail = write(subject=clean(subject))
    assert parse_mail(mail)["Subject"] == clean(subject)
    head, _, _ = mail.partition(b"\r\n\r\n")
    assert max(len(line) for line in head.split(b"\r\n")) <= 998


@settings(max_examples=examples(150))
@given(st.text(st.characters(categories=["L", "M", "N", "P", "S"]) | st.just(" "), max_size=120).map(clean))
def test_any_subject_is_decoded_as_written(subject: str) -> None:
    assert parse_mail(write(subject=subject))["Subject"] == subject


# Runs of spaces and words of other scripts, in lines that must be broken.
@settings(max_examples=examples(300))
@given(
    st.lists(st.sampled_from(["word", "ü", "日本", "🐙", " ", "  ", "\u202e", "\xa0", "%", ",", '"', "=?", "x" * 70]))
)
def test_folded_subject_keeps_its_spaces(pieces: list[str]) -> None:
    subject = clean("".join(pieces))
    assert parse_mail(write(subject=subject))["Subject"] == subject


@pytest.mark.parametrize(("length", "raw"), [(69, f"Subject: {'x' * 69}"), (70, "Subject: =?utf-8?")])
def test_subject_is_encoded_only_if_needed(length: int, raw: str) -> None:
    head, _, _ = write(subject="x" * length).partition(b"\r\n\r\n")
    (line,) = [line for line in head.decode().split("\r\n") if line.startswith("Subject:")]
    assert line.startswith(raw)
    assert len(line) <= 78


@pytest.mark.parametrize(
    "disguised",
    ["=?utf-8?q?hello?=", "=?utf-8?q?hi=0D=0ABcc:_eve=40x.org?=", "=?utf-8?b?aGVsbG8=?="],
)
def test_subject_or_sender_like_encoded_word_stays_text(disguised: str) -> None:
    mail = parse_mail(write(subject=disguised, sender_name=disguised))
    assert "Bcc" not in mail
    assert mail["Subject"] == disguised
    assert [address.display_name for address in mail["From"].addresses] == [disguised]


@pytest.mark.parametrize(
    "sender_name", ["Slow Harbour", "Zoë's 🐙", 'Slow, "Harbour" <eve@example.org>', "Harbour; eve@example.org", ""]
)
def test_sender_is_one_address(sender_name: str) -> None:
    (address,) = parse_mail(write(sender_name=sender_name))["From"].addresses
    assert (address.display_name, address.addr_spec) == (sender_name, "digest@example.org")


@settings(max_examples=examples(400))
@given(
    st.lists(
        st.sampled_from(
            [*',();:<>@[]\\"= ', "eve@example.org", "word", "x" * 75, "ü", "🐙", "=?utf-8?q?hi?=", "  ", "."]
        )
        | st.text(st.characters(categories=["L", "M", "N", "P", "S"]), max_size=5),
        max_size=20,
    ).map(lambda pieces: clean("".join(pieces)))
)
def test_any_sender_name_gives_one_address(sender_name: str) -> None:
    head, _, _ = write(sender_name=sender_name).partition(b"\r\n\r\n")
    mail = parse_mail(head + b"\r\n\r\n")
    assert [address.addr_spec for address in mail["From"].addresses] == ["digest@example.org"]
    assert not mail["From"].defects
    assert head.isascii()
    # As other programs read it. Where a name has several encoded words, the e-mail package reads a space between them.
    raw = str(message_from_bytes(head, policy=compat32)["From"])
    ((name, spec),) = getaddresses([re.sub(r"\r\n ", " ", raw)])
    assert (str(make_header(decode_header(name))), spec) == (sender_name, "digest@example.org")


def test_line_breaks_in_the_sender_name_add_no_header() -> None:
    mail = parse_mail(write(sender_name="Slow\r\nBcc: eve@example.org"))
    assert "Bcc" not in mail
    assert mail["From"].addresses[0].display_name == "Slow Bcc: eve@example.org"


def test_single_mail_has_no_unsubscribe_headers() -> None:
    composition = Composition(subject="News", html=("Hello ", "name", ""), text=("Hello ", "name", ""))
    mime = MimeMail(composition, sender_name="Slow Harbour", sender="digest@example.org", date=MORNING)
    mail = parse_mail(mime.encode("jane@example.org", {"name": "Jane"}))
    assert [header for header in mail if "subscribe" in header.lower()] == []
    assert mail["To"] == "jane@example.org"


@pytest.mark.parametrize(
    ("html_parts", "text_parts", "arriving"),
    [
        ((), ("Hello ", "name"), {"text/plain": "Hello Jane"}),
        (("Hello ", "name"), (), {"text/html": "Hello Jane"}),
        (("<p>Hello",), ("Hello",), {"text/plain": "Hello", "text/html": "<p>Hello"}),
    ],
)
def test_mail_has_only_the_parts_of_its_composition(
    html_parts: tuple[str, ...], text_parts: tuple[str, ...], arriving: dict[str, str]
) -> None:
    mail = parse_mail(write(html_parts=html_parts, text_parts=text_parts))
    assert {part.get_content_type(): part.get_content() for part in mail.iter_parts()} == arriving
    assert not mail.defects
