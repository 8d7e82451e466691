"""The doctor's findings that an emulator cannot show: quotas, the sandbox, what SES does not say."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from moto import mock_aws

from nightshift.deploy import doctor
from nightshift.deploy.doctor import Finding, problem
from nightshift.project import configuration
from nightshift.project.configuration import is_placeholder, placeholders
from nightshift.project.stage import read_stage
from tests.deploy.parts import list_parts, remove_functions
from tests.docs.pages import ROOT

NOW = datetime(2026, 11, 25, tzinfo=UTC)
SENDER = "digest@mail.slow-harbour.example"
QUOTA = {"MaxSendRate": 1.0, "Max24HourSend": 200.0, "SentLast24Hours": 0.0}
WHO = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/you", "UserId": "you"}
LARGE = {"AccountLimit": {"ConcurrentExecutions": 1000}}


@pytest.fixture
def clients() -> Iterator[dict[str, Stubber]]:
    """Stubbed clients of everything that the doctor asks."""
    clients: dict[str, Any] = {name: boto3.client(name) for name in ("sts", "sesv2", "lambda", "rds", "sqs")}
    stubs = {name: Stubber(client) for name, client in clients.items()}
    for stub in stubs.values():
        stub.activate()
    yield stubs
    for stub in stubs.values():
        stub.assert_no_pending_responses()


@pytest.fixture
def stubs(clients: dict[str, Stubber]) -> dict[str, Stubber]:
    """The clients, of which one knows who asks, as before a deployment."""
    clients["sts"].add_response("get_caller_identity", WHO)
    return clients


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "app.py", tmp_path)
    settings = {
        "DATABASE_URL": "mysql+pymysql://db.internal/application",
        "DATABASE_CA": "/var/task/chalicelib/certificates/internal.pem",
        "MAIL_FROM": SENDER,
        "SITE_NAME": "Slow Harbour",
        "SITE_URL": "https://slow-harbour.example",
        "UNSUBSCRIBE_URL": "https://slow-harbour.example/unsubscribe",
    }
    change_stacks(tmp_path, secrets={"DatabaseUsername": "nightshift"})
    functions = {"work": {"lambda_timeout": 300, "reserved_concurrency": 5}}
    return write(tmp_path, settings, functions)


def write(folder: Path, settings: dict[str, str], functions: dict[str, Any]) -> Path:
    stage = {"environment_variables": settings, "lambda_functions": functions}
    (folder / ".chalice").mkdir(exist_ok=True)
    (folder / ".chalice" / "config.json").write_text(json.dumps({"stages": {"dev": stage}}))
    return folder


def change_stacks(project: Path, **stacks: dict[str, str]) -> None:
    stages = {"dev": {"queues": {}, "storage": {}, "secrets": {}, "mail": {}, **stacks}}
    (project / "infra").mkdir(exist_ok=True)
    (project / "infra" / "stages.json").write_text(json.dumps(stages))


def change(project: Path, **settings: str) -> None:
    stage = json.loads((project / ".chalice" / "config.json").read_text())["stages"]["dev"]
    write(project, stage["environment_variables"] | settings, stage["lambda_functions"])


def examine(stubs: dict[str, Stubber], project: Path, *, region: str | None = "eu-west-1") -> dict[str, Finding]:
    findings = doctor.examine_before(lambda name: stubs[name].client, project, "dev", region)
    return {finding.subject: finding for finding in findings}


def answer_mail(stubs: dict[str, Stubber], *, production: bool, verified: list[bool]) -> None:
    for is_verified in verified:
        stubs["sesv2"].add_response("get_email_identity", {"VerifiedForSendingStatus": is_verified})
    account = {"SendQuota": QUOTA, "ProductionAccessEnabled": production, "SendingEnabled": True}
    stubs["sesv2"].add_response("get_account", account)


def test_a_healthy_account_has_no_problem(stubs: dict[str, Stubber], project: Path) -> None:
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[True])
    assert {finding.level for finding in examine(stubs, project).values()} == {"ok"}


def test_problems_come_before_warnings_and_these_before_what_is_well(stubs: dict[str, Stubber], project: Path) -> None:
    stubs["lambda"].add_response("get_account_settings", {"AccountLimit": {"ConcurrentExecutions": 10}})
    answer_mail(stubs, production=False, verified=[False, False])
    found = examine(stubs, project)
    wrong = [subject for subject, finding in found.items() if finding.level != "ok"]
    # What others have to do takes them a day, so neither waits for what comes later.
    assert wrong == ["sender", "concurrency", "SES"]
    assert list(found)[: len(wrong)] == wrong


PLACEHOLDERS = {
    "DATABASE_URL": "mysql+pymysql://database.example.com/application",
    "MAIL_FROM": "digest@dev.example.com",
    "SITE_NAME": "Example",
    "SITE_URL": "https://example.org:8443/",
    "UNSUBSCRIBE_URL": "https://EXAMPLE.net/unsubscribe",
}


def test_placeholders_are_named_and_nobody_is_asked_about_them(stubs: dict[str, Stubber], project: Path) -> None:
    change(project, **PLACEHOLDERS)
    change_stacks(project, queues={"AlertsEmail": "you@example.com"})
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[])
    found = examine(stubs, project)
    named = [
        *(f"{name} in .chalice/config.json" for name in PLACEHOLDERS),
        "AlertsEmail of queues in infra/stages.json",
    ]
    assert found["placeholders"].text == f"still as the project has them: {', '.join(named)}; write your own"
    assert not {"sender", "database"} & set(found)


def test_what_the_deployment_writes_itself_is_no_placeholder(stubs: dict[str, Stubber], project: Path) -> None:
    change(project, DATABASE_URL=PLACEHOLDERS["DATABASE_URL"], WORK_QUEUE_URL="https://example.com/queue")
    change_stacks(project, network={}, data={}, secrets={"DatabaseUsername": "nightshift_app"})
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[True])
    assert examine(stubs, project)["placeholders"].level == "ok"


@pytest.mark.parametrize(
    "value",
    ["https://example.company.org", "https://my-example.com", "a@example.com.au", "Example Ltd", "counterexample"],
)
def test_what_only_looks_like_an_example_is_none(value: str) -> None:
    assert not is_placeholder(value)


def test_the_stages_of_this_project_have_only_placeholders_that_are_found() -> None:
    for stage in ("dev", "prod"):
        environment = configuration.read(ROOT)["stages"][stage]["environment_variables"]
        names = {name.partition(" ")[0] for name in placeholders(environment, read_stage(ROOT, stage).stacks)}
        assert names >= {"MAIL_FROM", "SITE_NAME", "SITE_URL", "UNSUBSCRIBE_URL"}


def test_of_parts_that_are_left_out_nothing_is_asked(stubs: dict[str, Stubber], project: Path) -> None:
    list_parts(project)
    remove_functions(project, "mail_feedback")
    settings = {"DATABASE_URL": "mysql+pymysql://db.internal/application", "DATABASE_CA": "/etc/internal.pem"}
    # As they are left in the file.
    write(project, settings | {"MAIL_FROM": "digest@dev.example.com", "BACKUP_RDS": "instance:shop"}, {})
    (project / "infra" / "stages.json").write_text(
        json.dumps({"dev": {"queues": {}, "storage": {}, "secrets": {"DatabaseUsername": "nightshift"}}})
    )
    stubs["lambda"].add_response("get_account_settings", LARGE)
    found = examine(stubs, project)
    assert {finding.level for finding in found.values()} == {"ok"}
    assert not {"sender", "SES", "BACKUP_RDS"} & found.keys()


def test_what_still_uses_a_part_that_is_left_out_is_named(stubs: dict[str, Stubber], project: Path) -> None:
    shutil.copytree(ROOT / "chalicelib" / "tasks", project / "chalicelib" / "tasks")
    handlers = project / "chalicelib" / "handlers"
    handlers.mkdir()
    (handlers / "send_email.py").write_text("from chalicelib import mail\n")
    (handlers / "resize_image.py").write_text("from chalicelib import mailbox\n")
    list_parts(project)
    stubs["lambda"].add_response("get_account_settings", LARGE)
    found = examine(stubs, project)
    users = "daily_digest, monthly_report, mail_feedback, send_email"
    assert found["part mail"] == problem(
        "part mail", f"PARTS in app.py leaves it out, and {users} use it: remove these, or list it"
    )
    assert "and database_backup, backup_drill use it" in found["part backup"].text
    remove_functions(project, "daily_digest", "monthly_report", "mail_feedback")
    stubs["sts"].add_response("get_caller_identity", WHO)
    stubs["lambda"].add_response("get_account_settings", LARGE)
    assert examine(stubs, project)["part mail"].level == "warning"


def test_a_database_without_a_user_is_a_problem(stubs: dict[str, Stubber], project: Path) -> None:
    change_stacks(project)
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[True])
    assert examine(stubs, project)["database"].text.startswith("there is no user to log in as: set DatabaseUsername")


def test_a_database_without_its_certificates_is_a_problem(stubs: dict[str, Stubber], project: Path) -> None:
    change(project, DATABASE_CA="")
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[True])
    assert examine(stubs, project)["database"].text.startswith("DATABASE_CA is not set, and db.internal is neither")


def test_a_stage_without_its_stacks_is_a_problem(stubs: dict[str, Stubber], project: Path) -> None:
    (project / "infra" / "stages.json").write_text("{}")
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[True])
    found = examine(stubs, project)
    assert found["stacks"].text.startswith("there is no stage 'dev' in infra/stages.json")
    assert "placeholders" not in found


def answer_invoke(stubs: dict[str, Stubber], answer: dict[str, Any]) -> None:
    payload = json.dumps(answer).encode()
    stubs["lambda"].add_response(
        "invoke", {"StatusCode": 200, "Payload": StreamingBody(BytesIO(payload), len(payload))}
    )


def examine_deployed(stubs: dict[str, Stubber], project: Path) -> dict[str, Finding]:
    findings = doctor.examine_after(lambda name: stubs[name].client, project, "dev")
    return {finding.subject: finding for finding in findings}


WELL = {"user": {"ok": True, "rights": "all"}}
DENIED = "AccessDenied: x is not authorized to perform: ses:SendBulkTemplatedEmail on resource: y"


@pytest.mark.parametrize(
    ("reasons", "level", "parts"),
    [
        ({"single": None, "bulk": None}, "ok", ["single and in bulk"]),
        ({"single": None, "bulk": DENIED}, "warning", ["they go one by one", "SendBulkTemplatedEmail", "deploy again"]),
        ({"single": "it timed out", "bulk": "too"}, "problem", ["it timed out", "an endpoint or NAT is missing"]),
    ],
)
def test_what_ses_does_not_take_from_the_worker_is_said_with_what_to_do(
    project: Path, clients: dict[str, Stubber], reasons: dict[str, Any], level: str, parts: list[str]
) -> None:
    urls = dict.fromkeys(("WORK_QUEUE_URL", "PRIORITY_QUEUE_URL"), "https://sqs.invalid/queue")
    write(project, {**urls}, {"work": {}, "work_priority": {}})
    answer_invoke(clients, WELL)
    clients["lambda"].add_response("get_function_configuration", {})
    answer_invoke(clients, reasons)
    for _ in urls:
        clients["sqs"].add_client_error("get_queue_attributes")
        clients["lambda"].add_client_error("list_event_source_mappings")
    found = examine_deployed(clients, project)["mails, from work"]
    assert found.level == level
    assert [part for part in parts if part not in found.text] == []


@pytest.mark.parametrize(
    ("of_database", "of_user", "told"),
    [
        ("can't connect (2003)", "can't connect (2003)", ["database"]),
        ("access denied (1045)", "access denied (1045): run CREATE USER …", ["user"]),
        (None, "rights are not enough: run GRANT …", ["user"]),
    ],
)
def test_what_is_wrong_with_the_database_is_said_once(
    project: Path, clients: dict[str, Stubber], of_database: str | None, of_user: str, told: list[str]
) -> None:
    database = {"ok": True} if of_database is None else {"ok": False, "error": of_database}
    answer_invoke(clients, {"database": database, "user": {"ok": False, "error": of_user}})
    clients["lambda"].add_client_error("get_function_configuration", "ResourceNotFoundException")
    found = examine_deployed(clients, project)
    problems = [subject for subject, finding in found.items() if finding.level == "problem"]
    assert problems == [*(f"{part}, from inside" for part in told), "functions"]


def test_a_deployment_that_stopped_for_the_database_has_nothing_else_to_mend(
    project: Path, clients: dict[str, Stubber]
) -> None:
    answer_invoke(clients, {"user": {"ok": False, "error": "Access denied (1045): run CREATE USER …"}})
    clients["lambda"].add_client_error("get_function_configuration", "ResourceNotFoundException")
    found = examine_deployed(clients, project)
    assert list(found) == ["user, from inside", "functions"]
    assert found["functions"].text == "no schedule or worker is deployed yet: nightshift deploy --stage dev"


def test_the_sandbox_is_a_warning_that_says_what_to_ask_for(stubs: dict[str, Stubber], project: Path) -> None:
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=False, verified=[True])
    found = examine(stubs, project)["SES"]
    assert (found.level, found.text.endswith("ask AWS for production access")) == ("warning", True)


def test_a_verified_domain_is_enough(stubs: dict[str, Stubber], project: Path) -> None:
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[False, True])
    assert examine(stubs, project)["sender"].level == "ok"


def test_an_account_too_small_for_the_reservations_is_a_problem(stubs: dict[str, Stubber], project: Path) -> None:
    stubs["lambda"].add_response("get_account_settings", {"AccountLimit": {"ConcurrentExecutions": 10}})
    answer_mail(stubs, production=True, verified=[True])
    found = examine(stubs, project)["concurrency"]
    assert found.level == "problem"
    assert "the account's limit of 10 does not let 5 be reserved" in found.text


def test_a_function_without_time_is_a_problem(stubs: dict[str, Stubber], project: Path) -> None:
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[True])
    stage = json.loads((project / ".chalice" / "config.json").read_text())["stages"]["dev"]
    write(project, stage["environment_variables"], {"work": {"lambda_timeout": 30}})
    assert examine(stubs, project)["time-outs"].text == "work has 30 s; below 60 s it can do nothing"


def test_wrong_settings_are_all_named_and_no_service_is_asked_about_them(
    stubs: dict[str, Stubber], project: Path
) -> None:
    change(project, MAIL_FROM="nobody", DIGEST_ZONE="Berlin")
    found = examine(stubs, project)["configuration"]
    assert found.level == "problem"
    assert "MAIL_FROM must be one plain e-mail address; DIGEST_ZONE must be an IANA time zone" in found.text


def test_a_ping_of_no_task_is_a_problem(stubs: dict[str, Stubber], project: Path) -> None:
    (project / "app.py").write_text('@app.schedule("@daily")\ndef nightly(event):\n    return 1\n')
    change(project, NIGHTY_PING="https://hc-ping.com/0d9c2a3e")
    assert examine(stubs, project)["configuration"].text == "NIGHTY_PING is of no task; there are nightly"


def test_a_ping_of_a_task_is_none(stubs: dict[str, Stubber], project: Path) -> None:
    (project / "app.py").write_text('@app.schedule("@daily")\ndef nightly(event):\n    return 1\n')
    stubs["lambda"].add_response("get_account_settings", LARGE)
    change(project, NIGHTLY_PING="https://hc-ping.com/0d9c2a3e")
    assert examine(stubs, project)["configuration"].level == "ok"


def test_another_region_than_the_one_that_was_deployed_to_is_a_problem(
    stubs: dict[str, Stubber], project: Path
) -> None:
    change(project, UNSUBSCRIBE_SECRETS="arn:aws:secretsmanager:us-east-1:123456789012:secret:nightshift-dev-u")
    found = examine(stubs, project, region="eu-west-1")["region"]
    assert found.text == "is eu-west-1, but dev was deployed to us-east-1: set AWS_DEFAULT_REGION to that"


def test_without_a_region_the_files_alone_are_checked(clients: dict[str, Stubber], project: Path) -> None:
    found = examine(clients, project, region=None)
    assert found["region"].level == "problem"
    assert found["placeholders"].level == "ok"
    assert not {"credentials", "sender", "concurrency"} & found.keys()


def test_without_credentials_the_files_are_checked_and_credentials_come_first(
    clients: dict[str, Stubber], project: Path
) -> None:
    clients["sts"].add_client_error("get_caller_identity", "ExpiredToken")
    change(project, SITE_NAME="Example")
    change_stacks(project)
    found = examine(clients, project)
    assert [subject for subject, each in found.items() if each.level == "problem"] == [
        "credentials",
        "placeholders",
        "database",
    ]


def test_next_step_is_the_first_problem(stubs: dict[str, Stubber], project: Path) -> None:
    stubs["lambda"].add_response("get_account_settings", {"AccountLimit": {"ConcurrentExecutions": 10}})
    answer_mail(stubs, production=True, verified=[False, False])
    findings = list(examine(stubs, project).values())
    assert doctor.next_step(findings, "dev") == (
        "Next: fix sender first, since the others may follow from it. Then run: nightshift doctor --stage dev"
    )
    assert doctor.next_step(findings[:1], "dev") == "Next: fix sender. Then run: nightshift doctor --stage dev"
    assert doctor.next_step(findings[2:], "dev") is None


def test_stage_without_functions_is_ready_to_be_deployed(stubs: dict[str, Stubber], project: Path) -> None:
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[True])
    stubs["lambda"].add_client_error("get_function_configuration", "ResourceNotFoundException")
    findings = doctor.examine(lambda name: stubs[name].client, project, "dev", "eu-west-1")
    assert findings[-1] == doctor.ok("functions", "none is deployed yet: nightshift deploy --stage dev")


@pytest.mark.parametrize(
    ("revision", "text"),
    [(None, "there are none yet"), ("0003", "are of revision 0003, and not of 0005")],
)
def test_tables_follow_the_rights_that_migrating_takes(
    project: Path, clients: dict[str, Stubber], revision: str | None, text: str
) -> None:
    database = {"ok": True, "revision": revision, "newest": "0005"}
    queue = {"ok": False, "error": "AccessDenied"}
    answer_invoke(clients, {"database": database, "user": {"ok": False, "error": "run GRANT …"}, "queue": queue})
    clients["lambda"].add_client_error("get_function_configuration", "ResourceNotFoundException")
    found = examine_deployed(clients, project)
    problems = [subject.partition(",")[0] for subject, each in found.items() if each.level == "problem"]
    assert problems == ["user", "tables", "queue", "functions"]
    assert found["tables, from inside"].text == f"{text}: nightshift deploy --stage dev, which migrates them"


def test_problem_of_the_sender_hides_none_of_the_deployed_stage(stubs: dict[str, Stubber], project: Path) -> None:
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[False, False])
    stubs["lambda"].add_response("get_function_configuration", {})
    answer_invoke(stubs, {"database": {"ok": False, "error": "can't connect (2003)"}})
    stubs["lambda"].add_client_error("get_function_configuration", "ResourceNotFoundException")
    findings = doctor.examine(lambda name: stubs[name].client, project, "dev", "eu-west-1")
    problems = [finding.subject for finding in findings if finding.level == "problem"]
    assert problems == ["sender", "database, from inside", "functions"]


@pytest.mark.parametrize(
    ("kind", "call", "not_found"),
    [
        ("instance", "describe_db_instances", "DBInstanceNotFound"),
        ("cluster", "describe_db_clusters", "DBClusterNotFoundFault"),
    ],
)
@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("ok", "RDS has the KIND shop"),
        ("problem", "there is no KIND shop in this region: set BACKUP_RDS to RDS's identifier of the database"),
        ("warning", "RDS does not tell of shop: An error occurred (AccessDenied) when calling"),
    ],
)
def test_a_database_that_rds_has_not_is_a_problem_and_one_it_hides_a_warning(
    stubs: dict[str, Stubber], project: Path, kind: str, call: str, not_found: str, level: str, told: str
) -> None:
    change(project, BACKUP_RDS=f"{kind}:shop", BACKUP_EXPORT_ROLE="arn:role", BACKUP_EXPORT_KEY="arn:key")
    asked = {f"DB{kind.capitalize()}Identifier": "shop"}
    if level == "ok":
        stubs["rds"].add_response(call, {}, asked)
    else:
        code = not_found if level == "problem" else "AccessDenied"
        stubs["rds"].add_client_error(call, code, expected_params=asked)
    stubs["lambda"].add_response("get_account_settings", LARGE)
    answer_mail(stubs, production=True, verified=[True])
    found = examine(stubs, project)["BACKUP_RDS"]
    assert found.level == level
    assert found.text.startswith(told.replace("KIND", kind))


TEMPLATE = """
Resources: {Topic: {Type: 'AWS::SNS::Topic'}}
Outputs: {AlertsTopicArn: {Value: !Ref Topic}}
"""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client


def test_alarms_that_reach_nobody_are_a_warning_until_a_subscription_is_confirmed(aws: Any) -> None:
    aws("cloudformation").create_stack(StackName="nightshift-dev-queues", TemplateBody=TEMPLATE)
    (topic,) = aws("sns").list_topics()["Topics"]
    for _ in range(2):
        found = doctor._check_alerts(aws, "dev")
        assert found.level == "warning"
        assert "set AlertsEmail of queues in infra/stages.json" in found.text
    aws("sns").subscribe(TopicArn=topic["TopicArn"], Protocol="email", Endpoint="you@example.com")
    assert doctor._check_alerts(aws, "dev") == doctor.ok("alerts", "alarms reach 1 confirmed subscription")


def test_a_subscription_that_waits_for_its_confirmation_is_a_warning_that_names_the_address() -> None:
    clients = {name: boto3.client(name) for name in ("cloudformation", "sns")}
    waiting = {"SubscriptionArn": "PendingConfirmation", "Endpoint": "you@example.com", "Protocol": "email"}
    gone = {"SubscriptionArn": "Deleted", "Endpoint": "me@example.com", "Protocol": "email"}
    outputs = [{"OutputKey": "AlertsTopicArn", "OutputValue": "arn:aws:sns:eu-west-1:123456789012:alerts"}]
    stack = {"StackName": "s", "CreationTime": NOW, "StackStatus": "CREATE_COMPLETE", "Outputs": outputs}
    with Stubber(clients["cloudformation"]) as cloudformation, Stubber(clients["sns"]) as sns:
        cloudformation.add_response("describe_stacks", {"Stacks": [stack]})
        sns.add_response("list_subscriptions_by_topic", {"Subscriptions": [gone, waiting]})
        found = doctor._check_alerts(clients.__getitem__, "dev")
    text = "alarms reach nobody: confirm by the link in AWS's mail to you@example.com"
    assert found == doctor.warning("alerts", text)


def test_a_topic_that_cannot_be_asked_is_a_warning(aws: Any) -> None:
    found = doctor._check_alerts(aws, "dev")
    assert (found.level, found.subject) == ("warning", "alerts")
