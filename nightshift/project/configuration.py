"""What `chalice deploy` reads: a stage's outputs written into `.chalice/config.json`, and its policies beside it."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chalicelib.backup.rds import EXPORT_PREFIX, SNAPSHOT_PREFIX
from chalicelib.core import part
from chalicelib.core.config import PING, is_reference
from chalicelib.runs.task import find_task
from nightshift.project import policies, triggers
from nightshift.project.template import ROUTE_CONCURRENCY, merge_file, merge_template
from nightshift.project.triggers import ROUTES, name_of, reporting

# Read by the functions, and known only once the stacks exist.
DERIVED = {
    "WORK_QUEUE_NAME": "WorkQueueName",
    "WORK_QUEUE_URL": "WorkQueueUrl",
    "PRIORITY_QUEUE_NAME": "PriorityQueueName",
    "PRIORITY_QUEUE_URL": "PriorityQueueUrl",
    "DEAD_LETTER_QUEUE_URL": "DeadLetterQueueUrl",
    "BUCKET": "BucketName",
}
# The same, of a part.
DERIVED_OF_PARTS = {
    "mail": {
        "MAIL_FEEDBACK_TOPIC_NAME": "MailFeedbackTopicName",
        "MAIL_CONFIGURATION_SET": "MailConfigurationSetName",
        "UNSUBSCRIBE_SECRETS": "UnsubscribeSecretArn",
    }
}
# Of RFC 2606: nobody's. At the beginning of a host, of one of its parts, or of what an address has behind its @.
EXAMPLE = re.compile(r"(?:^|[@/.])example\.(?:com|net|org)(?![\w.-])", re.IGNORECASE)
NAME = "Example"
# What the page to unsubscribe reports its attempts as.
UNSUBSCRIBE = "unsubscribe"
# Chalice's own.
DEFAULT_TIMEOUT_SECONDS = 60
# An invocation that has less left at its end could not hand its work on: that happens at ten, and a job is stopped at
# five.
LEAST_SECONDS_LEFT = 3


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a stage lives."""

    stage: str
    region: str
    account: str
    partition: str
    # Who asks: the ARN of a user or a role.
    caller: str


def read(project: Path) -> dict[str, Any]:
    """Return `.chalice/config.json`. Raises ValueError where it is missing or no JSON."""
    path = project / ".chalice" / "config.json"
    try:
        configuration: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return configuration


def derived(parts: Collection[str]) -> dict[str, str]:
    """Return by variable the output that a deployment with these parts sets it to."""
    return {**DERIVED, **{name: output for part in parts for name, output in DERIVED_OF_PARTS.get(part, {}).items()}}


def has_route(stage: Mapping[str, Any]) -> bool:
    """Return whether a stage of `.chalice/config.json` has the page."""
    return bool(stage.get("environment_variables", {}).get("UNSUBSCRIBE_ROUTE") == "on")


def settings_of(project: Path) -> list[type]:
    """Return the classes of settings that a project's engine, parts and tasks have."""
    listed = [import_module(f"chalicelib.{name}").PART for name in triggers.parts(project)]
    names = triggers.functions_of(triggers.read(project), "task")
    tasks = [find_task(name) for name in names if find_spec(f"chalicelib.tasks.{name}")]
    return [*part.settings_of(listed), *(task.settings for task in tasks if task.settings is not None)]


