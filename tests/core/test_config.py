"""Settings: what is read, what is refused, and that no value is ever repeated."""

from collections.abc import Mapping
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import backup, mail
from chalicelib.core.config import Environment, read_secrets
from chalicelib.core.context import from_lambda
from chalicelib.core.errors import ConfigurationError
from chalicelib.core.part import settings_of
from chalicelib.mail import unsubscribe
from nightshift.local.invocation import LocalContext
from tests.sweep import examples

REQUIRED = {
    "DATABASE_URL": "mysql+pymysql://nightshift:password@db.example.com/blog",
    "WORK_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/1/work",
    "PRIORITY_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/1/priority",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/1/dead",
    "BUCKET": "nightshift",
    "MAIL_FROM": "digest@example.com",
    "SITE_NAME": "Slow Harbour",
    "SITE_URL": "https://example.com",
    "UNSUBSCRIBE_URL": "https://example.com/unsubscribe",
    "UNSUBSCRIBE_SECRETS": "s" * 32,
}
SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:nightshift-a1b2c3"


def read_settings(variables: Mapping[str, str]) -> SimpleNamespace:
    """Return the settings of the engine and all parts."""
    environment = Environment(variables)
    kinds = settings_of((mail.PART, backup.PART))
    environment.check(kinds)
    return SimpleNamespace(**{name: value for kind in kinds for name, value in vars(environment.read(kind)).items()})


