"""What a deployment writes for Chalice to read."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.core.config import Environment
from nightshift.project import configuration, triggers
from nightshift.project.configuration import Place
from nightshift.project.template import ROUTE_CONCURRENCY
from nightshift.project.triggers import functions_of
from tests.deploy.parts import list_parts

ROOT = Path(__file__).parent.parent.parent
DEV = Place(
    stage="dev", region="eu-west-1", account="123456789012", partition="aws", caller="arn:aws:iam::123456789012:user/me"
)
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
QUEUES = {
    "WorkQueueName": "nightshift-dev-work",
    "WorkQueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/nightshift-dev-work",
    "WorkQueueArn": "arn:aws:sqs:eu-west-1:123456789012:nightshift-dev-work",
    "PriorityQueueName": "nightshift-dev-priority",
    "PriorityQueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/nightshift-dev-priority",
    "PriorityQueueArn": "arn:aws:sqs:eu-west-1:123456789012:nightshift-dev-priority",
    "DeadLetterQueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/nightshift-dev-dead-letter",
    "DeadLetterQueueArn": "arn:aws:sqs:eu-west-1:123456789012:nightshift-dev-dead-letter",
    "FailedFiresQueueArn": "arn:aws:sqs:eu-west-1:123456789012:nightshift-dev-failed-fires",
    "BucketName": "nightshift-dev",
    "BucketArn": "arn:aws:s3:::nightshift-dev",
    "UnsubscribeSecretArn": f"{SECRET}unsubscribe",
    "MailFeedbackTopicName": "nightshift-dev-mail-feedback",
    "MailConfigurationSetName": "nightshift-dev-mail",
    "KeyArn": "arn:aws:kms:eu-west-1:123456789012:key/k",
}
OWN = {
    "DatabaseIdentifier": "nightshift-dev-database",
    "SubnetIds": "subnet-a,subnet-b",
    "SecurityGroupIds": "sg-f",
    "DatabaseHost": "x.eu-west-1.rds.amazonaws.com",
    "DatabasePort": "3306",
    "DatabaseName": "application",
    "DatabaseSecretArn": f"{SECRET}database",
    "DatabaseAdminSecretArn": f"{SECRET}admin",
    "CacheHost": "cache.example.com",
    "CachePort": "6379",
    "CacheSecretArn": f"{SECRET}cache",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's own configuration and policies, as they are before any deployment."""
    shutil.copytree(ROOT / ".chalice" / "policies", tmp_path / ".chalice" / "policies")
    shutil.copy(ROOT / ".chalice" / "config.json", tmp_path / ".chalice")
    shutil.copy(ROOT / "app.py", tmp_path)
    return tmp_path


def stage(project: Path) -> dict[str, Any]:
    written: dict[str, Any] = configuration.read(project)["stages"]["dev"]
    return written


def settings_in(variables: Mapping[str, str]) -> SimpleNamespace:
    environment = Environment(variables)
    kinds = configuration.settings_of(ROOT)
    environment.check(kinds)
    return SimpleNamespace(**{name: value for kind in kinds for name, value in vars(environment.read(kind)).items()})


def resources(project: Path, function: str) -> dict[str, Any]:
    policy = json.loads((project / ".chalice" / f"policy-dev-{function}.json").read_text())
    return {statement["Sid"]: statement["Resource"] for statement in policy["Statement"]}


def test_the_functions_find_every_setting(project: Path) -> None:
    configuration.write(project, DEV, QUEUES)
    settings = settings_in(stage(project)["environment_variables"])
    assert settings.work_queue_url == QUEUES["WorkQueueUrl"]
    assert settings.priority_queue_url == QUEUES["PriorityQueueUrl"]
    assert settings.bucket == QUEUES["BucketName"]
    assert settings.unsubscribe_secrets == QUEUES["UnsubscribeSecretArn"]


def test_the_stages_own_network_database_and_cache_are_taken(project: Path) -> None:
    configuration.write(project, DEV, QUEUES | OWN)
    written = stage(project)
    assert (written["subnet_ids"], written["security_group_ids"]) == (["subnet-a", "subnet-b"], ["sg-f"])
    settings = settings_in(written["environment_variables"])
    assert settings.database_url == "mysql+pymysql://x.eu-west-1.rds.amazonaws.com:3306/application"
    assert settings.database_credentials == f"{SECRET}database"
    assert settings.database_admin_credentials == f"{SECRET}admin"
    assert (settings.redis_url, settings.redis_password) == ("rediss://cache.example.com:6379", f"{SECRET}cache")


