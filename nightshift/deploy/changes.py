"""Chalice's client of AWS, which asks before it writes: what is as it should be is left alone, the rest is noted."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.session import Session
from chalice.awsclient import TypedAWSClient

from nightshift.deploy.functions import find_log_group
from nightshift.deploy.package import code_sha256

PARTIAL_FAILURES = ["ReportBatchItemFailures"]
CREATED, DELETED = "created", "deleted"


class ChangingClient(TypedAWSClient):
    """Makes Chalice's calls that change something; with `is_plan`, only notes them.

    `changes` has what differs of each function, by the name that it is deployed under.
    """

    def __init__(self, session: Session, *, name_of_routes: str, is_plan: bool, tell: Callable[[str], object]) -> None:
        super().__init__(session)
        self.changes: dict[str, list[str]] = {}
        self._routes, self._is_plan, self._tell = name_of_routes, is_plan, tell
        self._api = ""

    def _differs(self, name: str, what: str) -> bool:
        """Note that something of a function differs, and return whether it is to be changed."""
        function = name.rpartition(":")[2].rpartition("/")[2].removesuffix("-event")
        # Chalice names the role and the log of what serves routes otherwise than the function.
        function = function.removesuffix("-api_handler")
        self.changes.setdefault(function, []).append(what)
        self._tell(f"{function}: {what}\n")
        return not self._is_plan

    def _arn(self, service: str, name: str) -> str:
        # Of what a plan does not make, for calls that are not made either.
        region = "" if service == "iam" else self.region_name
        return f"arn:{self.partition_name}:{service}:{region}:000000000000:{name}"

    def create_role(self, name: str, trust_policy: dict[str, Any], policy: dict[str, Any]) -> str:
        """Make a role with its policy."""
        if self._differs(name, "role created"):
            return str(super().create_role(name, trust_policy, policy))
        return self._arn("iam", f"role/{name}")

    def put_role_policy(self, role_name: str, policy_name: str, policy_document: dict[str, Any]) -> None:
        """Give a role its policy."""
        iam = self._client("iam")
        try:
            found = iam.get_role_policy(RoleName=role_name, PolicyName=policy_name)["PolicyDocument"]
        except iam.exceptions.NoSuchEntityException:
            found = None
        if found != policy_document and self._differs(role_name, "policy"):
            super().put_role_policy(role_name, policy_name, policy_document)

    def delete_role(self, name: str) -> None:
        """Delete a role."""
        if self._differs(name, "role deleted"):
            super().delete_role(name)

    def create_function(self, function_name: str, *arguments: Any, **settings: Any) -> str:
        """Make a function."""
        if self._differs(function_name, CREATED):
            return str(super().create_function(function_name, *arguments, **settings))
        return self._arn("lambda", f"function:{function_name}")

    # Chalice passes settings by keyword.
    def update_function(  # type: ignore[override]
        self, function_name: str, zip_contents: Any, **settings: Any
    ) -> dict[str, Any]:
        """Bring a function's code and settings to what they should be."""
        found = self._client("lambda").get_function(FunctionName=function_name)
        configuration: dict[str, Any] = found["Configuration"]
        parts = {
            "code": configuration["CodeSha256"] == code_sha256(zip_contents),
            "settings": _settings_of(configuration, found.get("Tags", {}), settings) == _wanted(settings),
        }
        if configuration.get("LastUpdateStatus") == "Failed":
            parts["settings"] = False
        other = ", ".join(part for part, is_same in parts.items() if not is_same)
        if other and self._differs(function_name, other):
            updated: dict[str, Any] = super().update_function(function_name, zip_contents, **settings)
            return updated
        return configuration

    def delete_function(self, function_name: str) -> None:
        """Delete a function."""
        if self._differs(function_name, DELETED):
            super().delete_function(function_name)

    def put_function_concurrency(self, function_name: str, reserved_concurrent_executions: int) -> None:
        """Have Lambda reserve so many executions."""
        is_same = self._reserved(function_name) == reserved_concurrent_executions
        if not is_same and self._differs(function_name, "concurrency"):
            super().put_function_concurrency(function_name, reserved_concurrent_executions)

    def delete_function_concurrency(self, function_name: str) -> None:
        """Have Lambda reserve none."""
        if self._reserved(function_name) is not None and self._differs(function_name, "concurrency"):
            super().delete_function_concurrency(function_name)

    def _reserved(self, function_name: str) -> int | None:
        awslambda = self._client("lambda")
        try:
            found = awslambda.get_function_concurrency(FunctionName=function_name)
        except awslambda.exceptions.ResourceNotFoundException:
            # Only in a plan, which has not made it.
            return None
        reserved: int | None = found.get("ReservedConcurrentExecutions")
        return reserved

    def log_group_exists(self, name: str) -> bool:
        """Return whether there is this group, and not only one whose name begins with it."""
        return find_log_group(self._client("logs"), name) is not None

    def create_log_group(self, log_group_name: str) -> None:
        """Make a log group."""
        if self._differs(log_group_name, "log group created"):
            super().create_log_group(log_group_name)

    def put_retention_policy(self, name: str, retention_in_days: int) -> None:
        """Let a log group forget after so many days."""
        found = find_log_group(self._client("logs"), name) or {}
        if found.get("retentionInDays") != retention_in_days and self._differs(name, "log retention"):
            super().put_retention_policy(name, retention_in_days)

    def delete_retention_policy(self, log_group_name: str) -> None:
        """Leave the log as it is: what a deleted function wrote stays, and must be forgotten one day."""

    def get_or_create_rule_arn(
        self,
        rule_name: str,
        schedule_expression: str | None = None,
        event_pattern: str | None = None,
        rule_description: str | None = None,
    ) -> str:
        """Bring a rule to its expression, and return its ARN."""
        events = self._client("events")
        try:
            found = events.describe_rule(Name=rule_name)
        except events.exceptions.ResourceNotFoundException:
            found = {}
        wanted = (schedule_expression or "", event_pattern or "", rule_description or "", "ENABLED")
        keys = ("ScheduleExpression", "EventPattern", "Description", "State")
        if tuple(found.get(key, "") for key in keys) == wanted:
            return str(found["Arn"])
        if self._differs(rule_name, "schedule"):
            return str(super().get_or_create_rule_arn(rule_name, schedule_expression, event_pattern, rule_description))
        return str(found.get("Arn") or self._arn("events", f"rule/{rule_name}"))

    def connect_rule_to_lambda(self, rule_name: str, function_arn: str) -> None:
        """Let a rule call its function."""
        events = self._client("events")
        try:
            targets = events.list_targets_by_rule(Rule=rule_name)["Targets"]
        except events.exceptions.ResourceNotFoundException:
            # Only in a plan, which has not made it.
            return
        if targets != [{"Id": "1", "Arn": function_arn}] and self._differs(rule_name, "schedule's target"):
            super().connect_rule_to_lambda(rule_name, function_arn)

    def delete_rule(self, rule_name: str) -> None:
        """Delete a rule."""
        if self._differs(rule_name, "schedule deleted"):
            super().delete_rule(rule_name)

    def _add_lambda_permission_if_needed(
        self, source_arn: str, function_arn: str, service_name: str, source_account: str | None = None
    ) -> None:
        policy = self.get_function_policy(function_arn)
        is_given = self._policy_gives_access(policy, source_arn, service_name, source_account)
        if not is_given and self._differs(function_arn, f"permission of {service_name}"):
            super()._add_lambda_permission_if_needed(source_arn, function_arn, service_name, source_account)

    def create_lambda_event_source(  # type: ignore[override]
        self, event_source_arn: str, function_name: str, **settings: Any
    ) -> str:
        """Let a function take messages from a queue."""
        if self._differs(function_name, "trigger created"):
            return str(super().create_lambda_event_source(event_source_arn, function_name, **settings))
        return "planned"

    def update_lambda_event_source(self, event_uuid: str, **settings: Any) -> None:  # type: ignore[override]
        """Bring a queue's trigger to what it should be, partial failures reported."""
        awslambda = self._client("lambda")
        found = awslambda.get_event_source_mapping(UUID=event_uuid)
        is_queue = ":sqs:" in found["EventSourceArn"]
        there = (
            found["BatchSize"],
            found.get("MaximumBatchingWindowInSeconds", 0),
            found.get("ScalingConfig", {}).get("MaximumConcurrency"),
            found.get("FunctionResponseTypes", []) if is_queue else [],
        )
        wanted = (
            settings["batch_size"],
            settings["maximum_batching_window_in_seconds"],
            settings.get("maximum_concurrency"),
            PARTIAL_FAILURES if is_queue else [],
        )
        if there == wanted or not self._differs(found["FunctionArn"], "trigger"):
            return
        super().update_lambda_event_source(event_uuid, **settings)
        if is_queue:
            self._call_client_method_with_retries(
                awslambda.update_event_source_mapping,
                {"UUID": event_uuid, "FunctionResponseTypes": PARTIAL_FAILURES},
                max_attempts=10,
                should_retry=self._is_settling_error,  # type: ignore[arg-type]
            )

    def remove_lambda_event_source(self, event_uuid: str) -> None:
        """Delete a trigger."""
        found = self._client("lambda").get_event_source_mapping(UUID=event_uuid)
        if self._differs(found["FunctionArn"], "trigger deleted"):
            super().remove_lambda_event_source(event_uuid)

    def subscribe_function_to_topic(self, topic_arn: str, function_arn: str) -> str:
        """Let a topic call a function."""
        if self._differs(function_arn, "subscription created"):
            return str(super().subscribe_function_to_topic(topic_arn, function_arn))
        return "planned"

    def unsubscribe_from_topic(self, subscription_arn: str) -> None:
        """Let a topic call a function no longer."""
        if self._differs(self._routes, "subscription deleted"):
            super().unsubscribe_from_topic(subscription_arn)

    def remove_permission_for_sns_topic(self, topic_arn: str, function_arn: str) -> None:
        """Take a topic's permission away."""
        if not self._is_plan:
            super().remove_permission_for_sns_topic(topic_arn, function_arn)

    def import_rest_api(self, swagger_document: dict[str, Any], endpoint_type: str) -> str:
        """Make the API of the routes."""
        self._api = _digest(swagger_document)
        if self._differs(self._routes, "API created"):
            return str(super().import_rest_api(swagger_document, endpoint_type))
        return "planned"

    def update_api_from_swagger(self, rest_api_id: str, swagger_document: dict[str, Any]) -> None:
        """Bring the API to the routes."""
        self._api = _digest(swagger_document)
        if not self._is_live(rest_api_id) and self._differs(self._routes, "API"):
            super().update_api_from_swagger(rest_api_id, swagger_document)

    def update_rest_api(self, rest_api_id: str, patch_operations: list[Any]) -> None:
        """Bring the API to its settings."""
        if not self._is_plan:
            super().update_rest_api(rest_api_id, patch_operations)

    def deploy_rest_api(self, rest_api_id: str, api_gateway_stage: str, xray: bool) -> None:  # noqa: FBT001 (Chalice's)
        """Make the API's routes live, with a description by which the next deployment knows them."""
        if self._is_plan or self._is_live(rest_api_id):
            return
        self._client("apigateway").create_deployment(
            restApiId=rest_api_id, stageName=api_gateway_stage, tracingEnabled=bool(xray), description=self._api
        )

    def _is_live(self, rest_api_id: str) -> bool:
        gateway = self._client("apigateway")
        live = [each["deploymentId"] for each in gateway.get_stages(restApiId=rest_api_id)["item"]]
        found = [gateway.get_deployment(restApiId=rest_api_id, deploymentId=each) for each in live]
        return any(each.get("description") == self._api for each in found)

    def delete_rest_api(self, rest_api_id: str) -> None:
        """Delete the API."""
        if self._differs(self._routes, "API deleted"):
            super().delete_rest_api(rest_api_id)


