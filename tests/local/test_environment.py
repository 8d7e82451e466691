"""The local environment: nothing of the user's AWS set-up gets in."""

import os
from pathlib import Path

import pytest

from nightshift.local.environment import changed, local_environment

HOSTILE = {
    "AWS_PROFILE": "nosuch",
    "AWS_ENDPOINT_URL_SQS": "https://sqs.example.com",
    "AWS_SESSION_TOKEN": "token",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "BOTO_CONFIG": "/etc/boto.cfg",
    "PATH": "/bin",
}


def test_no_aws_setting_of_the_user_survives() -> None:
    environment = local_environment(HOSTILE, endpoint="http://127.0.0.1:1", folder=Path("/f"))
    assert environment["PATH"] == "/bin"
    assert not {"AWS_PROFILE", "AWS_ENDPOINT_URL_SQS", "AWS_SESSION_TOKEN", "BOTO_CONFIG"} & set(environment)
    assert "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" not in environment
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"


def test_database_and_redis_are_the_users_where_they_are_set() -> None:
    urls = {"DATABASE_URL": "mysql+pymysql://root@127.0.0.1/blog", "REDIS_URL": "redis://127.0.0.1"}
    environment = local_environment(urls, endpoint="http://127.0.0.1:1", folder=Path("/f"))
    assert {name: environment[name] for name in urls} == urls
    assert local_environment({}, endpoint="", folder=Path("/f"))["DATABASE_URL"] == "sqlite:////f/nightshift.db"


def test_what_is_changed_for_a_while_is_as_before_afterwards_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        with changed(REDIS_URL="redis://ours", BUCKET="ours"):
            assert (os.environ["REDIS_URL"], os.environ["BUCKET"]) == ("redis://ours", "ours")
            os.environ["ADDED"] = "within"
            raise ZeroDivisionError

    monkeypatch.setenv("REDIS_URL", "redis://theirs")
    monkeypatch.delenv("BUCKET", raising=False)
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert dict(os.environ) == before
