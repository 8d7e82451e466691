"""A composition as a template of SES, which puts in each recipient's own values itself.

SES finds variables by Handlebars' rules, and escapes nothing. Our literals hold what users wrote, so none of
Handlebars' signs is left in them: each becomes a variable too. Every recipient is given every variable, since SES's
own pages and its behaviour differ on whether those left out are taken from the template's data; without one, SES
would accept the mail and then send none.
"""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.mail.composition import Composition
from chalicelib.mail.letter import EOL, unsubscribe_headers, write_sender
from chalicelib.mail.text import clean

# Letters only: SES refuses an underscore in the name of a variable of an inline template.
SIGNS = {"openBrace": "{", "closeBrace": "}", "backslash": "\\"}
_SPELLED = str.maketrans({sign: f"{{{{{variable}}}}}" for variable, sign in SIGNS.items()})


class Template:
    """One composition from one sender: `content` and `sender` as SendBulkEmail takes them."""

    def __init__(self, composition: Composition, *, sender_name: str, sender: str) -> None:
        self.sender = write_sender(clean(sender_name), sender).replace(EOL, "")
        parts = {"Html": _write(composition.html, "Html"), "Text": _write(composition.text, "Text")}
        self.content: dict[str, Any] = {
            "TemplateContent": {
                "Subject": composition.subject.translate(_SPELLED),
                **{kind: text for kind, text in parts.items() if text},
            },
            # Required; the recipients' own stand in for all of it.
            "TemplateData": json.dumps(SIGNS),
        }

    def address(self, to: str, personal: Mapping[str, str]) -> dict[str, Any]:
        """Return the entry of one plain address; `personal` gives name and, for a mailing, unsubscribe_url."""
        plain = {name: clean(value) for name, value in personal.items()}
        values = {
            **{_variable(name, "Html"): html.escape(value) for name, value in plain.items()},
            **{_variable(name, "Text"): value for name, value in plain.items()},
            **SIGNS,
        }
        headers = [{"Name": name, "Value": value} for name, value in unsubscribe_headers(personal).items()]
        return {
            "Destination": {"ToAddresses": [to]},
            "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": json.dumps(values)}},
            **({"ReplacementHeaders": headers} if headers else {}),
        }


def _write(parts: Sequence[str], kind: str) -> str:
    return "".join(
        f"{{{{{_variable(part, kind)}}}}}" if place % 2 else part.translate(_SPELLED)
        for place, part in enumerate(parts)
    )


def _variable(name: str, kind: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others) + kind