def write(project: Path, place: Place, outputs: Mapping[str, str]) -> list[str]:
    """Put the outputs where `chalice deploy` finds them, and return the files of `.chalice` that changed."""
    configuration = read(project)
    stage = configuration["stages"][place.stage]
    environment = stage.setdefault("environment_variables", {})
    parts = triggers.parts(project)
    for variable in derived(DERIVED_OF_PARTS).keys() - derived(parts).keys():
        environment.pop(variable, None)
    environment |= {variable: outputs[name] for variable, name in derived(parts).items()}
    environment["POWERTOOLS_SERVICE_NAME"] = f"nightshift-{place.stage}"
    if "DatabaseHost" in outputs:
        address = f"{outputs['DatabaseHost']}:{outputs['DatabasePort']}/{outputs['DatabaseName']}"
        environment["DATABASE_URL"] = f"mysql+pymysql://{address}"
    if "DatabaseSecretArn" in outputs:
        environment["DATABASE_CREDENTIALS"] = outputs["DatabaseSecretArn"]
    if "DatabaseAdminSecretArn" in outputs:
        environment["DATABASE_ADMIN_CREDENTIALS"] = outputs["DatabaseAdminSecretArn"]
    if "CacheHost" in outputs:
        environment["REDIS_URL"] = f"rediss://{outputs['CacheHost']}:{outputs['CachePort']}"
        environment["REDIS_PASSWORD"] = outputs["CacheSecretArn"]
    if "backup" in parts and "BackupExportRoleArn" in outputs:
        environment["BACKUP_EXPORT_ROLE"] = outputs["BackupExportRoleArn"]
        environment["BACKUP_EXPORT_KEY"] = outputs["KeyArn"]
        if "DatabaseIdentifier" in outputs:
            environment["BACKUP_RDS"] = f"instance:{outputs['DatabaseIdentifier']}"
    if "SubnetIds" in outputs:
        stage["subnet_ids"] = outputs["SubnetIds"].split(",")
        stage["security_group_ids"] = outputs["SecurityGroupIds"].split(",")
    # X-Ray knows no resources.
    traced = ["*"] if stage.get("xray", configuration.get("xray")) else []
    known = triggers.read(project)
    tasks = [_function_arn(place, name) for name in triggers.functions_of(known, "task")]
    values = {**_values(place, environment, outputs, parts), "TraceArns": traced, "TaskFunctionArns": tasks}
    documents: dict[str, dict[str, Any]] = {}
    for template in sorted((project / ".chalice" / "policies").glob("*.json")):
        if template.stem == ROUTES and not has_route(stage):
            continue
        function = stage["lambda_functions"].setdefault(template.stem, {})
        own = {
            "FunctionName": name_of(template.stem, place.stage),
            # Lambda makes and deletes the interfaces of all its functions in a subnet by names of its own.
            "NetworkArns": ["*"] if (configuration | stage | function).get("subnet_ids") else [],
        }
        name = f"policy-{place.stage}-{template.stem}.json"
        documents[name] = policies.render(template, values | own, parts=parts)
        function["iam_policy_file"] = name
        if template.stem == ROUTES:
            # Strangers decide how often it is called.
            function.setdefault("reserved_concurrency", ROUTE_CONCURRENCY)
    has_routes = has_route(stage)
    documents[merge_file(place.stage)] = merge_template(known, outputs, place.stage, has_routes=has_routes)
    documents["config.json"] = configuration
    return [name for name, document in documents.items() if _save(project / ".chalice" / name, document)]


def _function_arn(place: Place, function: str) -> str:
    return f"arn:{place.partition}:lambda:{place.region}:{place.account}:function:{name_of(function, place.stage)}"


def _values(
    place: Place, environment: Mapping[str, str], outputs: Mapping[str, str], parts: Collection[str]
) -> policies.Values:
    def references(*variables: str) -> list[str]:
        return [environment[name] for name in variables if is_reference(environment.get(name, ""))]

    return {
        **outputs,
        "Stage": place.stage,
        "Region": place.region,
        "Account": place.account,
        "Partition": place.partition,
        "DatabaseSecretArns": references("DATABASE_URL", "DATABASE_CREDENTIALS"),
        "DatabaseAdminSecretArns": references("DATABASE_ADMIN_CREDENTIALS"),
        "CacheSecretArns": references("REDIS_URL", "REDIS_PASSWORD"),
        "SyncSecretArns": references("EXTERNAL_SYNC_TOKEN"),
        "BackupSecretArns": references("BACKUP_KEY") if "backup" in parts else [],
        "ApplicationJobsSecretArns": references("APP_JOBS_SECRETS"),
        "PingSecretArns": references(*(name for name in environment if name.endswith(PING))),
        "SecretsKeyArns": [outputs["KeyArn"]] if "KeyArn" in outputs else [],
        **_mails(place, environment, outputs, is_sent="mail" in parts),
        **_snapshots(place, environment if "backup" in parts else {}, outputs),
    }


