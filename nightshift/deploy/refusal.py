"""What AWS refuses, or the way there, in a sentence that says what to do."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
UNKNOWN = {"UnrecognizedClientException", "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidSignatureException"}
DENIED = {"AccessDenied", "AccessDeniedException"}
UNREACHABLE = ("timed out", "timeout", "can't connect", "could not connect", "connection refused")


def advice_on(error: str) -> str:
    """Return what to do about what a function in its network could not reach, nothing for any other error."""
    if any(sign in error.lower() for sign in UNREACHABLE):
        return " — the functions' network has no way there: a security group, an endpoint or NAT is missing"
    return ""


def is_denied(error: BaseException | None) -> bool:
    """Return whether IAM denied a call."""
    return isinstance(error, ClientError) and error.response["Error"].get("Code") in DENIED


def refusal_of(error: BotoCoreError | ClientError) -> str:
    """Return the sentence."""
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            return "there are no AWS credentials: set AWS_PROFILE, or run `aws configure`"
        case NoRegionError():
            return "there is no AWS region: set AWS_DEFAULT_REGION, or a region in your AWS profile"
        case ProfileNotFound():
            return f"{error}: set AWS_PROFILE to one that exists"
        case SSOError() | TokenRetrievalError():
            return f"the login to AWS has ended: run `aws sso login` ({error})"
        case ConnectionError() | HTTPClientError():
            return f"AWS cannot be reached: {error}"
        case ClientError():
            return _of_answer(error)
    return f"AWS cannot be used: {' '.join(str(error).split())}"


def _of_answer(error: ClientError) -> str:
    code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message") or str(error)
    if code in EXPIRED:
        return "the AWS credentials have expired: log in again, with `aws sso login` or as you did"
    if code in UNKNOWN:
        return f"AWS does not know these credentials: set AWS_PROFILE, or run `aws configure` ({said})"
    if code in DENIED:
        return f"AWS does not let you do it, and docs/commands.md lists what each command takes: {said}"
    return f"{said} ({code})" if code else said
