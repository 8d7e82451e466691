"""What an emulator has from the beginning, made without a request: nearly two thousand tests begin with it."""

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.s3.models import s3_backends
from moto.sesv2.models import sesv2_backends
from moto.sqs.models import sqs_backends

from nightshift.local.aws import VISIBILITY_SECONDS
from nightshift.local.environment import ACCOUNT, BUCKET, DEAD_LETTER_QUEUE, PRIORITY_QUEUE, QUEUE, REGION, SENDER


def prepare_at_once() -> None:
    """Forget everything, and make what `nightshift.local.aws.prepare` makes, in this process."""
    BackendDict.reset()
    reset_model_data()
    for name in (QUEUE, PRIORITY_QUEUE, DEAD_LETTER_QUEUE):
        sqs_backends[ACCOUNT][REGION].create_queue(name, {}, VisibilityTimeout=str(VISIBILITY_SECONDS))
    s3_backends[ACCOUNT]["aws"].create_bucket(BUCKET, REGION)
    sesv2_backends[ACCOUNT][REGION].create_email_identity(SENDER, None, None, None)
