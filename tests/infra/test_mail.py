"""Mail feedback: SES tells of what comes back, and nobody else can."""

from typing import Any

from tests.infra.templates import TEMPLATES, the
from tests.infra.test_templates import is_tls_only

SES = {"Service": "ses.amazonaws.com"}


def statements(name: str, policy: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = the(name)["Properties"][policy]["Statement"]
    return found


def test_ses_tells_of_bounces_and_complaints_and_of_nothing_else() -> None:
    told = the("MailFeedbackDestination")["Properties"]
    assert told["ConfigurationSetName"] == {"Ref": "MailConfigurationSet"}
    destination = told["EventDestination"]
    assert set(destination["MatchingEventTypes"]) == {"bounce", "complaint"}
    assert destination["Enabled"] is True
    assert destination["SnsDestination"] == {"TopicARN": {"Ref": "MailFeedbackTopic"}}


def test_ses_may_publish_before_it_tries_to() -> None:
    assert the("MailFeedbackDestination")["DependsOn"] == "MailFeedbackTopicPolicy"
    assert the("MailFeedbackTopicPolicy")["Properties"]["Topics"] == [{"Ref": "MailFeedbackTopic"}]


def test_the_topic_takes_from_ses_of_this_account_alone_and_over_tls() -> None:
    tls, allowed = statements("MailFeedbackTopicPolicy", "PolicyDocument")
    assert is_tls_only(tls, "sns:Publish")
    assert allowed == {
        "Sid": "SesOfThisAccount",
        "Effect": "Allow",
        "Principal": SES,
        "Action": "sns:Publish",
        "Resource": {"Ref": "MailFeedbackTopic"},
        "Condition": {
            "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}},
            "ArnLike": {
                "aws:SourceArn": {"Fn::Sub": "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:*"},
            },
        },
    }


def test_readers_addresses_are_encrypted_on_the_topic_with_a_key_that_ses_may_use() -> None:
    assert the("MailFeedbackTopic")["Properties"]["KmsMasterKeyId"] == {"Ref": "MailFeedbackKey"}
    (actions,) = (s["Action"] for s in statements("MailFeedbackKey", "KeyPolicy") if s["Principal"] == SES)
    assert set(actions) == {"kms:Decrypt", "kms:GenerateDataKey*"}


def test_what_chalice_and_the_settings_need_comes_out() -> None:
    outputs = {name: output["Value"] for name, output in TEMPLATES["mail"]["Outputs"].items()}
    assert outputs == {
        # Chalice finds a topic by its name.
        "MailFeedbackTopicName": {"Fn::GetAtt": ["MailFeedbackTopic", "TopicName"]},
        "MailConfigurationSetName": {"Ref": "MailConfigurationSet"},
    }
