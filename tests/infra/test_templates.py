"""The CloudFormation templates: the promises of infra/README.md that no linter knows of."""

import re
from typing import Any

import pytest

from chalicelib.backup.rds import EXPORT_PREFIX
from nightshift.project.stage import CONCERNS
from tests.infra.templates import GIVEN, INFRA, TEMPLATES, resources, the, within

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
    "AWS::IAM::ManagedPolicy",
    "AWS::KMS::Alias",
    "AWS::Logs::QueryDefinition",
    "AWS::S3::BucketPolicy",
    "AWS::SES::ConfigurationSetEventDestination",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}

every_template = pytest.mark.parametrize("name", TEMPLATES)


def is_tls_only(statement: dict[str, Any], action: str) -> bool:
    expected = ("Deny", "*", action, {"Bool": {"aws:SecureTransport": "false"}})
    return tuple(statement.get(key) for key in ("Effect", "Principal", "Action", "Condition")) == expected


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
        assert [key for key, value in template.get(section, {}).items() if not value.get("Description")] == []


@every_template
def test_no_stack_holds_on_to_another(name: str) -> None:
    assert [key for key, output in TEMPLATES[name].get("Outputs", {}).items() if "Export" in output] == []
    assert not [node for node in within(TEMPLATES[name]) if "Fn::ImportValue" in node]


def test_no_two_outputs_that_are_deployed_together_bear_the_same_name() -> None:
    names = [name for template in TEMPLATES.values() for name in template.get("Outputs", {})]
    assert [name for name in names if names.count(name) > 1] == []


@pytest.mark.parametrize(("name", "resource"), resources())
def test_no_name_lacks_the_stage(name: str, resource: dict[str, Any]) -> None:
    for key, value in resource["Properties"].items():
        if key in NAMES and resource["Type"] != "AWS::EC2::FlowLog":
            assert re.match(r"(alias/)?nightshift-\$\{Stage\}[-/]", value["Fn::Sub"]), f"{name}.{key}"


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
        assert queue["MessageRetentionPeriod"] == 14 * 86400
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
def test_what_cannot_be_made_again_outlives_its_stack_but_not_a_creation_that_fails(name: str) -> None:
    # Or the next deployment would find the name taken.
    assert the(name)["DeletionPolicy"] == "RetainExceptOnCreate"
    assert the(name)["UpdateReplacePolicy"] == "Retain"


def test_nothing_else_stays_behind_when_its_creation_fails() -> None:
    assert {resource.get("DeletionPolicy", "Delete") for _, resource in resources()} == {
        "Delete",
        "RetainExceptOnCreate",
        "Snapshot",
    }


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
        for name, output in template.get("Outputs", {}).items():
            if name.endswith("SecretArn"):
                assert output["Value"]["Fn::GetAtt"][1] in {"Id", "MasterUserSecret.SecretArn"}


def test_a_parameter_without_a_default_is_an_output_of_an_earlier_stack() -> None:
    given = {"Stage", "S3PrefixListId", *GIVEN}
    for concern in CONCERNS:
        parameters = TEMPLATES[concern]["Parameters"]
        lacking = {name for name, parameter in parameters.items() if "Default" not in parameter}
        assert lacking <= given, concern
        given |= set(TEMPLATES[concern].get("Outputs", {}))


def test_rds_alone_may_write_exports_and_nowhere_but_to_their_folder() -> None:
    role = the("ExportRole")["Properties"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": "export.rds.amazonaws.com"}, "sts:AssumeRole")
    (policy,) = role["Policies"]
    by_resource = {str(each["Resource"]): set(each["Action"]) for each in policy["PolicyDocument"]["Statement"]}
    assert by_resource == {
        str({"Ref": "BucketArn"}): {"s3:ListBucket", "s3:GetBucketLocation"},
        str({"Fn::Sub": f"${{BucketArn}}/{EXPORT_PREFIX}/*"}): {"s3:PutObject*", "s3:GetObject*", "s3:DeleteObject*"},
    }


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
    assert the("LambdaEndpoint")["Condition"] == "HasLambdaApi"
    assert TEMPLATES["network"]["Parameters"]["LambdaApi"]["Default"] == "no"


def test_the_database_is_private_encrypted_backed_up_and_insists_on_tls() -> None:
    database = the("Database")
    properties = database["Properties"]
    assert database["DeletionPolicy"] == database["UpdateReplacePolicy"] == "Snapshot"
    assert properties["PubliclyAccessible"] is False
    assert properties["StorageEncrypted"] is True
    assert properties["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in properties
    assert properties["EnableIAMDatabaseAuthentication"] is True
    configured = the("DatabaseParameters")["Properties"]["Parameters"]
    # The second for drills, by a user who is no administrator.
    assert configured == {"require_secure_transport": "1", "log_bin_trust_function_creators": "1"}
    parameters = TEMPLATES["data"]["Parameters"]
    assert properties["DeletionProtection"] == {"Ref": "DatabaseDeletionProtection"}
    assert parameters["DatabaseDeletionProtection"]["Default"] == "true"
    assert properties["BackupRetentionPeriod"] == {"Ref": "DatabaseBackupDays"}
    assert properties["MaxAllocatedStorage"] == {"Ref": "DatabaseMaxStorageGiB"}
    assert parameters["DatabaseMaxStorageGiB"]["Default"] >= 1.1 * parameters["DatabaseStorageGiB"]["Default"]
    assert parameters["DatabaseBackupDays"]["Default"] == 7


def test_the_protected_database_is_made_last_so_that_nothing_else_can_fail_after_it() -> None:
    # What it refers to is made before it.
    references = [node for node in within(the("Database")) if "Ref" in node or "Fn::GetAtt" in node]
    before = {str(node.get("Ref", node.get("Fn::GetAtt"))) for node in references}
    assert {"Cache", "DatabaseSubnets", "DatabaseParameters"} <= before
    assert set(TEMPLATES["data"]["Resources"]) - before - {"CacheSubnets", "CacheSecret"} == {"Database"}
    of_the_cache = {node["Ref"] for node in within(the("Cache")) if "Ref" in node}
    assert "CacheSubnets" in of_the_cache
    assert "CacheSecret" in str(the("Cache"))


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
        for output in template.get("Outputs", {}):
            assert f"`{output}`" in page, output
        text = (INFRA / f"{name}.yaml").read_text(encoding="utf-8")
        for check, reason in re.findall(r"checkov:skip=([A-Z0-9_]+):?(.*)", text):
            assert f"`{check}`" in page, check
            assert reason, f"{check} in {name}.yaml is skipped without a reason"
        for check in re.findall(r"ignore_checks: \[(\w+)\]", text):
            assert f"`{check}`" in page, check
