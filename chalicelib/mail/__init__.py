"""The mail part: mails through SES, each at most once and never to a suppressed address."""

from chalicelib.core.part import Part
from chalicelib.mail.settings import MailSettings

PART = Part(name="mail", settings=MailSettings, operations="chalicelib.mail.operations")