def refusal(**changes: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(REQUIRED | changes)
    return str(caught.value)


def test_the_required_settings_suffice_and_the_others_have_defaults() -> None:
    read = read_settings(REQUIRED)
    assert read.database_url == REQUIRED["DATABASE_URL"]
    assert read.unsubscribe_secrets == REQUIRED["UNSUBSCRIBE_SECRETS"]
    assert (read.database_credentials, read.database_ca) == (None, None)
    assert (read.redis_url, read.mail_rate, read.mail_workers) == (None, None, 5)
    assert (read.digest_zone, read.digest_max_posts) == (ZoneInfo("UTC"), 20)


def test_every_setting_can_be_set() -> None:
    optional = {
        "DATABASE_URL": "sqlite:///nightshift.db",
        "DATABASE_CREDENTIALS": SECRET,
        "DATABASE_CA": "/opt/ca.pem",
        "REDIS_URL": "rediss://cache.example.com:6379/0",
        "MAIL_RATE": "0.5",
        "MAIL_WORKERS": "3",
        "DIGEST_ZONE": "Europe/Berlin",
        "DIGEST_MAX_POSTS": "7",
    }
    read = read_settings(REQUIRED | optional)
    assert (read.database_url, read.redis_url) == (optional["DATABASE_URL"], optional["REDIS_URL"])
    assert (read.database_credentials, read.database_ca) == (SECRET, "/opt/ca.pem")
    assert (read.mail_rate, read.mail_workers, read.digest_max_posts) == (0.5, 3, 7)
    assert read.digest_zone == ZoneInfo("Europe/Berlin")


def test_an_optional_setting_that_is_empty_is_not_set() -> None:
    optional = ("REDIS_URL", "MAIL_RATE", "DATABASE_CREDENTIALS", "DATABASE_CA")
    assert read_settings(REQUIRED | dict.fromkeys(optional, "")) == read_settings(REQUIRED)


def test_secrets_are_read_in_order_without_the_spaces_around_them() -> None:
    assert read_secrets(f" {'n' * 32} , {'o' * 40}\n") == ("n" * 32, "o" * 40)


@pytest.mark.parametrize("variable", ["DATABASE_URL", "REDIS_URL", "UNSUBSCRIBE_SECRETS"])
def test_a_reference_may_stand_in_place_of_a_secret(variable: str) -> None:
    assert SECRET in vars(read_settings(REQUIRED | {variable: SECRET})).values()


def test_a_task_has_pings_by_its_name() -> None:
    url = "https://o1.ingest.sentry.io/api/42/cron/nightly/abc/?environment=dev"
    variables = {"DAILY_DIGEST_PING": url, "EXTERNAL_SYNC_PING": SECRET, "WATCH_PING": ""}
    assert read_settings(REQUIRED | variables).pings == {"daily_digest": url, "external_sync": SECRET}
    assert read_settings(REQUIRED).pings == {}


@pytest.mark.parametrize(
    "value",
    [
        *("hunter2", "http://hc-ping.com/hunter2", "https://hc-ping.com", "https://hc-ping.com/", "https:///hunter2"),
        *(
            "https://hunter2@hc-ping.com/x",
            "https://:hunter2@hc-ping.com/x",
            "https://hc-ping.com:x/hunter2",
            "https://hc-ping.com/hunter2 x",
        ),
        *("https://hc-ping.com/hunter2#x", "https://hc-ping.com/hünter2", "ftp://127.0.0.1/hunter2"),
    ],
)
def test_a_ping_that_is_no_address_of_a_check_is_refused_in_one_sentence(value: str) -> None:
    said = refusal(DAILY_DIGEST_PING=value, MAIL_FROM="nobody")
    assert said.startswith("DAILY_DIGEST_PING must be the https:// URL of one check, with its path; MAIL_FROM must ")
    assert "hunter2" not in said


@pytest.mark.parametrize("value", ["hunter2", "arn:aws:ssm:eu-west-1:1:parameter/hunter2", "nightshift/database"])
def test_credentials_are_always_a_reference(value: str) -> None:
    assert refusal(DATABASE_CREDENTIALS=value).startswith(
        "DATABASE_CREDENTIALS must be the ARN of a secret in Secrets Manager ("
    )


def test_every_missing_setting_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings({})
    sentence, _, hint = str(caught.value).partition(" (")
    assert sentence == "; ".join(f"{variable} is not set" for variable in REQUIRED)
    assert hint == "docs/settings.md describes each setting)"


def test_wrong_settings_are_named_beside_missing_ones() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings({"DATABASE_URL": "postgres://db", "MAIL_RATE": "fast", "DIGEST_ZONE": "Berlin"})
    problems = str(caught.value).split("; ")
    assert [problem.split()[0] for problem in problems] == [
        "DATABASE_URL",
        "WORK_QUEUE_URL",
        "PRIORITY_QUEUE_URL",
        "DEAD_LETTER_QUEUE_URL",
        "BUCKET",
        "MAIL_FROM",
        "MAIL_RATE",
        "SITE_NAME",
        "SITE_URL",
        "DIGEST_ZONE",
        "UNSUBSCRIBE_URL",
        "UNSUBSCRIBE_SECRETS",
    ]


@pytest.mark.parametrize(
    ("variable", "schemes"),
    [
        ("DATABASE_URL", "mysql+pymysql:// or sqlite://"),
        ("REDIS_URL", "redis:// or rediss://"),
        ("WORK_QUEUE_URL", "https:// or http://"),
        ("PRIORITY_QUEUE_URL", "https:// or http://"),
        ("DEAD_LETTER_QUEUE_URL", "https:// or http://"),
        ("SITE_URL", "https:// or http://"),
        ("UNSUBSCRIBE_URL", "https://"),
    ],
)
@pytest.mark.parametrize("value", ["ftp://example.com", "example.com", "//example.com", "javascript:alert(1)"])
def test_a_url_of_another_scheme_is_refused(variable: str, schemes: str, value: str) -> None:
    assert refusal(**{variable: value}).startswith(f"{variable} must be a URL that begins with {schemes} (")


@pytest.mark.parametrize("value", ["https:", "https://", "https:example.com", "https:///path"])
def test_a_url_without_a_host_is_refused(value: str) -> None:
    assert refusal(SITE_URL=value).startswith("SITE_URL must be a URL")


@pytest.mark.parametrize(
    "value",
    [
        "https://example.com/unsubscribe\r\nBcc: eve@example.org",
        "https://example.com/unsubscribe\n",
        "https://example.com/un subscribe",
        "https://bücher.example/unsubscribe",
        "http://example.com/unsubscribe",
        "https://example.com/unsubscribe>",
        "https://example.com/a>, <mailto:eve@example.org",
        "https://example.com/{{token}}",
        'https://example.com/"',
        f"https://example.com/{'x' * 1200}",
        f"https://example.com/{'x' * 381}",
    ],
    ids=lambda value: value[:50],
)
def test_an_unsubscribe_url_that_cannot_stand_in_a_header_is_refused(value: str) -> None:
    assert refusal(UNSUBSCRIBE_URL=value).startswith("UNSUBSCRIBE_URL ")


def test_the_longest_unsubscribe_url_makes_a_header_that_ses_takes() -> None:
    url = f"https://example.com/{'x' * 380}"
    assert read_settings(REQUIRED | {"UNSUBSCRIBE_URL": url}).unsubscribe_url == url
    # The longest id that a column may hold.
    token = unsubscribe.sign("u" * 255, "daily_digest", secrets=["s" * 32])
    assert len(f"<{unsubscribe.link(url, token)}>") <= 870


@pytest.mark.parametrize("value", ["", "digest", "Digest <digest@example.com>", "a@example.com, b@example.com"])
def test_a_sender_that_is_not_one_plain_address_is_refused(value: str) -> None:
    assert refusal(MAIL_FROM=value).startswith("MAIL_FROM ")


@pytest.mark.parametrize(
    "value", ["", "Berlin", "europe/berlin", "Europe", "../../etc/passwd", "/etc/localtime", "a\x00b", "x" * 5000]
)
def test_an_unknown_zone_is_refused(value: str) -> None:
    assert refusal(DIGEST_ZONE=value).startswith("DIGEST_ZONE must be an IANA time zone such as Europe/Berlin (")


@pytest.mark.parametrize("variable", ["MAIL_RATE", "MAIL_WORKERS", "DIGEST_MAX_POSTS"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", "inf", "1e999", " ", "9" * 5000])
def test_a_number_that_is_not_positive_and_finite_is_refused(variable: str, value: str) -> None:
    assert refusal(**{variable: value}).startswith(f"{variable} must be a number greater than zero (")


@pytest.mark.parametrize("variable", ["MAIL_WORKERS", "DIGEST_MAX_POSTS"])
@pytest.mark.parametrize("value", ["", "2.5"])
def test_a_number_of_things_is_whole(variable: str, value: str) -> None:
    assert refusal(**{variable: value}).startswith(f"{variable} must be a number")


@pytest.mark.parametrize("value", ["", "s" * 31, f"{'s' * 32},short", f"{'s' * 32},", f"  {'s' * 31}  "])
def test_a_short_secret_is_refused(value: str) -> None:
    assert refusal(UNSUBSCRIBE_SECRETS=value).startswith("UNSUBSCRIBE_SECRETS must be one or more secrets")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "postgres://nightshift:hunter2@db.example.com/blog"),
        ("DATABASE_URL", "mysql+pymysql://nightshift:hunter2\N{ACCOUNT OF}@db.example.com/blog"),
        ("DATABASE_URL", "mysql+pymysql://nightshift:[hunter2]@db.example.com/blog"),
        ("DATABASE_URL", "mysql+pymysql://nightshift:hunter2[@db.example.com/blog"),
        ("REDIS_URL", "redis://:hunter2\N{FULLWIDTH QUESTION MARK}@cache.example.com"),
        ("MAIL_RATE", "hunter2"),
        ("DIGEST_ZONE", "hunter2"),
        ("UNSUBSCRIBE_SECRETS", "hunter2"),
    ],
)
def test_a_refused_value_is_never_repeated(variable: str, value: str) -> None:
    sentence = refusal(**{variable: value})
    assert sentence.startswith(f"{variable} ")
    assert "hunter2" not in sentence


@settings(max_examples=examples(60))
@given(variable=st.sampled_from(sorted(REQUIRED)), before=st.text(), after=st.text())
def test_no_value_whatever_is_repeated_by_the_error_or_what_led_to_it(variable: str, before: str, after: str) -> None:
    refused: ConfigurationError | None = None
    try:
        read_settings(REQUIRED | {variable: f"mysql+pymysql://{before}hunter2{after}@db.example.com"})
    except ConfigurationError as error:
        refused = error
    assert "hunter2" not in str(refused)
    assert refused is None or refused.__context__ is None


@pytest.mark.parametrize("days", ["14", "1", "0", "-1", "soon"])
def test_rows_of_jobs_are_kept_longer_than_any_message_lives(days: str) -> None:
    assert refusal(JOBS_RETENTION_DAYS=days).startswith("JOBS_RETENTION_DAYS must be ")


def test_a_warm_process_reads_its_settings_once_whatever_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def environment(trace: str) -> Environment:
        monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
        return from_lambda(LocalContext(function_name="work")).environment

    first = environment("Root=1")
    assert environment("Root=2") is first
    monkeypatch.setenv("SITE_NAME", "Another")
    assert environment("Root=2") is not first
