"""SES's SendBulkEmail for moto, which lacks it.

As strict as SES itself where that differs from its documentation: an inline template has only plain variables, without
underscores in their names; a recipient's data replaces all of the template's; a mail that lacks a variable is accepted
and never sent. Nothing is escaped.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from typing import Any

import botocore.session
from botocore.model import Shape
from moto.ses.exceptions import InvalidParameterValue, SesError
from moto.sesv2 import urls
from moto.sesv2.responses import SESV2Response

MAX_RECIPIENTS, MAX_BYTES = 50, 1_000_000
MAX_HEADER = 996
VARIABLE = re.compile(r"(?<![{\\])\{\{([A-Za-z][A-Za-z0-9]*)\}\}(?!\})")


class BadRequestError(SesError):
    """The whole request is rejected, and no mail is sent."""

    code = "BadRequestException"


def register() -> None:
    """Add the operation to the emulators of this process."""
    SESV2Response.send_bulk_email = _send_bulk_email  # type: ignore[attr-defined]
    urls.url_paths["{0}/v2/email/outbound-bulk-emails$"] = SESV2Response.dispatch


def _send_bulk_email(self: SESV2Response) -> str:
    if len(self.body) > MAX_BYTES:
        raise BadRequestError("the request is too large")
    request = json.loads(self.body)
    for problem in _problems(_model(), request, "the request"):
        raise BadRequestError(problem)
    template = request["DefaultContent"].get("Template", {})
    if not 1 <= len(request["BulkEmailEntries"]) <= MAX_RECIPIENTS:
        raise BadRequestError(f"one request has 1 to {MAX_RECIPIENTS} entries")
    content = template.get("TemplateContent", {})
    if "TemplateData" not in template or not content.get("Subject") or not {"Html", "Text"} & content.keys():
        raise BadRequestError("an inline template has a subject, a part and data")
    if any("{{" in VARIABLE.sub("", text) for text in content.values()):
        raise BadRequestError("Template contains unsupported operations.")
    results = [_send(self, request["FromEmailAddress"], template, entry) for entry in request["BulkEmailEntries"]]
    return json.dumps({"BulkEmailEntryResults": results})


@cache
def _model() -> Any:
    return botocore.session.get_session().get_service_model("sesv2").operation_model("SendBulkEmail").input_shape


def _problems(shape: Shape, value: Any, where: str) -> Iterator[str]:
    """Yield where a value violates the model in ways that botocore ignores: lengths, patterns, unknown members."""
    known: Any = shape
    if shape.type_name == "structure":
        for name in known.required_members:
            if name not in value:
                yield f"{where} lacks {name}"
        for name, member in value.items():
            if name in known.members:
                yield from _problems(known.members[name], member, name)
            else:
                yield f"{where} has no {name}"
        return
    limits = shape.metadata
    if not limits.get("min", 0) <= len(value) <= limits.get("max", MAX_BYTES):
        yield f"{where} has a length of {len(value)}"
    if shape.type_name == "list":
        for member in value:
            yield from _problems(known.member, member, where)
    elif "pattern" in limits and not re.fullmatch(limits["pattern"].strip("^$"), value):
        yield f"{where} holds what it may not: {value!r}"


def _send(ses: SESV2Response, sender: str, template: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, str]:
    given = entry.get("ReplacementEmailContent", {}).get("ReplacementTemplate", {}).get("ReplacementTemplateData")
    data = json.loads(given or "{}") or json.loads(template["TemplateData"])
    content = template["TemplateContent"]
    try:
        rendered = {part: VARIABLE.sub(lambda found: str(data[found[1]]), text) for part, text in content.items()}
    except KeyError:
        return {"Status": "SUCCESS", "MessageId": str(uuid.uuid4())}
    headers = {header["Name"]: header["Value"] for header in template.get("Headers", ())}
    headers |= {header["Name"]: header["Value"] for header in entry.get("ReplacementHeaders", ())}
    if any(len(name) + len(value) > MAX_HEADER for name, value in headers.items()):
        return {"Status": "INVALID_PARAMETER", "Error": "a header is too long"}
    (to,) = entry["Destination"]["ToAddresses"]
    raw = f"From: {sender}\r\n".encode() + _write(to, headers, rendered)
    try:
        sent = ses.sesv2_backend.send_raw_email(sender, [to], raw.decode())
    except InvalidParameterValue as error:
        return {"Status": "INVALID_PARAMETER", "Error": str(error)}
    return {"Status": "SUCCESS", "MessageId": sent.id}


def _write(to: str, headers: Mapping[str, str], rendered: Mapping[str, str]) -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["To"] = to
    mail["Subject"] = rendered["Subject"]
    for name, value in headers.items():
        mail[name] = value
    if "Text" in rendered:
        mail.set_content(rendered["Text"], cte="quoted-printable")
    if "Html" in rendered:
        add = mail.add_alternative if "Text" in rendered else mail.set_content
        add(rendered["Html"], subtype="html", cte="quoted-printable")
    return mail.as_bytes()
