"""What stands in the way of a deployment, each finding with what to do about it."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.config import PING, is_reference, read_settings
from chalicelib.errors import ConfigurationError
from nightshift import triggers
from nightshift.deploy import configuration, functions, stacks
from nightshift.deploy.refusal import advice_on, refusal_of
from nightshift.stages import meant

# By worker: what its queue is called, and the setting that says where it is.
QUEUES = {"work": ("work queue", "WORK_QUEUE_URL"), "work_priority": ("priority queue", "PRIORITY_QUEUE_URL")}
VISIBILITY_FACTOR = 6
DEFAULT_TIMEOUT_SECONDS = 60
# What Lambda leaves to all functions without a reservation.
UNRESERVED = 100


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok`, `warning` (it will work, not as meant) or `problem` (it will not)."""

    level: Literal["ok", "warning", "problem"]
    subject: str
    text: str


def ok(subject: str, text: str) -> Finding:
    """Return a finding without fault."""
    return Finding("ok", subject, text)


def warning(subject: str, text: str) -> Finding:
    """Return a finding that works, not as meant."""
    return Finding("warning", subject, text)


def problem(subject: str, text: str) -> Finding:
    """Return a finding that will not work."""
    return Finding("problem", subject, text)


def is_well(findings: Iterable[Finding]) -> bool:
    """Return whether nothing stands in the way."""
    return all(finding.level != "problem" for finding in findings)


def examine(client: Callable[[str], Any], project: Path, stage: str, region: str | None) -> Iterator[Finding]:
    """Look at what a deployment needs, and if that is there at the deployed stage, if there is one."""
    before = list(examine_before(client, project, stage, region))
    yield from before
    if is_well(before) and functions.exists(client("lambda"), functions.name_of("operate", stage)):
        yield from examine_after(client, project, stage)


def examine_before(client: Callable[[str], Any], project: Path, stage: str, region: str | None) -> Iterator[Finding]:
    """Look at everything that a deployment needs before it begins."""
    yield _check_python()
    yield _check_region(project, stage, region)
    credentials = _check_credentials(client)
    yield credentials
    settings = _check_configuration(project, stage)
    yield settings
    if credentials.level == "ok" and settings.level == "ok":
        configured = configuration.read(project)["stages"][stage]
        environment = configured["environment_variables"]
        yield _check_time(configured["lambda_functions"])
        yield _check_concurrency(client("lambda"), configured["lambda_functions"])
        yield from _check_mail(client("sesv2"), environment["MAIL_FROM"])
        if setting := environment.get("BACKUP_RDS"):
            yield _check_rds(client("rds"), setting)


def _check_python() -> Finding:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return ok("Python", f"{version}, and so is the functions' runtime")


def _check_region(project: Path, stage: str, region: str | None) -> Finding:
    if not region:
        return problem("region", "there is none: set AWS_REGION, or a region in your AWS profile")
    try:
        settings = configuration.read(project)["stages"][stage]["environment_variables"]
    except (ValueError, KeyError):
        # Without a configuration there is nothing to compare with; it has a finding of its own.
        settings = {}
    secret = settings.get("UNSUBSCRIBE_SECRETS", "")
    deployed_to = secret.split(":")[3] if is_reference(secret) else region
    if deployed_to != region:
        return problem("region", f"is {region}, but {stage} was deployed to {deployed_to}: set AWS_REGION to that")
    return ok("region", region)


def _check_credentials(client: Callable[[str], Any]) -> Finding:
    try:
        identity = client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return problem("credentials", refusal_of(error))
    return ok("credentials", f"{identity['Arn']} in account {identity['Account']}")


