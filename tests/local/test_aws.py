"""The emulator's clients, which are of nobody's account."""

from pathlib import Path

import pytest

from nightshift.local.aws import LocalAws


def test_a_client_takes_nothing_from_whoever_runs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("[no end")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "broken"))
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "elsewhere-1")
    meta = LocalAws("http://127.0.0.1:1").client("sqs").meta
    assert (meta.endpoint_url, meta.region_name) == ("http://127.0.0.1:1", "us-east-1")
