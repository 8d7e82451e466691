"""The settings of mail, and of the site that mails are about."""

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from chalicelib.core.config import optional, or_reference, positive, read_secrets, setting, url
from chalicelib.core.text import clean, header_url, plain_address
from chalicelib.schedule.zones import read_zone


def _address(text: str) -> str:
    try:
        return plain_address(text)
    except ValueError:
        raise ValueError("must be one plain e-mail address") from None


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError("must be up to 64 letters, digits, hyphens and underscores")
    return text


def _line(text: str) -> str:
    if not clean(text):
        raise ValueError("must not be empty")
    return text


@dataclass(frozen=True, kw_only=True)
class MailSettings:
    """The sender, the pace of sending, and the site."""

    mail_from: str = setting(_address)
    mail_configuration_set: str | None = setting(optional(_name), default="")
    mail_rate: float | None = setting(optional(positive(float)), default="")
    mail_workers: int = setting(positive(int), default="5")
    site_name: str = setting(_line)
    site_url: str = setting(url("https", "http"))
    digest_zone: ZoneInfo = setting(read_zone, default="UTC")
    digest_max_posts: int = setting(positive(int), default="20")
    unsubscribe_url: str = setting(lambda text: header_url(url("https")(text)))
    unsubscribe_secrets: str = setting(or_reference(read_secrets))
