"""Whether SES takes mails from the function that asks: one by each call, to SES's own mailbox simulator."""

from collections.abc import Callable

from chalicelib.core.clock import from_ms
from chalicelib.core.context import Context
from chalicelib.core.errors import TransientError
from chalicelib.mail.bulk import BulkMailer
from chalicelib.mail.composition import Composition
from chalicelib.mail.letter import Letter
from chalicelib.mail.mailer import Answer, NotSent, Sent
from chalicelib.mail.template import Template

# Takes mails from the sandbox too, and they count for no daily quota.
SIMULATOR = "success@simulator.amazonses.com"
# The sandbox takes one mail a second.
PAUSE_SECONDS = 1.1
COMPOSITION = Composition(subject="A trial", html=(), text=("This mail shows that SES takes mails.",))


def send_trials(context: Context) -> dict[str, str | None]:
    """Send a mail by the single call and one by the bulk call, and return for each why SES did not take it."""
    single = _reason(_send_single, context)
    context.clock.sleep(PAUSE_SECONDS)
    return {"single": single, "bulk": _reason(_send_bulk, context)}


def _reason(send: Callable[[Context], Answer], context: Context) -> str | None:
    try:
        answer = send(context)
    except TransientError as error:
        return str(error)
    match answer:
        case Sent():
            return None
        case NotSent(error=held_up):
            return str(held_up)
    return answer.reason


def _send_single(context: Context) -> Answer:
    sender, name = context.settings.mail_from, context.settings.site_name
    letter = Letter(COMPOSITION, sender_name=name, sender=sender, date=from_ms(context.clock.now_ms()))
    return context.mailer.send(letter.address(SIMULATOR, {}), sender=sender, to=SIMULATOR)


def _send_bulk(context: Context) -> Answer:
    settings = context.settings
    template = Template(COMPOSITION, sender_name=settings.site_name, sender=settings.mail_from)
    # One of its own: the context's declines every call after the first that was.
    mailer = BulkMailer(context.client("sesv2"), configuration_set=settings.mail_configuration_set)
    (answer,) = mailer.send(template, [template.address(SIMULATOR, {})])
    return answer