def test_each_function_has_a_policy_with_the_stages_own_arns(project: Path) -> None:
    configuration.write(project, DEV, QUEUES | OWN)
    assert stage(project)["lambda_functions"]["work"]["iam_policy_file"] == "policy-dev-work.json"
    work = resources(project, "work")
    assert work["TakeWork"] == QUEUES["WorkQueueArn"]
    assert resources(project, "work_priority")["TakeWork"] == QUEUES["PriorityQueueArn"]
    assert work["KeepPayloads"] == f"{QUEUES['BucketArn']}/payloads/*"
    assert work["ReadSecrets"] == [f"{SECRET}database", f"{SECRET}cache", f"{SECRET}unsubscribe"]
    assert work["SendMail"] == [
        "arn:aws:ses:eu-west-1:123456789012:identity/*",
        "arn:aws:ses:eu-west-1:123456789012:configuration-set/nightshift-dev-mail",
        "arn:aws:ses:eu-west-1:123456789012:template/*",
    ]
    assert work["SendMailInBulk"] == work["SendMail"]
    assert resources(project, "daily_digest")["WriteLogs"].endswith(":/aws/lambda/nightshift-dev-daily_digest:*")


def test_the_page_to_unsubscribe_is_limited_unless_the_project_says_otherwise(project: Path) -> None:
    configured = configuration.read(project)
    configured["stages"]["dev"]["environment_variables"]["UNSUBSCRIBE_ROUTE"] = "on"
    (project / ".chalice" / "config.json").write_text(json.dumps(configured))
    configuration.write(project, DEV, QUEUES)
    assert stage(project)["lambda_functions"]["api_handler"]["reserved_concurrency"] == ROUTE_CONCURRENCY
    configured = configuration.read(project)
    configured["stages"]["dev"]["lambda_functions"]["api_handler"]["reserved_concurrency"] = 3
    (project / ".chalice" / "config.json").write_text(json.dumps(configured))
    configuration.write(project, DEV, QUEUES)
    assert stage(project)["lambda_functions"]["api_handler"]["reserved_concurrency"] == 3


def test_only_operate_may_read_the_credentials_of_the_databases_administrator(project: Path) -> None:
    configuration.write(project, DEV, QUEUES | OWN)
    policies = (project / ".chalice").glob("policy-dev-*.json")
    assert [path.stem for path in policies if f"{SECRET}admin" in path.read_text()] == ["policy-dev-operate"]


def test_mail_may_be_sent_from_the_stages_own_address_alone(project: Path) -> None:
    configuration.write(project, DEV, QUEUES)
    policy = json.loads((project / ".chalice" / "policy-dev-work.json").read_text())
    (statement,) = (each for each in policy["Statement"] if "ses:SendBulkTemplatedEmail" in each["Action"])
    assert statement["Condition"] == {"StringEqualsIgnoreCase": {"ses:FromAddress": "digest@dev.example.com"}}


@pytest.mark.parametrize("where", ["function", "stage", "project"])
def test_only_a_function_with_subnets_may_make_network_interfaces(project: Path, where: str) -> None:
    configuration.write(project, DEV, QUEUES)
    assert not any("JoinNetwork" in resources(project, function) for function in ("work", "look"))
    whole = configuration.read(project)
    stage_ = whole["stages"]["dev"]
    place = {"function": stage_["lambda_functions"]["work"], "stage": stage_, "project": whole}[where]
    place |= {"subnet_ids": ["subnet-a"], "security_group_ids": ["sg-f"]}
    (project / ".chalice" / "config.json").write_text(json.dumps(whole))
    configuration.write(project, DEV, QUEUES)
    assert resources(project, "work")["JoinNetwork"] == "*"
    assert ("JoinNetwork" in resources(project, "look")) == (where != "function")


def test_a_function_without_secrets_may_read_none(project: Path) -> None:
    configuration.write(project, DEV, QUEUES)
    assert "ReadSecrets" not in resources(project, "daily_digest")