def _digest(swagger_document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(swagger_document, sort_keys=True).encode()).hexdigest()


def _wanted(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{
            name: settings[name]
            for name in ("environment_variables", "runtime", "timeout", "memory_size", "role_arn", "tags")
        },
        "layers": list(settings["layers"] or []),
        "xray": bool(settings["xray"]),
        "subnet_ids": sorted(settings["subnet_ids"] or []),
        "security_group_ids": sorted(settings["security_group_ids"] or []),
        "architecture": settings["architecture"] or "x86_64",
    }


def _settings_of(
    configuration: Mapping[str, Any], tags: Mapping[str, str], wanted: Mapping[str, Any]
) -> dict[str, Any]:
    vpc = configuration.get("VpcConfig", {})
    is_traced = configuration.get("TracingConfig", {}).get("Mode") == "Active"
    return {
        "environment_variables": configuration.get("Environment", {}).get("Variables", {}),
        "runtime": configuration["Runtime"],
        "timeout": configuration["Timeout"],
        "memory_size": configuration["MemorySize"],
        "role_arn": configuration["Role"],
        "tags": dict(tags),
        "layers": [each["Arn"] for each in configuration.get("Layers", [])],
        # Chalice switches tracing on and never off, so what is on otherwise is no difference.
        "xray": is_traced and bool(wanted["xray"]),
        "subnet_ids": sorted(vpc.get("SubnetIds", [])),
        "security_group_ids": sorted(vpc.get("SecurityGroupIds", [])),
        "architecture": configuration.get("Architectures", ["x86_64"])[0],
    }
