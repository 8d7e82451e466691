"""Writing sent mails as files that a person can open."""

import email
import email.policy
import shutil
from email.message import EmailMessage
from pathlib import Path

from nightshift.local.aws import SentMail


def write_mails(mails: list[SentMail], folder: Path) -> None:
    """Write each mail as `<recipient>.eml` and its HTML part as `<recipient>.html`, in an emptied folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for mail in mails:
        # The recipient is one plain address by now, but `/` may stand in it.
        write_mail(mail, folder / mail.recipient.replace("/", "_"))


def write_mail(mail: SentMail, path: Path) -> None:
    """Write a mail as `path`.eml and its HTML part as `path`.html."""
    Path(f"{path}.eml").write_bytes(mail.content)
    Path(f"{path}.html").write_text(html_part(mail.content), encoding="utf-8")


def parse(content: bytes) -> EmailMessage:
    """Return a mail as Python's e-mail package reads it."""
    return email.message_from_bytes(content, policy=email.policy.default)


def html_part(content: bytes) -> str:
    """Return the HTML part of a mail."""
    body = parse(content).get_body(("html",))
    return "" if body is None else str(body.get_content())
