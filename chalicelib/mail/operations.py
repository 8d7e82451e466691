"""What mail adds to the operation of a deployment."""

from dataclasses import asdict
from typing import Any

from chalicelib.core.context import Context
from chalicelib.operate.operations import Operations


def check_mail(context: Context) -> dict[str, Any]:
    """Return the account's limits in SES."""
    from chalicelib.mail.ses import mail_account

    return asdict(mail_account(context))


OPERATIONS = Operations(commands="chalicelib.mail.commands", probes={"mail": check_mail})