def test_a_task_may_read_the_secret_that_says_where_its_pings_go(project: Path) -> None:
    whole = configuration.read(project)
    pinged = {"DAILY_DIGEST_PING": f"{SECRET}ping", "EXTERNAL_SYNC_PING": "https://hc-ping.com/0d9c2a3e"}
    whole["stages"]["dev"]["environment_variables"] |= pinged
    (project / ".chalice" / "config.json").write_text(json.dumps(whole))
    configuration.write(project, DEV, QUEUES)
    assert resources(project, "daily_digest")["ReadSecrets"] == f"{SECRET}ping"
    # It gives up what nobody goes on with.
    assert resources(project, "watch")["ReadSecrets"] == f"{SECRET}ping"
    assert "ReadSecrets" not in resources(project, "dispatch")


@pytest.mark.parametrize("where", ["stage", "project"])
def test_every_function_may_tell_x_ray_where_that_is_switched_on_and_none_elsewhere(project: Path, where: str) -> None:
    configuration.write(project, DEV, QUEUES)
    written = list((project / ".chalice").glob("policy-dev-*.json"))
    assert "xray" not in "".join(path.read_text() for path in written)
    whole = configuration.read(project)
    (whole["stages"]["dev"] if where == "stage" else whole)["xray"] = True
    (project / ".chalice" / "config.json").write_text(json.dumps(whole))
    configuration.write(project, DEV, QUEUES)
    assert [path.name for path in written if "xray:PutTraceSegments" not in path.read_text()] == []


def test_without_mail_no_function_may_send_any_and_nothing_of_it_is_configured(project: Path) -> None:
    configuration.write(project, DEV, QUEUES)
    list_parts(project, "backup")
    of_mail = set(configuration.DERIVED_OF_PARTS["mail"].values())
    configuration.write(project, DEV, {name: value for name, value in QUEUES.items() if name not in of_mail})
    assert not configuration.DERIVED_OF_PARTS["mail"].keys() & stage(project)["environment_variables"].keys()
    for function in ("work", "work_priority", "operate"):
        assert {"SendMail", "SendMailInBulk", "ReadSendRate"}.isdisjoint(resources(project, function))
        assert "KeepBackups" in resources(project, function)
    assert "ses:" not in "".join(path.read_text() for path in (project / ".chalice").glob("policy-dev-*.json"))


def test_without_backups_no_function_but_a_task_of_its_own_may_reach_any(project: Path) -> None:
    list_parts(project, "mail")
    configured = configuration.read(project)
    variables = {"BACKUP_RDS": "instance:shop", "BACKUP_KEY": f"{SECRET}backup"}
    configured["stages"]["dev"]["environment_variables"] |= variables
    (project / ".chalice" / "config.json").write_text(json.dumps(configured))
    configuration.write(project, DEV, QUEUES | OWN | {"BackupExportRoleArn": ROLE})
    assert "BACKUP_EXPORT_ROLE" not in stage(project)["environment_variables"]
    for function in ("work", "work_priority", "operate", "look", "watch"):
        found = resources(project, function)
        assert {"KeepBackups", "ListBackups", "FindUnfinishedUploads", *OF_RDS, *OF_EXPORTS}.isdisjoint(found)
        assert f"{SECRET}backup" not in found.get("ReadSecrets", [])
    assert "SendMail" in resources(project, "work")


BACKING_UP = ("database_backup", "operate", "work", "work_priority")
ROLE = "arn:aws:iam::123456789012:role/nightshift-dev-exports"
OF_RDS = {"MakeSnapshots", "KeepSnapshots", "ListSnapshots", "RemoveExports"}
OF_EXPORTS = {"ExportSnapshots", "ListSnapshots", "FollowExports", "PassExportRole", "SeeExportKey", "GrantExportKey"}


def test_without_rds_nobody_may_do_anything_to_it(project: Path) -> None:
    configuration.write(project, DEV, QUEUES | {"BackupExportRoleArn": ROLE})
    for function in (*BACKING_UP, "watch"):
        assert (OF_RDS | OF_EXPORTS).isdisjoint(resources(project, function))
    assert "rds:" not in "".join(path.read_text() for path in (project / ".chalice").glob("policy-dev-*.json"))


