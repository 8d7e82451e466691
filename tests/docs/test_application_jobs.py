"""Whoever verifies a call as the page shows takes ours and no other, and a policy is declared as the page says."""

import base64
import json
import os
import shutil
import subprocess

import pytest

from chalicelib.api import Rate, application_job
from chalicelib.queue.application import sign
from tests.docs.pages import blocks
from tests.docs.running import block_with, run

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("keys", "body", "is_valid"),
    [
        ([KEY], b"{}", True),
        ([b"n" * 32, KEY], b"{}", True),
        ([b"n" * 32], b"{}", False),
        ([KEY], b"{ }", False),
    ],
)
def test_a_call_is_verified_from_javascript(keys: list[bytes], body: bytes, is_valid: bool) -> None:
    node = shutil.which("node")
    if node is None:
        (pytest.fail if "node" in os.environ.get("REQUIRE_CLIENTS", "") else pytest.skip)("node is not installed")
    (block,) = (block for block in blocks("js") if "webhook-signature" in block.text)
    headers = {
        "webhook-id": "one",
        "webhook-timestamp": "1772452800",
        "webhook-signature": sign(keys, id_="one", timestamp=1772452800, body=body),
    }
    lines = [
        'import crypto from "node:crypto";',
        f"const headers = {json.dumps(headers)}, body = '{{}}';",
        f'const secret = "whsec_{base64.b64encode(KEY).decode()}";',
        block.text,
        "console.log(JSON.stringify(isValid));",
    ]
    command = [node, "--input-type=module", "--eval", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) is is_valid


def test_a_type_may_have_a_policy_of_its_own() -> None:
    handler = run(block_with("send_invoice ="), application_job=application_job, Rate=Rate)["send_invoice"]
    assert (handler.type, handler.max_attempts, handler.parallel) == ("send_invoice", 10, 2)
    assert handler.rate == Rate(count=5, seconds=1)
