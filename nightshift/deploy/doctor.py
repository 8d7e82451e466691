"""Check what a stage needs. Each finding says what to do, and findings are in the order in which to do it."""

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core.config import PING, Environment, PingSettings, is_reference
from chalicelib.core.engine import engine_for
from chalicelib.core.errors import ConfigurationError
from nightshift.deploy import functions, stacks
from nightshift.deploy.refusal import advice_on, refusal_of
from nightshift.project import configuration, left_out, triggers
from nightshift.project.configuration import is_placeholder, placeholders
from nightshift.project.runtimes import assess
from nightshift.project.stage import meant, read_stage
from nightshift.project.triggers import name_of

# By worker: what its queue is called, and the setting that says where it is.
QUEUES = {"work": ("work queue", "WORK_QUEUE_URL"), "work_priority": ("priority queue", "PRIORITY_QUEUE_URL")}
VISIBILITY_FACTOR = 6
DEFAULT_TIMEOUT_SECONDS = 60
# What Lambda leaves to all functions without a reservation.
UNRESERVED = 100
Level = Literal["problem", "warning", "ok"]
LEVELS: tuple[Level, ...] = get_args(Level)
# Without these, the checks of a deployed stage would only report errors that follow from them.
GROUND = frozenset({"region", "credentials", "configuration", "stacks"})


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok`, `warning` (it will work, not as meant) or `problem` (it will not)."""

    level: Level
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


def examine(client: Callable[[str], Any], project: Path, stage: str, region: str | None) -> list[Finding]:
    """Check what a deployment needs, and the deployed stage if there is one."""
    found = list(_before(client, project, stage, region))
    if is_well(finding for finding in found if finding.subject in GROUND):
        found += _deployed(client, project, stage)
    return _ordered(found)


def examine_before(client: Callable[[str], Any], project: Path, stage: str, region: str | None) -> list[Finding]:
    """Check everything that a deployment needs before it begins."""
    return _ordered(_before(client, project, stage, region))


def examine_after(client: Callable[[str], Any], project: Path, stage: str) -> list[Finding]:
    """Check a deployed stage, from outside and from inside its network."""
    return _ordered(_after(client, project, stage))


def next_step(findings: Sequence[Finding], stage: str) -> str | None:
    """Return the first thing to fix, of ordered findings, or None if nothing is a problem."""
    problems = [finding.subject for finding in findings if finding.level == "problem"]
    if not problems:
        return None
    order = "" if len(problems) == 1 else " first, since the others may follow from it"
    return f"Next: fix {problems[0]}{order}. Then run: nightshift doctor --stage {stage}"


def _ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return problems, then warnings, then the rest. Checks come before those that depend on them, and stay so."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _deployed(client: Callable[[str], Any], project: Path, stage: str) -> Iterator[Finding]:
    try:
        is_deployed = functions.exists(client("lambda"), name_of("operate", stage))
    except (BotoCoreError, ClientError) as error:
        yield problem("functions", refusal_of(error))
        return
    if is_deployed:
        yield from _after(client, project, stage)
    else:
        yield ok("functions", f"none is deployed yet: nightshift deploy --stage {stage}")


def _before(client: Callable[[str], Any], project: Path, stage: str, region: str | None) -> Iterator[Finding]:
    yield _check_python()
    account = [_check_region(project, stage, region)]
    # AWS's clients refuse every call without a region, the one that checks credentials too.
    if region:
        account.append(_check_credentials(client))
    yield from account
    settings = _check_configuration(project, stage)
    yield settings
    if settings.level == "problem":
        return
    configured = configuration.read(project)["stages"][stage]
    yield from _check_parts(project)
    yield from _check_stage(project, stage, configured["environment_variables"])
    yield _check_time(configured["lambda_functions"])
    if is_well(account):
        yield from _check_account(client, configured, triggers.parts(project))


def _check_account(
    client: Callable[[str], Any], configured: Mapping[str, Any], parts: Collection[str]
) -> Iterator[Finding]:
    environment = configured["environment_variables"]
    # These wait for other people, the sender's for a change of DNS, so they come first.
    if "mail" in parts and not is_placeholder(environment["MAIL_FROM"]):
        yield _check_sender(client("sesv2"), environment["MAIL_FROM"])
    yield _check_concurrency(client("lambda"), configured["lambda_functions"])
    if "mail" in parts:
        yield _check_quota(client("sesv2"))
    if "backup" in parts and (setting := environment.get("BACKUP_RDS")):
        yield _check_rds(client("rds"), setting)


def _check_python() -> Finding:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    level, text = assess(version, datetime.now(UTC).date())
    return Finding(level, "Python", text)


def _check_region(project: Path, stage: str, region: str | None) -> Finding:
    if not region:
        return problem("region", "there is none: set AWS_DEFAULT_REGION, or a region in your AWS profile")
    try:
        settings = configuration.read(project)["stages"][stage]["environment_variables"]
    except (ValueError, KeyError):
        # Without a configuration there is nothing to compare with; it has a finding of its own.
        settings = {}
    secret = settings.get("UNSUBSCRIBE_SECRETS", "")
    deployed_to = secret.split(":")[3] if is_reference(secret) else region
    if deployed_to != region:
        return problem(
            "region", f"is {region}, but {stage} was deployed to {deployed_to}: set AWS_DEFAULT_REGION to that"
        )
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
        derived = configuration.derived(triggers.parts(project))
        given = {name: f"https://{name}.invalid/" for name in derived if name not in environment}
        # What the stacks will give, where the setting is no URL.
        others = {
            "UNSUBSCRIBE_SECRETS": "arn:aws:secretsmanager:::secret:to-come",
            "MAIL_CONFIGURATION_SET": "to-come",
        }
        variables = Environment(given | others | environment)
        variables.check(configuration.settings_of(project))
        if pings := variables.read(PingSettings).pings:
            _check_pings(pings, triggers.functions_of(triggers.read(project), "task"))
    except (ValueError, ConfigurationError) as error:
        return problem("configuration", f"{error}")
    return ok("configuration", f"stage {stage} of .chalice/config.json has every setting")


def _check_pings(of_tasks: Iterable[str], known: Sequence[str]) -> None:
    for task in of_tasks:
        if task not in known:
            raise ValueError(f"{task.upper()}{PING} is of no task; there are {', '.join(known)}")


def _check_parts(project: Path) -> Iterator[Finding]:
    for part in left_out.names(project):
        of_app, handlers = left_out.functions_that_use(project, part), left_out.handlers_that_use(project, part)
        if users := [*of_app, *handlers]:
            text = f"PARTS in app.py leaves it out, and {', '.join(users)} use it: remove these, or list it"
            # Without its handler a job fails only if something still enqueues it.
            yield (problem if of_app else warning)(f"part {part}", text)


def _check_stage(project: Path, stage: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    try:
        parameters = read_stage(project, stage).stacks
    except ValueError as error:
        yield problem("stacks", f"{error}")
        return
    unused = left_out.settings(project)
    used = {name: value for name, value in environment.items() if name not in unused}
    yield _check_placeholders(used, parameters)
    yield from _check_login(environment, parameters)


def _check_placeholders(environment: Mapping[str, str], parameters: Mapping[str, Mapping[str, str]]) -> Finding:
    if left := list(placeholders(environment, parameters)):
        return problem("placeholders", f"still as the project has them: {', '.join(left)}; write your own")
    return ok("placeholders", "none is left")


def _check_login(environment: Mapping[str, str], parameters: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    url, credentials = environment["DATABASE_URL"], environment.get("DATABASE_CREDENTIALS")
    if "data" in parameters or is_reference(url) or is_placeholder(url):
        return
    try:
        # Connects to nothing yet.
        address = engine_for(url, ca=environment.get("DATABASE_CA") or None).url
    except ConfigurationError as error:
        yield problem("database", f"{error}")
        return
    if not (address.username or credentials or parameters["secrets"].get("DatabaseUsername")):
        advice = "set DatabaseUsername of secrets in infra/stages.json, which makes up a password too"
        yield problem("database", f"there is no user to log in as: {advice}")


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


def _check_quota(ses: Any) -> Finding:
    try:
        account = ses.get_account()
    except (BotoCoreError, ClientError) as error:
        return warning("SES", f"does not tell its quota: {error}")
    rate = account["SendQuota"]["MaxSendRate"]
    if account["ProductionAccessEnabled"]:
        return ok("SES", f"{rate:g} mails a second to anybody")
    limits = f"in the sandbox, {rate:g} mails a second, to verified addresses only"
    return warning("SES", f"{limits}: ask AWS for production access")


def _check_sender(ses: Any, sender: str) -> Finding:
    try:
        is_verified = _is_verified(ses, sender)
    except (BotoCoreError, ClientError) as error:
        return warning("sender", f"SES does not tell whether {sender} is verified: {error}")
    if is_verified:
        return ok("sender", f"{sender} is verified")
    return problem("sender", f"neither {sender} nor its domain is verified in SES: verify one in this region")


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


def _after(client: Callable[[str], Any], project: Path, stage: str) -> Iterator[Finding]:
    yield from _check_inside(client("lambda"), stage)
    if not functions.exists(client("lambda"), name_of("work", stage)):
        yield problem("functions", f"no schedule or worker is deployed yet: nightshift deploy --stage {stage}")
        return
    if "mail" in triggers.parts(project):
        yield from _check_sending(client("lambda"), stage)
    configured = configuration.read(project)["stages"][stage]
    environment = configured["environment_variables"]
    for worker, (subject, variable) in QUEUES.items():
        timeout = configured["lambda_functions"][worker].get("lambda_timeout", DEFAULT_TIMEOUT_SECONDS)
        yield _check_queue(client("sqs"), subject, environment[variable], timeout)
        yield _check_mapping(client("lambda"), f"{worker}'s trigger", name_of(worker, stage))
    yield _check_alerts(client, stage)


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
    for subject, found in _without_repetitions(answer).items():
        if found["ok"]:
            details = ", ".join(f"{key} {value}" for key, value in found.items() if key != "ok")
            yield ok(f"{subject}, from inside", details)
        else:
            yield problem(f"{subject}, from inside", f"{found['error']}{advice_on(found['error'])}")
        # Migrating takes the rights that the line above checks.
        if subject == "user":
            yield from _check_tables(answer.get("database", {}), stage)


def _check_tables(database: Mapping[str, Any], stage: str) -> Iterator[Finding]:
    revision, newest = database.get("revision"), database.get("newest")
    if database.get("ok") and revision != newest:
        found = "there are none yet" if revision is None else f"are of revision {revision}, and not of {newest}"
        yield problem("tables, from inside", f"{found}: nightshift deploy --stage {stage}, which migrates them")


def _without_repetitions(answer: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Leave out what the database says twice: as such, and of its user, where there may be statements that help."""
    of_database, of_user = (answer.get(subject, {}).get("error", "") for subject in ("database", "user"))
    repeated = "user" if of_user == of_database else "database"
    is_repeated = bool(of_database) and of_user.startswith(of_database)
    return {subject: found for subject, found in answer.items() if not (is_repeated and subject == repeated)}


def _check_sending(awslambda: Any, stage: str) -> Iterator[Finding]:
    subject = "mails, from work"
    try:
        reasons = functions.invoke(awslambda, "work", stage, {"command": "check"})
    except ValueError as error:
        yield warning(subject, f"could not be tried: {error}")
        return
    if reason := reasons["single"]:
        yield problem(subject, f"SES does not take one for its simulator: {reason}{_advice_on_mail(reason)}")
    elif reason := reasons["bulk"]:
        yield warning(subject, f"they go one by one, as SES takes none in bulk: {reason}{_advice_on_mail(reason)}")
    else:
        yield ok(subject, "SES takes them for its simulator, single and in bulk")


def _advice_on_mail(reason: str) -> str:
    if "not authorized to perform" in reason:
        return (
            " — deploy again, which writes the policies; if it stays, a permissions boundary, a policy of the "
            "organization or of the identity in SES denies it"
        )
    return advice_on(reason)