def _check_configuration(project: Path, stage: str) -> Finding:
    try:
        stages = configuration.read(project)["stages"]
        if stage not in stages:
            there_are = f"there are {', '.join(stages)}{meant(stage, stages)}"
            raise ValueError(f"there is no stage {stage!r} in .chalice/config.json; {there_are}")
        environment = stages[stage].get("environment_variables", {})
        # Those that the stacks will give have no value yet on the first deployment.
        given = {name: f"https://{name}.invalid/" for name in configuration.DERIVED if name not in environment}
        # What the stacks will give, where the setting is no URL.
        others = {
            "UNSUBSCRIBE_SECRETS": "arn:aws:secretsmanager:::secret:to-come",
            "MAIL_CONFIGURATION_SET": "to-come",
        }
        settings = read_settings(given | others | environment)
        if settings.pings:
            _check_pings(settings.pings, triggers.functions_of(triggers.read(project), "task"))
    except (ValueError, ConfigurationError) as error:
        return problem("configuration", f"{error}")
    return ok("configuration", f"stage {stage} of .chalice/config.json has every setting")


def _check_pings(of_tasks: Iterable[str], known: Sequence[str]) -> None:
    for task in of_tasks:
        if task not in known:
            raise ValueError(f"{task.upper()}{PING} is of no task; there are {', '.join(known)}")


def _check_time(configured: Mapping[str, Any]) -> Finding:
    for name, settings in configured.items():
        timeout = settings.get("lambda_timeout", DEFAULT_TIMEOUT_SECONDS)
        if timeout < DEFAULT_TIMEOUT_SECONDS:
            return problem("time-outs", f"{name} has {timeout} s; below {DEFAULT_TIMEOUT_SECONDS} s it can do nothing")
    return ok("time-outs", "every function has the time to do something")


def _check_concurrency(awslambda: Any, configured: Mapping[str, Any]) -> Finding:
    reserved = sum(settings.get("reserved_concurrency", 0) for settings in configured.values())
    try:
        limit = awslambda.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    except (BotoCoreError, ClientError) as error:
        return warning("concurrency", f"Lambda does not tell the account's limit: {error}")
    if reserved and limit - reserved < UNRESERVED:
        return problem(
            "concurrency",
            f"the account's limit of {limit} does not let {reserved} be reserved beside the {UNRESERVED} that Lambda "
            "keeps: ask AWS for a higher limit, or take reserved_concurrency out of .chalice/config.json",
        )
    return ok("concurrency", f"{reserved} of {limit} reserved")


def _check_mail(ses: Any, sender: str) -> Iterator[Finding]:
    try:
        account = ses.get_account()
    except (BotoCoreError, ClientError) as error:
        yield warning("SES", f"does not tell its quota: {error}")
        return
    rate = account["SendQuota"]["MaxSendRate"]
    if account["ProductionAccessEnabled"]:
        yield ok("SES", f"{rate:g} mails a second to anybody")
    else:
        yield warning(
            "SES",
            f"in the sandbox, {rate:g} mails a second, to verified addresses only: ask AWS for production access",
        )
    if _is_verified(ses, sender):
        yield ok("sender", f"{sender} is verified")
    else:
        yield problem("sender", f"neither {sender} nor its domain is verified in SES: verify one in this region")


def _is_verified(ses: Any, sender: str) -> bool:
    for identity in (sender, sender.rpartition("@")[2]):
        try:
            if ses.get_email_identity(EmailIdentity=identity)["VerifiedForSendingStatus"]:
                return True
        except ClientError as error:
            if error.response["Error"]["Code"] != "NotFoundException":
                raise
    return False


def _check_rds(rds: Any, setting: str) -> Finding:
    kind, _, database = setting.partition(":")
    try:
        if kind == "cluster":
            rds.describe_db_clusters(DBClusterIdentifier=database)
        else:
            rds.describe_db_instances(DBInstanceIdentifier=database)
    except (rds.exceptions.DBInstanceNotFoundFault, rds.exceptions.DBClusterNotFoundFault):
        advice = "set BACKUP_RDS to RDS's identifier of the database"
        return problem("BACKUP_RDS", f"there is no {kind} {database} in this region: {advice}")
    except (BotoCoreError, ClientError) as error:
        return warning("BACKUP_RDS", f"RDS does not tell of {database}: {error}")
    return ok("BACKUP_RDS", f"RDS has the {kind} {database}")


