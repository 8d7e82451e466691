"""A stage deployed for real into the emulator, which runs the packaged code; the tests build on one another."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.cloud import REGION, SENDER, STAGE, Cloud, until

YESTERDAY = datetime.now(UTC) - timedelta(days=1)
READERS = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"reader{n}")) for n in range(5)]


def test_deploying_makes_everything_and_finds_it_well(cloud: Cloud) -> None:
    told = cloud.deploy()
    assert "stack nightshift-e2e-queues: created" in told
    assert "database: empty → " in told or "database: 0002 → 0002" in told
    assert "✗" not in told
    print(told)
