"""The emulator that tests begin with is the one that the demo and the local day have."""

import urllib.request
from typing import Any

from nightshift.local.aws import LocalAws, prepare


def contents(aws: LocalAws) -> Any:
    sqs, s3, ses = (aws.client(service) for service in ("sqs", "s3", "sesv2"))
    queues = {
        url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for url in sqs.list_queues()["QueueUrls"]
    }
    for attributes in queues.values():
        for moment in ("CreatedTimestamp", "LastModifiedTimestamp"):
            attributes.pop(moment)
    identities = ses.list_email_identities()["EmailIdentities"]
    buckets = {
        each["Name"]: s3.get_bucket_location(Bucket=each["Name"])["LocationConstraint"]
        for each in s3.list_buckets()["Buckets"]
    }
    return queues, buckets, identities


def test_what_is_prepared_at_once_is_what_the_calls_prepare(aws: LocalAws) -> None:
    at_once = contents(aws)
    urllib.request.urlopen(urllib.request.Request(f"{aws.endpoint}/moto-api/reset", method="POST")).close()
    prepare(aws)
    assert contents(aws) == at_once
    assert len(at_once[0]) == 3