def examine_after(client: Callable[[str], Any], project: Path, stage: str) -> Iterator[Finding]:
    """Look at a deployed stage, from outside and from inside its network."""
    configured = configuration.read(project)["stages"][stage]
    environment = configured["environment_variables"]
    for worker, (subject, variable) in QUEUES.items():
        timeout = configured["lambda_functions"][worker].get("lambda_timeout", DEFAULT_TIMEOUT_SECONDS)
        yield _check_queue(client("sqs"), subject, environment[variable], timeout)
        yield _check_mapping(client("lambda"), f"{worker}'s trigger", functions.name_of(worker, stage))
    yield _check_alerts(client, stage)
    yield from _check_inside(client("lambda"), stage)


def _check_queue(sqs: Any, subject: str, url: str, timeout: int) -> Finding:
    try:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    except (BotoCoreError, ClientError) as error:
        return problem(subject, f"{url} cannot be read: {error}; deploy the queues stack")
    visibility = int(attributes["VisibilityTimeout"])
    if visibility < VISIBILITY_FACTOR * timeout:
        needed = VISIBILITY_FACTOR * timeout
        return problem(subject, f"visible again after {visibility} s; the worker's {timeout} s need {needed} s")
    if "RedrivePolicy" not in attributes:
        return problem(subject, "has no dead-letter queue; deploy the queues stack")
    return ok(subject, f"visible again after {visibility} s, with a dead-letter queue")


def _check_mapping(awslambda: Any, subject: str, function: str) -> Finding:
    try:
        mappings = awslambda.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    except (BotoCoreError, ClientError) as error:
        return problem(subject, f"cannot be read: {error}")
    if len(mappings) != 1:
        return problem(subject, f"there are {len(mappings)}, and there must be one: deploy again")
    if mappings[0]["State"] not in {"Enabled", "Enabling", "Updating", "Creating"}:
        return problem(subject, f"is {mappings[0]['State']}: enable it, or nothing leaves the queue")
    return ok(subject, f"{mappings[0]['State']}, {mappings[0]['BatchSize']} messages a batch")


def _check_alerts(client: Callable[[str], Any], stage: str) -> Finding:
    try:
        topic = stacks.outputs(client("cloudformation"), stacks.name_of(stage, "queues"))["AlertsTopicArn"]
        pages = client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        subscriptions = [subscription for page in pages for subscription in page["Subscriptions"]]
    except (BotoCoreError, ClientError, KeyError) as error:
        return warning("alerts", f"it is not known whom alarms reach: {error}")
    # In place of an ARN, SNS has a word for those that wait for confirmation, and one for those that were deleted.
    confirmed = [each for each in subscriptions if each["SubscriptionArn"].startswith("arn:")]
    waiting = [each["Endpoint"] for each in subscriptions if each["SubscriptionArn"] == "PendingConfirmation"]
    if confirmed:
        return ok("alerts", f"alarms reach {len(confirmed)} confirmed subscription{'s' * (len(confirmed) > 1)}")
    if waiting:
        return warning("alerts", f"alarms reach nobody: confirm by the link in AWS's mail to {', '.join(waiting)}")
    advice = f"set AlertsEmail of queues in infra/stages.json and deploy, or subscribe to {topic}"
    return warning("alerts", f"alarms reach nobody: {advice}")


def _check_inside(awslambda: Any, stage: str) -> Iterator[Finding]:
    try:
        answer = functions.invoke(awslambda, "operate", stage, {"command": "check"})
    except ValueError as error:
        yield problem("operate", f"{error}")
        return
    for subject, found in answer.items():
        if found["ok"]:
            told = ", ".join(f"{key} {value}" for key, value in found.items() if key != "ok")
            yield ok(f"{subject}, from inside", told)
        else:
            yield problem(f"{subject}, from inside", f"{found['error']}{advice_on(found['error'])}")
