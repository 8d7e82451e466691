"""A month's costs: each line is its quantity times its price, and nothing is forgotten in the sum."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.backup.retention import decide
from chalicelib.backup.settings import BackupSettings, read_policy
from scale import keeping
from scale.cost import as_json, as_markdown, as_prices, as_summary, months, total
from scale.line import line
from scale.prices import Price
from scale.team import HOURS
from tests.backup.test_retention import daily
from tests.infra.templates import deployed, resources

MONTHS = months()
SMALL = MONTHS[1]


def dollars(service: str, what: str) -> float:
    return next(each.dollars for each in SMALL.added if (each.service, each.what) == (service, what))


def test_a_line_is_its_quantity_times_its_price() -> None:
    price = Price(dollars=0.4, per=1e6, unit="requests", page="https://example.com", checked=None)
    assert line("SQS", "requests", "2.5 million", 2.5e6, price).dollars == pytest.approx(1.0)


def test_the_small_teams_lines_are_what_one_reckons_by_hand() -> None:
    assert dollars("SES", "mails") == pytest.approx(30 * (1000 + 2000) * 0.0001)
    assert dollars("Secrets Manager", "secrets") == pytest.approx(1.20)
    assert dollars("S3", "backups") == pytest.approx(62 * 0.5 * 0.023)
    # 400 s a night at 1,769 MB.
    assert dollars("Lambda", "backups") == pytest.approx(30 * 400 * 1769 / 1024 * 0.0000166667)


def test_every_team_has_its_lines_and_their_sum() -> None:
    assert [month.team for month in MONTHS] == ["idle", "small", "medium", "large"]
    assert [month.jobs_a_day for month in MONTHS] == [0, 10_000, 500_000, 10_000_000]
    sums = [total(month.added) for month in MONTHS]
    assert sums == sorted(sums)
    for month in MONTHS:
        assert all(each.dollars >= 0 and each.arithmetic for each in (*month.added, *month.apart))
        services = {each.service for each in month.added}
        assert services >= {"Lambda", "SQS", "EventBridge", "S3", "CloudWatch", "Secrets Manager", "KMS", "SES"}
        assert {each.service for each in month.apart} == {"VPC", "RDS", "ElastiCache"}


def test_json_and_markdown_say_the_same() -> None:
    told = json.loads(as_json(MONTHS))
    assert told["region"] == "us-east-1"
    text = as_markdown(MONTHS)
    for month, found in zip(MONTHS, told["months"], strict=True):
        assert found["dollars"] == pytest.approx(sum(each["dollars"] for each in found["added"]), abs=0.2)
        assert f"**{total(month.added):,.2f}**" in text
        assert f"| {month.team} | {month.users:,} | {month.jobs_a_day:,} | ${total(month.added):,.0f} |" in as_summary(
            MONTHS
        )


def test_each_price_names_awss_page_and_whether_it_was_checked() -> None:
    table = as_prices(MONTHS)
    prices = {each.price for month in MONTHS for each in (*month.added, *month.apart)}
    assert table.count("\n") == len(prices) + 1
    assert table.count("nothing, remembered") == sum(price.checked is None for price in prices)
    assert all(price.page.startswith("https://aws.amazon.com/") for price in prices)


def test_as_many_alarms_are_paid_for_as_there_are_with_a_database_of_the_data_stack() -> None:
    alarms = deployed("alarms", DatabaseIdentifier="db").values()
    assert len(alarms) == keeping.ALARMS
    # One with several metrics would cost as many times as much.
    assert all("MetricName" in alarm for alarm in alarms)


def test_as_many_keys_are_paid_for_as_there_are() -> None:
    assert len(resources("AWS::KMS::Key")) == len(keeping.KEYS)


def test_nats_public_address_is_paid_for_too() -> None:
    addresses = len(resources("AWS::EC2::EIP"))
    paid = [each for each in SMALL.apart if "public address" in each.what]
    assert sum(each.quantity for each in paid) == addresses * HOURS


def test_a_deployment_without_work_costs_its_keys_secrets_metrics_alarms_and_dashboard() -> None:
    idle = MONTHS[0]
    parts = {(each.service, each.what): each.dollars for each in idle.added}
    fixed = sum(
        parts[part]
        for part in [
            ("KMS", "keys"),
            ("Secrets Manager", "secrets"),
            ("CloudWatch", "metrics"),
            ("CloudWatch", "alarms"),
            ("CloudWatch", "dashboard"),
        ]
    )
    assert 0.9 * total(idle.added) < fixed < total(idle.added)
    assert parts["SES", "mails"] == 0


def test_as_many_backups_are_kept_as_the_policy_keeps_of_one_a_night() -> None:
    default = BackupSettings.__dataclass_fields__["backup_keep"].metadata["default"]
    now = datetime(2026, 11, 25, 2, tzinfo=UTC)
    kept = [
        sum(each.keep for each in decide(daily(1500, until=day), now=day, policy=read_policy(default)))
        for day in (now - timedelta(days=30 * n) for n in range(12))
    ]
    assert min(kept) - 2 <= keeping.KEPT <= max(kept) + 2
