"""SES templates, as the emulator renders them: equal to the composition, whatever users wrote."""

import html
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.text import clean
from chalicelib.mail.letter import Composition, SesTemplate
from nightshift.local.ses_bulk import VARIABLE
from tests.sweep import examples

URL = "https://example.org/unsubscribe?lang=en&token=T-_"
signs = st.lists(
    st.sampled_from(["{", "}", "{{", "}}", "{{{", "\\", "\\\\", "{{name}}", "{{#if x}}", "~", "x", "&<\n"])
)
words = signs.map("".join) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"))


def fill(text: str, entry: dict[str, Any]) -> str:
    """Render as SES does: from the recipient's values alone, in one pass, without escaping."""
    # Apart from plain variables it has none of Handlebars' signs.
    assert not set("{}\\") & set(VARIABLE.sub("", text))
    values = json.loads(entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"])
    return VARIABLE.sub(lambda found: values[found[1]], text)


@settings(max_examples=examples(300))
@given(before=words, between=words, after=words, name=words, subject=words)
def test_any_template_is_rendered_as_composed(before: str, between: str, after: str, name: str, subject: str) -> None:
    parts = (before, "name", between, "unsubscribe_url", after)
    composition = Composition(subject=subject, html=parts, text=parts)
    template = SesTemplate(composition, sender_name="Slow Harbour", sender="digest@example.org")
    entry = template.entry("jane@example.org", {"name": name, "unsubscribe_url": URL})
    content = template.content["TemplateContent"]
    assert fill(content["Subject"], entry) == subject
    assert fill(content["Text"], entry) == f"{before}{clean(name)}{between}{URL}{after}"
    assert fill(content["Html"], entry) == f"{before}{html.escape(clean(name))}{between}{html.escape(URL)}{after}"


@pytest.mark.parametrize(
    ("name", "sender"),
    [
        ("Slow Harbour", "Slow Harbour <digest@example.org>"),
        ("Zoë", "=?utf-8?q?Zo=C3=AB?= <digest@example.org>"),
        ("Slow\r\nBcc: eve@example.org", '"Slow Bcc: eve@example.org" <digest@example.org>'),
        ("=?utf-8?q?hi?=", "=?utf-8?b?PT91dGYtOD9xP2hpPz0=?= <digest@example.org>"),
    ],
)
def test_sender_is_one_line_of_ascii(name: str, sender: str) -> None:
    composition = Composition(subject="News", html=(), text=("Hello",))
    assert SesTemplate(composition, sender_name=name, sender="digest@example.org").sender == sender


@settings(max_examples=examples(100))
@given(st.text(st.characters(), max_size=300))
def test_any_sender_name_stays_on_one_line(name: str) -> None:
    composition = Composition(subject="News", html=(), text=("Hello",))
    sender = SesTemplate(composition, sender_name=name, sender="digest@example.org").sender
    assert sender.isascii()
    assert sender.isprintable()
    assert sender.endswith("<digest@example.org>") or sender == "digest@example.org"


def test_template_has_only_the_parts_of_its_composition() -> None:
    composition = Composition(subject="News", html=(), text=("Hello ", "name", ""))
    template = SesTemplate(composition, sender_name="", sender="digest@example.org")
    assert template.content["TemplateContent"] == {"Subject": "News", "Text": "Hello {{nameText}}"}


def test_entry_of_single_mail_has_no_unsubscribe_headers() -> None:
    composition = Composition(subject="News", html=(), text=("Hello ", "name", ""))
    template = SesTemplate(composition, sender_name="", sender="digest@example.org")
    assert "ReplacementHeaders" not in template.entry("jane@example.org", {"name": "Jane"})
