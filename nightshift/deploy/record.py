"""Chalice's record of what is deployed, `.chalice/deployed/<stage>.json`, read from AWS.

Chalice writes it when it has finished, on the machine that it ran on, and finds triggers nowhere else: by the record of
another clone, or of a deployment that was interrupted, it would make them a second time and delete nothing.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from nightshift.deploy.functions import is_absent
from nightshift.project.triggers import APPLICATION, ROUTES, name_of

Resource = dict[str, Any]

API_IN_ARN = re.compile(r":execute-api:[^:]+:[^:]+:(\w+)/")


def update(project: Path, stage: str, resources: list[Resource]) -> bool:
    """Write the record where it says something else, and return whether it did."""
    path = project / ".chalice" / "deployed" / f"{stage}.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["resources"]
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if known is not None and {each["name"]: each for each in known} == {each["name"]: each for each in resources}:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"resources": resources, "schema_version": "2.0", "backend": "api"}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return True


def read(client: Callable[[str], Any], stage: str) -> list[Resource]:
    """Return what Chalice made for a stage and is there, under Chalice's names and in its order.

    A trigger that is there twice has a name that Chalice does not know, so that Chalice deletes it.
    """
    functions = dict(_functions(client("lambda"), stage))
    by_arn = {each["FunctionArn"]: name for name, each in functions.items()}
    return [
        *_log_groups(client("logs"), stage),
        *_roles(client("iam"), stage),
        *(
            {"name": name, "resource_type": "lambda_function", "lambda_arn": each["FunctionArn"]}
            for name, each in functions.items()
        ),
        *_rules(client("events"), stage),
        *_mappings(client("lambda"), by_arn),
        *_subscriptions(client("sns"), by_arn),
        *_apis(client, functions),
    ]


def _functions(awslambda: Any, stage: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for page in awslambda.get_paginator("list_functions").paginate():
        for each in page["Functions"]:
            if name := _function_of(each, stage):
                yield name, each


def _function_of(found: Mapping[str, Any], stage: str) -> str | None:
    """Return the function of app.py that this is in a stage, None where it is another stage's or application's.

    A function's own name has no hyphen, so those of a stage `prod-eu` are not taken for the stage `prod`'s. What serves
    its routes could be, since it bears the stage's name alone: its handler is the application.
    """
    name, serves_routes = found["FunctionName"], found.get("Handler") == "app.app"
    if serves_routes:
        return ROUTES if name == name_of(ROUTES, stage) else None
    function: str = name.removeprefix(f"{APPLICATION}-{stage}-")
    return function if function != name and function.isidentifier() else None


def _roles(iam: Any, stage: str) -> Iterator[Resource]:
    # Of all roles, since one that is made before its function, or deleted after it, has none to be found by.
    prefix = f"{APPLICATION}-{stage}-"
    for page in iam.get_paginator("list_roles").paginate():
        for each in page["Roles"]:
            name = each["RoleName"].removeprefix(prefix)
            if name != each["RoleName"] and name.isidentifier():
                role = {"role_arn": each["Arn"], "role_name": each["RoleName"]}
                yield {"name": f"{name}_role", "resource_type": "iam_role", **role}


def _log_groups(logs: Any, stage: str) -> Iterator[Resource]:
    prefix = f"/aws/lambda/{APPLICATION}-{stage}-"
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
        for each in page["logGroups"]:
            name = each["logGroupName"].removeprefix(prefix)
            if name.isidentifier() and "retentionInDays" in each:
                yield {
                    "name": f"{name}-log-group",
                    "resource_type": "log_group",
                    "log_group_name": each["logGroupName"],
                }


def _rules(events: Any, stage: str) -> Iterator[Resource]:
    prefix = f"{APPLICATION}-{stage}-"
    for page in events.get_paginator("list_rules").paginate(NamePrefix=prefix):
        for each in page["Rules"]:
            name = each["Name"].removeprefix(prefix)
            if name.endswith("-event") and name.removesuffix("-event").isidentifier():
                yield {"name": name, "resource_type": "cloudwatch_event", "rule_name": each["Name"]}


def _mappings(awslambda: Any, by_arn: Mapping[str, str]) -> Iterator[Resource]:
    seen = set()
    for page in awslambda.get_paginator("list_event_source_mappings").paginate():
        for each in page["EventSourceMappings"]:
            function = by_arn.get(each["FunctionArn"])
            if function is None or each["State"] == "Deleting":
                continue
            name = f"{function}-sqs-event-source"
            yield {
                "name": f"{name}-{each['UUID']}" if name in seen else name,
                "resource_type": "sqs_event",
                "queue_arn": each["EventSourceArn"],
                "event_uuid": each["UUID"],
                "queue": each["EventSourceArn"].rpartition(":")[2],
                "lambda_arn": each["FunctionArn"],
            }
            seen.add(name)


def _subscriptions(sns: Any, by_arn: Mapping[str, str]) -> Iterator[Resource]:
    for page in sns.get_paginator("list_subscriptions").paginate():
        for each in page["Subscriptions"]:
            if each["Protocol"] == "lambda" and (function := by_arn.get(each["Endpoint"])):
                yield {
                    "name": f"{function}-sns-subscription",
                    "resource_type": "sns_event",
                    "topic": each["TopicArn"].rpartition(":")[2],
                    "lambda_arn": each["Endpoint"],
                    "subscription_arn": each["SubscriptionArn"],
                    "topic_arn": each["TopicArn"],
                }


def _apis(client: Callable[[str], Any], functions: Mapping[str, Mapping[str, Any]]) -> Iterator[Resource]:
    # The APIs of all stages have one name. Which is this stage's, its function's permission says.
    if ROUTES not in functions:
        return
    try:
        policy = client("lambda").get_policy(FunctionName=functions[ROUTES]["FunctionName"])["Policy"]
    except ClientError as error:
        if not is_absent(error):
            raise
        return
    gateway = client("apigateway")
    there = {each["id"] for page in gateway.get_paginator("get_rest_apis").paginate() for each in page["items"]}
    for n, api in enumerate(sorted(there & set(API_IN_ARN.findall(policy)))):
        region = gateway.meta.region_name
        url = f"https://{api}.execute-api.{region}.amazonaws.com/api/"
        name = "rest_api" if n == 0 else f"rest_api-{api}"
        yield {"name": name, "resource_type": "rest_api", "rest_api_id": api, "rest_api_url": url}
