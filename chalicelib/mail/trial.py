"""One trial mail by each of SES's calls, from the worker to SES's mailbox simulator."""

from collections.abc import Callable

from chalicelib.core.clock import from_ms
from chalicelib.core.context import Context
from chalicelib.core.errors import TransientError
from chalicelib.mail.letter import Composition, MimeMail, SesTemplate
from chalicelib.mail.ses import Mailer, NotSent, SendResult, Sent
from chalicelib.mail.settings import MailSettings

# Accepts mails from the sandbox too, and they do not count for the daily quota.
SIMULATOR = "success@simulator.amazonses.com"
# The sandbox accepts one mail a second.
PAUSE_SECONDS = 1.1
COMPOSITION = Composition(subject="A trial", html=(), text=("This mail shows that SES takes mails.",))


def send_trials(context: Context) -> dict[str, str | None]:
    """Send a mail by the single call and one by the bulk call; return for each why SES did not accept it."""
    settings = context.settings(MailSettings)
    name, sender = settings.site_name, settings.mail_from
    mime = MimeMail(COMPOSITION, sender_name=name, sender=sender, date=from_ms(context.clock.now_ms()))
    template = SesTemplate(COMPOSITION, sender_name=name, sender=sender)
    # Its own mailer: the context's does not try a bulk call again after one was declined.
    mailer = Mailer(context.client("sesv2"), configuration_set=settings.mail_configuration_set)
    single = _reason(lambda: mailer.send(mime.encode(SIMULATOR, {}), sender=sender, to=SIMULATOR))
    context.clock.sleep(PAUSE_SECONDS)
    return {"single": single, "bulk": _reason(lambda: mailer.send_bulk(template, [template.entry(SIMULATOR, {})])[0])}


def _reason(send: Callable[[], SendResult]) -> str | None:
    try:
        result = send()
    except TransientError as error:
        return str(error)
    if isinstance(result, Sent):
        return None
    return str(result.error) if isinstance(result, NotSent) else result.reason
