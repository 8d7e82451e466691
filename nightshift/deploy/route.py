"""The page to unsubscribe, where an API Gateway serves it: what Chalice leaves out of it."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from chalice.cli.factory import CLIFactory

from nightshift.deploy.functions import ROUTES, name_of

# What the page reports its attempts as.
UNSUBSCRIBE = "unsubscribe"
# Requests that are answered at once, each with a connection to the database, and those of a second.
CONCURRENCY, RATE = 10, 20
THROTTLING = {"rateLimit": RATE, "burstLimit": CONCURRENCY}


def is_served(stage: Mapping[str, Any]) -> bool:
    """Return whether a stage of `.chalice/config.json` has the page."""
    return bool(stage.get("environment_variables", {}).get("UNSUBSCRIBE_ROUTE") == "on")


def complete(client: Callable[[str], Any], project: Path, stage: str) -> None:
    """Limit how many requests the deployed page takes, and give it the log that its function writes to."""
    config = CLIFactory(str(project), environ=os.environ).create_config_obj(chalice_stage_name=stage)
    client("apigateway").update_stage(
        restApiId=config.deployed_resources(stage).resource_values("rest_api")["rest_api_id"],
        stageName=config.api_gateway_stage,
        patchOperations=[
            {"op": "replace", "path": f"/*/*/throttling/{limit}", "value": str(value)}
            for limit, value in THROTTLING.items()
        ],
    )
    # Chalice makes one for a function of another name.
    logs, group = client("logs"), f"/aws/lambda/{name_of(ROUTES, stage)}"
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)
    logs.put_retention_policy(logGroupName=group, retentionInDays=config.log_retention_in_days)
