"""The CloudFormation templates: what a linter finds, and the promises of infra/README.md that no linter knows of."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cfnlint.api  # type: ignore[import-untyped]
import pytest
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]

import app
from chalicelib import telemetry
from chalicelib.backup import exports
from nightshift import triggers
from nightshift.deploy.functions import reporting
from nightshift.deploy.stage import CONCERNS

ROOT = Path(__file__).parent.parent.parent
INFRA = ROOT / "infra"
LOOP = "Fn::ForEach::"
# As a deployment gives them to the loops.
TASKS = reporting(triggers.read(ROOT))


def unrolled(template: dict[str, Any]) -> dict[str, Any]:
    """Return a template with its loops over resources unrolled, as CloudFormation's language extensions do."""
    found = {name: resource for name, resource in template["Resources"].items() if not name.startswith(LOOP)}
    for name, loop in template["Resources"].items():
        if name.startswith(LOOP):
            identifier, values, fragment = loop
            for value in TASKS if values == {"Ref": "Tasks"} else values:
                for key, resource in fragment.items():
                    letters = "".join(character for character in value if character.isalnum())
                    unrolled_key = key.replace(f"&{{{identifier}}}", letters)
                    found[unrolled_key] = put(resource, identifier, value, template.get("Mappings", {}))
    return {**template, "Resources": found}


def put(node: Any, identifier: str, value: str, mappings: Any) -> Any:
    """Return a part of a template with a value in place of a loop's identifier, and what is mapped to it."""
    if node == {"Ref": identifier}:
        return value
    if isinstance(node, dict):
        if isinstance(path := node.get("Fn::FindInMap"), list):
            name, first, second = (put(part, identifier, value, mappings) for part in path)
            return mappings[name][first][second]
        if isinstance(text := node.get("Fn::Sub"), str):
            return {"Fn::Sub": text.replace(f"${{{identifier}}}", value)}
        return {key: put(part, identifier, value, mappings) for key, part in node.items()}
    return [put(part, identifier, value, mappings) for part in node] if isinstance(node, list) else node


TEMPLATES = {path.stem: unrolled(cfn_yaml.load(str(path))) for path in sorted(INFRA.glob("*.yaml"))}

# Properties by which a template chooses a name; whatever has none of these is named by CloudFormation after the stack.
NAMES = {
    "AliasName",
    "AlarmName",
    "BucketName",
    "DashboardName",
    "DBInstanceIdentifier",
    "LogGroupName",
    "Name",
    "QueueName",
    "ReplicationGroupId",
    "TopicName",
}
# Types that CloudFormation does not tag.
UNTAGGED = {
    "AWS::CloudWatch::Dashboard",
    "AWS::EC2::Route",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::KMS::Alias",
    "AWS::S3::BucketPolicy",
    "AWS::SES::ConfigurationSetEventDestination",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}

every_template = pytest.mark.parametrize("name", TEMPLATES)