def test_the_stages_own_database_is_left_to_rds_where_there_is_a_role_for_its_exports(project: Path) -> None:
    configuration.write(project, DEV, QUEUES | OWN)
    assert "BACKUP_RDS" not in stage(project)["environment_variables"]
    configuration.write(project, DEV, QUEUES | OWN | {"BackupExportRoleArn": ROLE})
    settings = settings_in(stage(project)["environment_variables"])
    assert settings.backup_rds == "instance:nightshift-dev-database"
    assert (settings.backup_export_role, settings.backup_export_key) == (ROLE, QUEUES["KeyArn"])


@pytest.mark.parametrize(
    ("database", "arn", "snapshot"),
    [("instance:shop", "db:shop", "snapshot"), ("cluster:shop", "cluster:shop", "cluster-snapshot")],
)
def test_with_rds_who_backs_up_may_have_it_make_snapshots_of_this_database_and_the_watch_may_have_them_exported(
    project: Path, database: str, arn: str, snapshot: str
) -> None:
    configuration_ = configuration.read(project)
    configuration_["stages"]["dev"]["environment_variables"]["BACKUP_RDS"] = database
    (project / ".chalice" / "config.json").write_text(json.dumps(configuration_))
    configuration.write(project, DEV, QUEUES | {"BackupExportRoleArn": ROLE})
    rds = "arn:aws:rds:eu-west-1:123456789012"
    for function in BACKING_UP:
        found = resources(project, function)
        assert set(found) >= OF_RDS
        assert found["MakeSnapshots"] == [f"{rds}:{arn}", f"{rds}:{snapshot}:nightshift-*"]
        assert found["KeepSnapshots"] == f"{rds}:{snapshot}:nightshift-*"
        assert found["ListSnapshots"] == [f"{rds}:{arn}", f"{rds}:{snapshot}:*"]
        assert found["RemoveExports"] == f"{QUEUES['BucketArn']}/exports/*"
        # Who makes and removes them need not export them, …
        assert (OF_EXPORTS - OF_RDS).isdisjoint(found)
    # … which the watch does, and that is all.
    found = resources(project, "watch")
    assert found.keys() & (OF_RDS | OF_EXPORTS) == OF_EXPORTS
    assert found["ExportSnapshots"] == f"{rds}:{snapshot}:nightshift-*"
    assert (found["PassExportRole"], found["GrantExportKey"]) == (ROLE, QUEUES["KeyArn"])


def test_no_policy_is_longer_than_iam_takes(project: Path) -> None:
    environment = dict.fromkeys(
        ("DATABASE_URL", "REDIS_URL", "BACKUP_KEY", "EXTERNAL_SYNC_TOKEN"), f"{SECRET}{'x' * 60}"
    )
    configuration_ = configuration.read(project)
    pinged = {f"{name.upper()}_PING": f"{SECRET}{'x' * 60}" for name in functions_of(triggers.read(project), "task")}
    environment |= pinged | {"BACKUP_RDS": f"cluster:{'x' * 60}"}
    configuration_["stages"]["dev"]["environment_variables"] |= environment
    (project / ".chalice" / "config.json").write_text(json.dumps(configuration_))
    configuration.write(project, DEV, QUEUES | {"BackupExportRoleArn": ROLE})
    # Of a role's own policies together, white space not counted.
    lengths = [len("".join(path.read_text().split())) for path in (project / ".chalice").glob("policy-dev-*.json")]
    assert max(lengths) < 10_240


def test_writing_the_same_again_touches_no_file(project: Path) -> None:
    configuration.write(project, DEV, QUEUES | OWN)
    before = {path: path.stat().st_mtime_ns for path in (project / ".chalice").glob("*.json")}
    configuration.write(project, DEV, QUEUES | OWN)
    assert {path: path.stat().st_mtime_ns for path in (project / ".chalice").glob("*.json")} == before


def test_other_stages_are_left_as_they_are(project: Path) -> None:
    before = configuration.read(project)["stages"]["prod"]
    configuration.write(project, DEV, QUEUES)
    assert configuration.read(project)["stages"]["prod"] == before


def test_no_secret_is_written(project: Path) -> None:
    configuration.write(project, DEV, QUEUES | OWN)
    text = "".join(path.read_text() for path in (project / ".chalice").glob("*.json"))
    assert "password" not in text.replace("REDIS_PASSWORD", "").lower()


def test_a_project_without_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        configuration.read(tmp_path)