def _mails(
    place: Place, environment: Mapping[str, str], outputs: Mapping[str, str], *, is_sent: bool
) -> policies.Values:
    """Return what policies name where mails are sent, and empty lists elsewhere."""
    if not is_sent:
        return {"MailFrom": "", "MailArns": [], "UnsubscribeSecretArn": []}
    ses = f"arn:{place.partition}:ses:{place.region}:{place.account}"
    # SES asks about the sender's identity or its domain's, in the sandbox about each recipient's too, and about the
    # configuration set that a mail names.
    arns = [f"{ses}:identity/*", f"{ses}:configuration-set/{environment['MAIL_CONFIGURATION_SET']}"]
    # IAM asks after a template in a bulk call; ours comes with the call, and has no name.
    arns.append(f"{ses}:template/*")
    return {
        "MailFrom": environment.get("MAIL_FROM", ""),
        "MailArns": arns,
        "UnsubscribeSecretArn": outputs["UnsubscribeSecretArn"],
    }


def _snapshots(place: Place, environment: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what policies name where RDS is to make snapshots, and empty lists elsewhere."""
    kind, _, database = environment.get("BACKUP_RDS", "").partition(":")
    what, snapshot = ("cluster", "cluster-snapshot") if kind == "cluster" else ("db", "snapshot")
    arn = f"arn:{place.partition}:rds:{place.region}:{place.account}"
    values = {
        "RdsDatabaseArns": [f"{arn}:{what}:{database}"],
        "RdsSnapshotArns": [f"{arn}:{snapshot}:{SNAPSHOT_PREFIX}*"],
        # A list is asked for without any name.
        "RdsListedArns": [f"{arn}:{snapshot}:*"],
        # An export is asked after by its own name, and IAM has none for it.
        "RdsExportArns": ["*"],
        "ExportRoleArns": [role] if (role := environment.get("BACKUP_EXPORT_ROLE")) else [],
        "ExportKeyArns": [key] if (key := environment.get("BACKUP_EXPORT_KEY")) else [],
        "ExportedArns": [f"{outputs['BucketArn']}/{EXPORT_PREFIX}/*"],
    }
    return {name: found if database else [] for name, found in values.items()}


def _save(path: Path, document: dict[str, Any]) -> bool:
    text = json.dumps(document, indent=2) + "\n"
    is_other = not path.exists() or path.read_text(encoding="utf-8") != text
    if is_other:
        path.write_text(text, encoding="utf-8")
    return is_other


def stack_parameters(project: Path, stage: str) -> dict[str, str]:
    """Return the parameters that follow from app.py and `.chalice/config.json`; lists have commas.

    Raises ValueError where either cannot be read.
    """
    known, configured, parts = triggers.read(project), read(project), triggers.parts(project)
    tasks = triggers.functions_of(known, "task")
    backs_up = "backup" in parts and "database_backup" in tasks
    every, is_route = [trigger.function for trigger in known], has_route(configured["stages"][stage])
    lists = {
        "Tasks": tasks,
        "Reporting": [*reporting(known), *([UNSUBSCRIBE] if is_route else [])],
        "Functions": every,
        "FunctionNames": [name_of(function, stage) for function in [*every, *([ROUTES] if is_route else [])]],
        "Timeouts": [
            f"{function}-{_timeout_of(function, stage, configured) - LEAST_SECONDS_LEFT}" for function in every
        ],
    }
    switches = {
        "UnsubscribeRoute": is_route,
        "Mails": "mail" in parts,
        "Backups": backs_up,
        "Drills": backs_up and "backup_drill" in tasks,
    }
    return {name: ",".join(values) for name, values in lists.items()} | {
        name: "on" if is_on else "off" for name, is_on in switches.items()
    }


def _timeout_of(function: str, stage: str, configured: Mapping[str, Any]) -> int:
    of_stage = configured["stages"][stage]
    of_function = of_stage.get("lambda_functions", {}).get(function, {})
    # As Chalice looks for it: the nearest counts.
    said = (place["lambda_timeout"] for place in (of_function, of_stage, configured) if "lambda_timeout" in place)
    return int(next(said, DEFAULT_TIMEOUT_SECONDS))


def is_placeholder(value: str) -> bool:
    """Return whether a value is one that nobody has chosen."""
    return value == NAME or EXAMPLE.search(value) is not None


def placeholders(environment: Mapping[str, str], stacks: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield what is a placeholder, of the settings that a deployment does not write itself, and of the stacks."""
    written = {*derived(DERIVED_OF_PARTS), *(["DATABASE_URL"] if "data" in stacks else [])}
    for name, value in environment.items():
        if name not in written and is_placeholder(value):
            yield f"{name} in .chalice/config.json"
    for concern, parameters in stacks.items():
        for name, value in parameters.items():
            if is_placeholder(value):
                yield f"{name} of {concern} in infra/stages.json"
