"""The page to unsubscribe, where an API Gateway serves it: what Chalice leaves out of it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chalice.cli.factory import CLIFactory

from nightshift.deploy.functions import ROUTES, find_log_group, name_of

# What the page reports its attempts as.
UNSUBSCRIBE = "unsubscribe"
# Requests that are answered at once, each with a connection to the database, and those of a second.
CONCURRENCY, RATE = 10, 20
THROTTLING = {"rateLimit": RATE, "burstLimit": CONCURRENCY}


def is_served(stage: Mapping[str, Any]) -> bool:
    """Return whether a stage of `.chalice/config.json` has the page."""
    return bool(stage.get("environment_variables", {}).get("UNSUBSCRIBE_ROUTE") == "on")


def complete(client: Callable[[str], Any], project: Path, stage: str) -> bool:
    """Limit how many requests the page takes, give its function a log, and return whether any of it was new."""
    config = CLIFactory(str(project), environ=os.environ).create_config_obj(chalice_stage_name=stage)
    api = config.deployed_resources(stage).resource_values("rest_api")["rest_api_id"]
    is_limited = _limit(client("apigateway"), api, config.api_gateway_stage)
    # Chalice makes one for a function of another name.
    group = f"/aws/lambda/{name_of(ROUTES, stage)}"
    return _keep_log(client("logs"), group, config.log_retention_in_days) or is_limited


def _limit(gateway: Any, api: str, stage: str) -> bool:
    found = gateway.get_stage(restApiId=api, stageName=stage).get("methodSettings", {}).get("*/*", {})
    if (found.get("throttlingRateLimit"), found.get("throttlingBurstLimit")) == (RATE, CONCURRENCY):
        return False
    gateway.update_stage(
        restApiId=api,
        stageName=stage,
        patchOperations=[
            {"op": "replace", "path": f"/*/*/throttling/{limit}", "value": str(value)}
            for limit, value in THROTTLING.items()
        ],
    )
    return True


def _keep_log(logs: Any, group: str, days: int) -> bool:
    found = find_log_group(logs, group)
    if found is None:
        logs.create_log_group(logGroupName=group)
    elif found.get("retentionInDays") == days:
        return False
    logs.put_retention_policy(logGroupName=group, retentionInDays=days)
    return True
