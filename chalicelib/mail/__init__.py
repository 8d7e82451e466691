"""A part: mails by SES, each at most once, to nobody who does not want any."""

from chalicelib.core.part import Part
from chalicelib.mail.settings import MailSettings

PART = Part(name="mail", settings=MailSettings)
