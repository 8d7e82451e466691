"""AWS's list prices of us-east-1, in dollars, without free tiers, and how far each could be checked.

AWS's own price pages fill in their tables in the browser, so that their text has no figures. `checked` is a page of
somebody else that has the same figure, of early to mid 2026; without one, it is as we remember AWS's.
"""

from dataclasses import dataclass

REGION = "us-east-1"
AS_OF = "early to mid 2026"


@dataclass(frozen=True, kw_only=True)
class Price:
    """`dollars` for every `per` of a unit; AWS's page, and the page that it was checked against, if any."""

    dollars: float
    per: float
    unit: str
    page: str
    checked: str | None


def _price(dollars: float, per: float, unit: str, page: str, checked: str | None = None) -> Price:
    return Price(
        dollars=dollars,
        per=per,
        unit=unit,
        page=f"https://aws.amazon.com/{page}/pricing/",
        checked=checked and f"https://{checked}",
    )


_REQUESTS = "git.mcrn.ar/mariano/lambda_local_runner/src/branch/main/docs/lambdas-md/lambda-13-cost.md"
_LAMBDA = "cloudchipr.com/blog/aws-lambda-pricing"
_WATCH = "signoz.io/guides/cloudwatch-pricing"
_INGEST = "www.factualminds.com/blog/amazon-cloudwatch-pricing-metrics-logs-alarms-dashboards"
_S3 = "devnotes.tech/understanding-aws-s3-pricing-a-complete-cost-breakdown-with-examples"
_POINTS = "cloudcostkit.com/calculators/aws-vpc-interface-endpoint-cost-calculator"
_STORED = "leyaa.ai/codefly/learn/aws/part-2/aws-rds-pricing-considerations/visualize"
_KEEPING = "hivebook.wiki/wiki/aws-secrets-manager-rotated-secrets-dynamic-db-credentials-kms"

LAMBDA_REQUESTS = _price(0.20, 1e6, "requests", "lambda", _REQUESTS)
LAMBDA_SECONDS = _price(0.0000166667, 1, "GB-s, x86", "lambda", _LAMBDA)
SQS_REQUESTS = _price(0.40, 1e6, "requests", "sqs", "cloudburn.io/blog/amazon-sqs-pricing")
SCHEDULED = _price(0.0, 1e6, "fires of rules", "eventbridge")
S3_STORED = _price(0.023, 1, "GB-months", "s3", _S3)
S3_WRITES = _price(0.005, 1000, "writes", "s3", _S3)
S3_READS = _price(0.0004, 1000, "reads", "s3", _S3)
LOGS_WRITTEN = _price(0.50, 1, "GB", "cloudwatch", _INGEST)
LOGS_STORED = _price(0.03, 1, "GB-months, compressed", "cloudwatch")
METRICS = _price(0.30, 1, "metric-months", "cloudwatch", _WATCH)
ALARMS = _price(0.10, 1, "metrics of alarms", "cloudwatch")
DASHBOARDS = _price(3.00, 1, "dashboards", "cloudwatch", _INGEST)
SECRETS = _price(0.40, 1, "secrets", "secrets-manager", _KEEPING)
SECRET_CALLS = _price(0.05, 10_000, "calls", "secrets-manager", _KEEPING)
KEYS = _price(1.00, 1, "keys", "kms", "www.factualminds.com/blog/aws-kms-pricing-keys-requests-multi-region")
MAILS = _price(0.10, 1000, "mails", "ses", "www.acecloudinterviews.com/tutorials/aws/ses")
EXPORTED = _price(0.010, 1, "GB of snapshots", "rds/mysql")

ENDPOINT_HOURS = _price(0.01, 1, "hours of endpoints", "privatelink", _POINTS)
NAT_HOURS = _price(0.045, 1, "hours of NAT", "vpc", "riseofcloud.com/?p=2794")
ADDRESS_HOURS = _price(
    0.005, 1, "hours of public IPv4 addresses", "vpc", "www.doit.com/aws-public-ipv4-price-increase-the-complete-guide"
)
MICRO_HOURS = _price(0.016, 1, "hours of db.t4g.micro", "rds/mysql")
XLARGE_HOURS = _price(0.337, 1, "hours of db.m7g.xlarge", "rds/mysql")
RAM_HOURS = _price(0.956, 1, "hours of db.r7g.2xlarge", "rds/mysql")
DATABASE_STORED = _price(0.115, 1, "GB-months of gp3", "rds/mysql", _STORED)
CACHE_HOURS = _price(0.0128, 1, "hours of cache.t4g.micro", "elasticache")
