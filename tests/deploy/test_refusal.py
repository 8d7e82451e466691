"""What AWS refuses is a sentence that says what to do."""

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from nightshift.deploy.refusal import refusal_of


def answered(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Invoke")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NoCredentialsError(), "there are no AWS credentials: set AWS_PROFILE"),
        (PartialCredentialsError(provider="env", cred_var="x"), "there are no AWS credentials: set AWS_PROFILE"),
        (NoRegionError(), "there is no AWS region: set AWS_DEFAULT_REGION"),
        (
            ProfileNotFound(profile="shop"),
            "The config profile (shop) could not be found: set AWS_PROFILE to one that exists",
        ),
        (UnauthorizedSSOTokenError(), "the login to AWS has ended: run `aws sso login`"),
        (TokenRetrievalError(provider="sso", error_msg="old"), "the login to AWS has ended: run `aws sso login`"),
        (EndpointConnectionError(endpoint_url="http://x"), "AWS cannot be reached: "),
        (ReadTimeoutError(endpoint_url="http://x"), "AWS cannot be reached: "),
        (ParamValidationError(report="x"), "AWS cannot be used: "),
        (answered("ExpiredTokenException", "old"), "the AWS credentials have expired: log in again"),
        (answered("InvalidClientTokenId", "no such key"), "AWS does not know these credentials: set AWS_PROFILE"),
        (
            answered("AccessDeniedException", "User: x is not authorized to perform: lambda:InvokeFunction"),
            "AWS does not let you do it, and docs/commands.md lists what each command takes: User: x is not",
        ),
        (answered("TooManyRequestsException", "Rate exceeded"), "Rate exceeded (TooManyRequestsException)"),
        (answered("Odd"), "An error occurred (Odd) when calling the Invoke operation"),
        (answered("", "odd"), "odd"),
    ],
)
def test_each_refusal_is_told_in_one_sentence(error: BotoCoreError | ClientError, sentence: str) -> None:
    told = refusal_of(error)
    assert told.startswith(sentence)
    assert "\n" not in told
