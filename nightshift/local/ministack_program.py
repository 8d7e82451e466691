"""Run ministack with IAM checks as strict as AWS's. The argument is the folder of its packages."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from email.utils import parseaddr
from importlib import import_module
from typing import Any

Check = tuple[str, str, dict[str, str]]

SINGLE, BULK = "/v2/email/outbound-emails", "/v2/email/outbound-bulk-emails"


def _end_with_parent() -> None:
    # Standard input closes when the parent ends, even if it is killed. Functions are in this process group.
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def iam_checks(path: str, request: dict[str, Any], *, place: str) -> Iterator[Check]:
    """Yield the action, resource and context keys of each IAM check of a mail from an account in the sandbox."""
    sender = parseaddr(request["FromEmailAddress"])[1]
    from_address = {"ses:FromAddress": sender}
    entries = request["BulkEmailEntries"] if path == BULK else [request]
    recipients = [address for entry in entries for addresses in entry["Destination"].values() for address in addresses]
    resources = [f"{place}:identity/{address}" for address in (sender, *recipients)]
    if "ConfigurationSetName" in request:
        resources.append(f"{place}:configuration-set/{request['ConfigurationSetName']}")
    if path == BULK:
        resources.append(f"{place}:template/any")
        # Without the sender as a key.
        yield from (("ses:SendBulkEmail", resource, {}) for resource in resources)
    single = "ses:SendRawEmail" if "Raw" in request.get("Content", ()) else "ses:SendEmail"
    action = "ses:SendBulkTemplatedEmail" if path == BULK else single
    yield from ((action, resource, from_address) for resource in resources)


def _check_as_aws_does(emulator: Any) -> None:
    iam_actions: Any = import_module("ministack.core.iam_actions")
    get_account_id = import_module("ministack.core.responses").get_account_id
    action_of, enforce = iam_actions.extract_iam_action, emulator._enforce_ses_v2

    def extract_action(service: str, *call: Any) -> str | None:
        # Batch calls need the permission of the single call.
        action: str | None = action_of(service, *call)
        return action.removesuffix("Batch") if service == "sqs" and action else action

    def enforce_ses(method: str, path: str, headers: Any, body: bytes, query: Any, request_id: str) -> Any:
        if method != "POST" or path not in {SINGLE, BULK}:
            return enforce(method, path, headers, body, query, request_id)
        place = f"arn:aws:ses:{emulator.extract_region(headers, query)}:{get_account_id()}"
        for action, resource, keys in iam_checks(path, json.loads(body), place=place):
            denied = emulator._enforce_data_plane(
                "sesv2",
                action,
                headers,
                query,
                request_id,
                resource_arn=resource,
                service_context=keys,
                named_resource=resource,
            )
            if denied:
                return denied
        return None

    iam_actions.extract_iam_action, emulator._enforce_ses_v2 = extract_action, enforce_ses


def main() -> None:
    """Serve until the parent process ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Not by PYTHONPATH, which functions would inherit.
    sys.path.append(sys.argv.pop())
    emulator: Any = import_module("ministack.app")
    # Policies of queues and buckets deny requests without TLS, but here there is only the loopback interface.
    pin = emulator.pin_request_origin
    emulator.pin_request_origin = lambda address, _secure: pin(address, True)  # noqa: FBT003 (its signature)
    _check_as_aws_does(emulator)
    emulator.main()


if __name__ == "__main__":
    main()