def resources(*types: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each resource of these types, or of any, with its name."""
    return [
        (name, resource)
        for template in TEMPLATES.values()
        for name, resource in template["Resources"].items()
        if not types or resource["Type"] in types
    ]


def the(name: str) -> dict[str, Any]:
    """Return the one resource of this name."""
    (found,) = (resource for known, resource in resources() if known == name)
    return found


def within(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a template, however deep."""
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from within(part)


def is_tls_only(statement: dict[str, Any], action: str) -> bool:
    expected = ("Deny", "*", action, {"Bool": {"aws:SecureTransport": "false"}})
    return tuple(statement.get(key) for key in ("Effect", "Principal", "Action", "Condition")) == expected


@every_template
def test_each_template_passes_cfn_lint(name: str) -> None:
    assert [str(match) for match in cfnlint.api.lint_file(INFRA / f"{name}.yaml")] == []


@every_template
def test_each_template_is_plain_cloudformation(name: str) -> None:
    template = TEMPLATES[name]
    # CloudFormation's own: it runs nobody's code.
    assert template.get("Transform", "AWS::LanguageExtensions") == "AWS::LanguageExtensions"
    types = {resource["Type"] for resource in template["Resources"].values()}
    assert not [type_ for type_ in types if type_.startswith(("AWS::Lambda", "AWS::CloudFormation", "Custom"))]


@every_template
def test_each_template_takes_the_stage_in_the_same_form(name: str) -> None:
    assert TEMPLATES[name]["Parameters"]["Stage"] == TEMPLATES["queues"]["Parameters"]["Stage"]


@every_template
def test_everything_that_goes_in_or_comes_out_is_described(name: str) -> None:
    template = TEMPLATES[name]
    for section in ("Parameters", "Outputs"):
        assert [key for key, value in template[section].items() if not value.get("Description")] == []


@every_template
def test_no_stack_holds_on_to_another(name: str) -> None:
    assert [key for key, output in TEMPLATES[name]["Outputs"].items() if "Export" in output] == []
    assert not [node for node in within(TEMPLATES[name]) if "Fn::ImportValue" in node]


def test_no_two_outputs_that_are_deployed_together_bear_the_same_name() -> None:
    # A database is either of one's own (secrets) or made here (data), so only one of the two tells its secret.
    names = [name for template in TEMPLATES.values() for name in template["Outputs"]]
    assert {name for name in names if names.count(name) > 1} == {"DatabaseSecretArn"}


@pytest.mark.parametrize(("name", "resource"), resources())
def test_no_name_lacks_the_stage(name: str, resource: dict[str, Any]) -> None:
    for key, value in resource["Properties"].items():
        if key in NAMES and resource["Type"] != "AWS::EC2::FlowLog":
            assert re.match(r"(alias/)?nightshift-\$\{Stage\}-", value["Fn::Sub"]), f"{name}.{key}"


@pytest.mark.parametrize(("name", "resource"), resources())
def test_everything_is_tagged_with_the_application_and_the_stage(name: str, resource: dict[str, Any]) -> None:
    tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"].get("Tags", [])}
    tags.pop("Name", None)
    assert tags == ({} if resource["Type"] in UNTAGGED else {"app": "nightshift", "stage": {"Ref": "Stage"}})


@pytest.mark.parametrize(("name", "queue"), resources("AWS::SQS::Queue"))
def test_each_queue_is_encrypted_and_answers_over_tls_alone(name: str, queue: dict[str, Any]) -> None:
    assert queue["Properties"]["SqsManagedSseEnabled"] is True
    policies = [policy for _, policy in resources("AWS::SQS::QueuePolicy")]
    (policy,) = (policy["Properties"] for policy in policies if policy["Properties"]["Queues"] == [{"Ref": name}])
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert is_tls_only(statement, "sqs:*")
    assert statement["Resource"] == {"Fn::GetAtt": [name, "Arn"]}


def test_a_message_stays_hidden_for_at_least_six_times_as_long_as_the_worker_may_take() -> None:
    template = TEMPLATES["queues"]
    timeout = template["Parameters"]["WorkerTimeoutSeconds"]
    assert timeout["Default"] == "300"
    assert set(timeout["AllowedValues"]) == set(template["Mappings"]["Visibility"])
    for seconds, visibility in template["Mappings"]["Visibility"].items():
        assert visibility["Seconds"] >= 6 * int(seconds)
    for name in ("WorkQueue", "PriorityQueue"):
        chosen = the(name)["Properties"]["VisibilityTimeout"]
        assert chosen == {"Fn::FindInMap": ["Visibility", {"Ref": "WorkerTimeoutSeconds"}, "Seconds"]}


def test_what_the_worker_cannot_bury_itself_goes_to_the_dead_letter_queue_and_stays_longer_there() -> None:
    dead_letters = the("DeadLetterQueue")["Properties"]
    for name in ("WorkQueue", "PriorityQueue"):
        queue = the(name)["Properties"]
        assert queue["RedrivePolicy"] == {
            "deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]},
            "maxReceiveCount": 10,
        }
        assert queue["MessageRetentionPeriod"] == 4 * 86400
    assert dead_letters["MessageRetentionPeriod"] == 14 * 86400


def test_the_dead_letter_queue_takes_from_these_queues_alone() -> None:
    allowed = the("DeadLetterQueue")["Properties"]["RedriveAllowPolicy"]
    assert allowed["redrivePermission"] == "byQueue"
    arns = {arn["Fn::Sub"].rpartition(":")[2] for arn in allowed["sourceQueueArns"]}
    assert arns == {the(name)["Properties"]["QueueName"]["Fn::Sub"] for name in ("WorkQueue", "PriorityQueue")}


def test_alarms_can_publish_to_the_encrypted_topic_and_nothing_can_without_tls() -> None:
    assert the("AlertsTopic")["Properties"]["KmsMasterKeyId"] == {"Ref": "AlertsKey"}
    topic = the("AlertsTopicPolicy")["Properties"]["PolicyDocument"]["Statement"]
    key = the("AlertsKey")["Properties"]["KeyPolicy"]["Statement"]
    cloudwatch = {"Service": "cloudwatch.amazonaws.com"}
    assert [statement["Action"] for statement in topic if statement["Principal"] == cloudwatch] == ["sns:Publish"]
    (actions,) = (statement["Action"] for statement in key if statement["Principal"] == cloudwatch)
    assert set(actions) == {"kms:Decrypt", "kms:GenerateDataKey*"}
    assert any(is_tls_only(statement, "sns:Publish") for statement in topic)


@pytest.mark.parametrize(("name", "key"), resources("AWS::KMS::Key"))
def test_each_key_is_rotated(name: str, key: dict[str, Any]) -> None:
    assert key["Properties"]["EnableKeyRotation"] is True


@pytest.mark.parametrize("name", ["Key", "Bucket", "BucketPolicy", "UnsubscribeSecret", "DatabaseSecret"])
def test_what_cannot_be_made_again_outlives_its_stack(name: str) -> None:
    assert the(name)["DeletionPolicy"] == the(name)["UpdateReplacePolicy"] == "Retain"


def test_the_bucket_is_private_versioned_and_encrypted_with_its_key() -> None:
    bucket = the("Bucket")["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": {"Fn::GetAtt": ["Key", "Arn"]},
    }


def test_the_bucket_answers_over_tls_alone() -> None:
    policy = the("BucketPolicy")["Properties"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert policy["Bucket"] == {"Ref": "Bucket"}
    assert is_tls_only(statement, "s3:*")
    assert statement["Resource"] == [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}]


def test_the_bucket_clears_up_but_never_expires_what_is_current_except_long_messages() -> None:
    rules = the("Bucket")["Properties"]["LifecycleConfiguration"]["Rules"]
    assert [rule["AbortIncompleteMultipartUpload"] for rule in rules if "AbortIncompleteMultipartUpload" in rule] == [
        {"DaysAfterInitiation": 1}
    ]
    assert [rule["NoncurrentVersionExpiration"] for rule in rules if "NoncurrentVersionExpiration" in rule] == [
        {"NoncurrentDays": {"Ref": "NoncurrentVersionDays"}}
    ]
    (expiring,) = (node for node in within(rules) if {"ExpirationInDays", "ExpirationDate"} & set(node))
    assert expiring["Prefix"] == "payloads/"


def test_a_long_message_is_kept_for_longer_than_what_refers_to_it_may_live() -> None:
    rules = the("Bucket")["Properties"]["LifecycleConfiguration"]["Rules"]
    (days,) = (rule["ExpirationInDays"] for rule in rules if rule.get("Prefix") == "payloads/")
    seconds = {name: queue["Properties"]["MessageRetentionPeriod"] for name, queue in resources("AWS::SQS::Queue")}
    # A worker's own dead letter is a new message, and begins its days anew.
    waiting = max(seconds["WorkQueue"], seconds["PriorityQueue"]) + seconds["DeadLetterQueue"]
    assert 86_400 * days > waiting


def test_the_bucket_is_locked_only_when_asked_for() -> None:
    bucket = the("Bucket")["Properties"]
    assert TEMPLATES["storage"]["Parameters"]["ObjectLockDays"]["Default"] == 0
    for key in ("ObjectLockEnabled", "ObjectLockConfiguration"):
        condition, _, otherwise = bucket[key]["Fn::If"]
        assert (condition, otherwise) == ("HasObjectLock", {"Ref": "AWS::NoValue"})


@pytest.mark.parametrize(("name", "secret"), resources("AWS::SecretsManager::Secret"))
def test_each_secret_is_generated_and_encrypted_with_our_key(name: str, secret: dict[str, Any]) -> None:
    assert secret["Properties"]["KmsKeyId"] == {"Ref": "KeyArn"}
    assert secret["Properties"]["GenerateSecretString"]["PasswordLength"] >= 40
    assert "SecretString" not in secret["Properties"]


def test_the_unsubscribe_secret_is_one_secret_and_not_several() -> None:
    generated = the("UnsubscribeSecret")["Properties"]["GenerateSecretString"]
    assert generated == {"PasswordLength": 64, "ExcludeCharacters": ","}


def test_outputs_tell_secrets_by_arn_as_settings_refer_to_them() -> None:
    # On AWS `Ref` is the ARN too, but not in every emulator; `Id` is in both.
    for template in TEMPLATES.values():
        for name, output in template["Outputs"].items():
            if name.endswith("SecretArn"):
                assert output["Value"]["Fn::GetAtt"][1] in {"Id", "MasterUserSecret.SecretArn"}


@pytest.mark.parametrize(("name", "alarm"), resources("AWS::CloudWatch::Alarm"))
def test_each_alarm_tells_someone_and_says_what_no_data_means(name: str, alarm: dict[str, Any]) -> None:
    properties = alarm["Properties"]
    assert properties["AlarmActions"] == [{"Ref": "AlertsTopicArn"}]
    assert properties.get("ActionsEnabled", True) is True
    # What is due every few minutes has failed when nothing is heard of it, as a backup has that has no age; a task that
    # died is dead until it has succeeded.
    without_data = dict.fromkeys(("Silentdispatch", "Silentwatch", "VerifiedBackupAlarm"), "breaching")
    without_data |= dict.fromkeys(dict(of_metric("run_dead")), "ignore")
    assert properties["TreatMissingData"] == without_data.get(name, "notBreaching")
    assert properties["AlarmDescription"]


def of_metric(metric: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each alarm on a metric, with its name."""
    alarms = resources("AWS::CloudWatch::Alarm")
    return [(name, alarm) for name, alarm in alarms if alarm["Properties"].get("MetricName") == metric]


@pytest.mark.parametrize(
    ("metric", "verb", "subject"), [("run_dead", "dead", "A run"), ("fires_missed", "missed", "A fire")]
)
def test_each_scheduled_function_has_its_own_alarm_on_what_was_given_up_or_missed(
    metric: str, verb: str, subject: str
) -> None:
    watched = []
    for _, alarm in of_metric(metric):
        (task,) = (dimension["Value"] for dimension in alarm["Properties"]["Dimensions"] if dimension["Name"] == "task")
        watched.append(task)
        assert alarm["Properties"]["AlarmName"] == {"Fn::Sub": f"nightshift-${{Stage}}-{verb}-{task}"}
        assert f"{subject} of {task} " in alarm["Properties"]["AlarmDescription"]["Fn::Sub"]
    assert watched == TASKS
    assert set(app.SCHEDULES) | {"mail_feedback"} == set(watched)


def test_one_fire_that_did_not_come_alarms_until_the_watch_has_looked_again() -> None:
    for _, alarm in of_metric("fires_missed"):
        rings = {"Statistic": "Sum", "EvaluationPeriods": 1, "Threshold": 0}
        assert alarm["Properties"].items() >= {**rings, "ComparisonOperator": "GreaterThanThreshold"}.items()
        # As often as the watch comes.
        assert alarm["Properties"]["Period"] == 300


def test_one_run_that_was_given_up_alarms_and_only_a_success_ends_it() -> None:
    for _, alarm in of_metric("run_dead"):
        rings = {"Statistic": "Sum", "EvaluationPeriods": 1, "Threshold": 0}
        assert alarm["Properties"].items() >= {**rings, "ComparisonOperator": "GreaterThanThreshold"}.items()
        # Without a word of recovery nobody could tell it from a month in which nothing was heard.
        assert alarm["Properties"]["OKActions"] == alarm["Properties"]["AlarmActions"]
        # Or a success soon after the death would be summed up with it, and nothing later would end the alarm.
        assert alarm["Properties"]["Period"] == 60


def test_messages_that_wait_too_long_alarm_on_either_queue_and_sooner_on_the_priority_queue() -> None:
    parameters = TEMPLATES["alarms"]["Parameters"]
    limits = {}
    for _, alarm in resources("AWS::CloudWatch::Alarm"):
        properties = alarm["Properties"]
        if properties.get("MetricName") == "ApproximateAgeOfOldestMessage":
            (queue,) = properties["Dimensions"]
            limits[queue["Value"]["Ref"]] = parameters[properties["Threshold"]["Ref"]]["Default"]
    assert set(limits) == {"WorkQueueName", "PriorityQueueName"}
    # Longer than a killed worker hides its messages, or each would alarm.
    default = TEMPLATES["queues"]["Parameters"]["WorkerTimeoutSeconds"]["Default"]
    assert limits["WorkQueueName"] > TEMPLATES["queues"]["Mappings"]["Visibility"][default]["Seconds"]
    assert limits["PriorityQueueName"] < limits["WorkQueueName"]


@pytest.mark.parametrize(("function", "minutes", "told"), [("dispatch", 10, "ten"), ("watch", 20, "twenty")])
def test_what_comes_every_few_minutes_alarms_after_some_without_a_success_heard_of_or_not(
    function: str, minutes: int, told: str
) -> None:
    alarm = the(f"Silent{function}")["Properties"]
    assert f"did not succeed once in {told} minutes" in alarm["AlarmDescription"]
    assert alarm["AlarmName"] == {"Fn::Sub": f"nightshift-${{Stage}}-{function}"}
    (watched,) = (metric for metric in alarm["Metrics"] if metric.get("ReturnData", True))
    assert watched["Expression"] == "FILL(invocations, 0) - FILL(errors, 0)"
    counted = {metric["Id"]: metric["MetricStat"] for metric in alarm["Metrics"] if "MetricStat" in metric}
    assert {id_: stat["Metric"]["MetricName"] for id_, stat in counted.items()} == {
        "invocations": "Invocations",
        "errors": "Errors",
    }
    for stat in counted.values():
        assert stat["Metric"]["Namespace"] == "AWS/Lambda"
        (dimension,) = stat["Metric"]["Dimensions"]
        # As nightshift.deploy.functions names it.
        assert dimension == {"Name": "FunctionName", "Value": {"Fn::Sub": f"nightshift-${{Stage}}-{function}"}}
        assert (stat["Stat"], stat["Period"] * alarm["EvaluationPeriods"]) == ("Sum", 60 * minutes)
    assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"]
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)


def test_a_parameter_without_a_default_is_an_output_of_an_earlier_stack() -> None:
    given = {"Stage", "S3PrefixListId", "Tasks"}
    for concern in CONCERNS:
        parameters = TEMPLATES[concern]["Parameters"]
        lacking = {name for name, parameter in parameters.items() if "Default" not in parameter}
        assert lacking <= given, concern
        given |= set(TEMPLATES[concern]["Outputs"])


def test_alarms_watch_metrics_that_nightshift_writes() -> None:
    watched = [
        alarm["Properties"]
        for _, alarm in resources("AWS::CloudWatch::Alarm")
        if not alarm["Properties"].get("Namespace", "AWS/").startswith("AWS/")
    ]
    assert watched
    for alarm in watched:
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
        assert alarm["Namespace"] == telemetry.NAMESPACE
        # As nightshift.deploy.configuration sets POWERTOOLS_SERVICE_NAME.
        assert dimensions.pop("service") == {"Fn::Sub": "nightshift-${Stage}"}
        (task,) = dimensions.values()
        assert task in TASKS
        assert alarm["MetricName"] in {"run_dead", "fires_missed", "backup_verified_age", "backup_drilled_age"}


@pytest.mark.parametrize(
    ("name", "metric", "parameter", "every"),
    [
        ("VerifiedBackupAlarm", "backup_verified_age", "VerifiedBackupHours", 24),
        ("BackupDrillAlarm", "backup_drilled_age", "BackupDrillHours", 7 * 24),
    ],
)
def test_a_backup_or_a_drill_that_is_missed_alarms_and_one_that_is_late_does_not(
    name: str, metric: str, parameter: str, every: int
) -> None:
    alarm = the(name)["Properties"]
    assert (alarm["MetricName"], alarm["Threshold"]) == (metric, {"Ref": parameter})
    assert every + 4 <= TEMPLATES["alarms"]["Parameters"][parameter]["Default"] < 2 * every
    # The watch tells it every five minutes, and one that it misses is no alarm.
    assert (alarm["Statistic"], alarm["Period"], alarm["EvaluationPeriods"]) == ("Minimum", 3600, 1)
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert {"Name": "task", "Value": "database_backup"} in alarm["Dimensions"]


def test_rds_alone_may_write_exports_and_nowhere_but_to_their_folder() -> None:
    role = the("ExportRole")["Properties"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": "export.rds.amazonaws.com"}, "sts:AssumeRole")
    (policy,) = role["Policies"]
    by_resource = {str(each["Resource"]): set(each["Action"]) for each in policy["PolicyDocument"]["Statement"]}
    assert by_resource == {
        str({"Ref": "BucketArn"}): {"s3:ListBucket", "s3:GetBucketLocation"},
        str({"Fn::Sub": f"${{BucketArn}}/{exports.PREFIX}/*"}): {"s3:PutObject*", "s3:GetObject*", "s3:DeleteObject*"},
    }


def test_the_dashboard_shows_every_alarm_or_its_metric_of_every_task_and_is_json() -> None:
    body = the("Dashboard")["Properties"]["DashboardBody"]["Fn::Sub"]
    # No text can name what a loop makes.
    of_tasks = dict(of_metric("run_dead") + of_metric("fires_missed"))
    alarms = {f"${{{name}.Arn}}" for name, _ in resources("AWS::CloudWatch::Alarm") if name not in of_tasks}
    widgets = json.loads(body)["widgets"]
    assert set(widgets[0]["properties"]["alarms"]) == alarms
    searched = [row[0]["expression"] for row in rows_of(widgets) if isinstance(row[0], dict)]
    for metric in ("run_dead", "fires_missed"):
        assert [text for text in searched if text.endswith(f"MetricName=\"{metric}\"', 'Sum', 3600)")]
    for widget in widgets:
        assert widget["x"] + widget["width"] <= 24


def rows_of(widgets: list[dict[str, Any]]) -> Iterator[list[Any]]:
    """Yield each metric that a dashboard's widgets show."""
    for widget in widgets:
        yield from widget["properties"].get("metrics", [])


def test_the_dashboard_shows_every_queue() -> None:
    body = the("Dashboard")["Properties"]["DashboardBody"]["Fn::Sub"]
    (waiting,) = (w for w in json.loads(body)["widgets"] if w["properties"]["title"] == "Messages waiting")
    shown = {metric[-1] for metric in waiting["properties"]["metrics"]}
    names = {output for output in TEMPLATES["queues"]["Outputs"] if output.endswith("QueueName")}
    assert shown == {f"${{{name}}}" for name in names}


def test_nobody_is_let_in_who_is_not_named() -> None:
    statements = [node for template in TEMPLATES.values() for node in within(template) if "Effect" in node]
    assert len(statements) >= 10
    for statement in statements:
        everybody = statement.get("Principal") in ("*", {"AWS": "*"}) or "NotPrincipal" in statement
        assert not (statement["Effect"] == "Allow" and everybody)


def test_no_security_group_is_open_to_the_world() -> None:
    for name, group in resources("AWS::EC2::SecurityGroup"):
        for rule in group["Properties"].get("SecurityGroupIngress", []):
            assert rule["SourceSecurityGroupId"] == {"Ref": "FunctionsSecurityGroup"}, name
            assert not {"CidrIp", "CidrIpv6"} & set(rule), name
    assert resources("AWS::EC2::SecurityGroupIngress") == []


def test_no_security_group_lets_everything_out_by_saying_nothing() -> None:
    for name, group in resources("AWS::EC2::SecurityGroup"):
        assert group["Properties"]["SecurityGroupEgress"], name


def test_the_functions_reach_the_database_the_cache_and_aws_and_the_internet_only_when_asked_for() -> None:
    (to_s3,) = the("FunctionsSecurityGroup")["Properties"]["SecurityGroupEgress"]
    assert (to_s3["FromPort"], to_s3["DestinationPrefixListId"]) == (443, {"Ref": "S3PrefixListId"})
    rules = dict(resources("AWS::EC2::SecurityGroupEgress"))
    assert rules.pop("FunctionsToInternet")["Condition"] == "HasNat"
    reached = {
        (rule["Properties"]["DestinationSecurityGroupId"]["Ref"], rule["Properties"]["FromPort"])
        for rule in rules.values()
        if rule["Properties"]["FromPort"] == rule["Properties"]["ToPort"]
    }
    assert reached == {
        ("DatabaseSecurityGroup", 3306),
        ("CacheSecurityGroup", 6379),
        ("EndpointsSecurityGroup", 443),
    }
    assert len(rules) == len(reached)


def test_subnets_give_no_public_addresses_and_lead_to_the_internet_only_when_asked_for() -> None:
    for _, subnet in resources("AWS::EC2::Subnet"):
        assert not subnet["Properties"].get("MapPublicIpOnLaunch", False)
    for _, resource in resources("AWS::EC2::Route", "AWS::EC2::NatGateway", "AWS::EC2::InternetGateway"):
        assert resource["Condition"] == "HasNat"
    assert TEMPLATES["network"]["Parameters"]["Nat"]["Default"] == "no"


def test_rdss_own_api_is_within_reach_only_when_asked_for() -> None:
    assert the("RdsEndpoint")["Condition"] == "HasRdsApi"
    assert TEMPLATES["network"]["Parameters"]["RdsApi"]["Default"] == "no"


def test_the_database_is_private_encrypted_backed_up_and_insists_on_tls() -> None:
    database = the("Database")
    properties = database["Properties"]
    assert database["DeletionPolicy"] == database["UpdateReplacePolicy"] == "Snapshot"
    assert properties["PubliclyAccessible"] is False
    assert properties["StorageEncrypted"] is True
    assert properties["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in properties
    assert properties["EnableIAMDatabaseAuthentication"] is True
    assert the("DatabaseParameters")["Properties"]["Parameters"]["require_secure_transport"] == "1"
    parameters = TEMPLATES["data"]["Parameters"]
    assert properties["DeletionProtection"] == {"Ref": "DatabaseDeletionProtection"}
    assert parameters["DatabaseDeletionProtection"]["Default"] == "true"
    assert properties["BackupRetentionPeriod"] == {"Ref": "DatabaseBackupDays"}
    assert parameters["DatabaseBackupDays"]["Default"] == 7


def test_the_cache_asks_for_a_password_and_speaks_tls_alone() -> None:
    cache = the("Cache")["Properties"]
    assert cache["TransitEncryptionEnabled"] is True
    assert cache["AtRestEncryptionEnabled"] is True
    assert cache["AuthToken"] == {"Fn::Sub": "{{resolve:secretsmanager:${CacheSecret}}}"}
    # ElastiCache takes only some punctuation in a password.
    assert the("CacheSecret")["Properties"]["GenerateSecretString"]["ExcludePunctuation"] is True


def test_the_page_tells_every_template_output_and_exception() -> None:
    page = (INFRA / "README.md").read_text(encoding="utf-8")
    for name, template in TEMPLATES.items():
        assert f"`{name}.yaml`" in page
        for output in template["Outputs"]:
            assert f"`{output}`" in page, output
        text = (INFRA / f"{name}.yaml").read_text(encoding="utf-8")
        for check, reason in re.findall(r"checkov:skip=([A-Z0-9_]+):?(.*)", text):
            assert f"`{check}`" in page, check
            assert reason, f"{check} in {name}.yaml is skipped without a reason"
        for check in re.findall(r"ignore_checks: \[(\w+)\]", text):
            assert f"`{check}`" in page, check
