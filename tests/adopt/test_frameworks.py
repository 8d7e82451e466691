"""The default schemas of Laravel, Django and WordPress: `adopt --yes` maps them, and every task counts right."""

from pathlib import Path
from typing import Any

import pytest

from tests.adopt.adopting import adopt_and_live
from tests.adopt.schemas import DJANGO, LARAVEL, WORDPRESS
from tests.mapping.project import APPLICATION

pytestmark = pytest.mark.usefixtures("world_environment")


def july(found: dict[str, Any]) -> tuple[int, int]:
    return found["july"]["new_users"], found["july"]["new_posts"]


def test_laravels_tables(schema_url: str, tmp_path: Path) -> None:
    found = adopt_and_live(tmp_path, schema_url, LARAVEL)
    assert 'TABLE_PREFIX = "nightshift_"' in (tmp_path / APPLICATION).read_text()
    assert (found["daily_digest"]["outcome"], found["deliveries"]) == ("skipped", [])
    assert found["active"] == ["1"]
    assert july(found) == (2, 0)
    rules = found["database_cleanup"]["rules"]
    assert (rules["sessions"]["succeeded"], rules["password_reset_tokens"]["succeeded"]) == (1, 1)
    assert found["readers"] == []
    assert "nobody gets the digest until you name one" in found["printed"]


def test_djangos_tables(schema_url: str, tmp_path: Path) -> None:
    found = adopt_and_live(tmp_path, schema_url, DJANGO)
    assert (found["daily_digest"]["outcome"], found["record_activity"]["outcome"]) == ("skipped", "skipped")
    assert july(found) == (2, 0)
    assert found["monthly_report"]["total"] == 1
    assert found["database_cleanup"]["rules"]["django_session"]["succeeded"] == 2
    assert found["readers"] == []


def test_wordpresss_tables(schema_url: str, tmp_path: Path) -> None:
    found = adopt_and_live(tmp_path, schema_url, WORDPRESS)
    assert (found["daily_digest"]["total"], found["deliveries"]) == (0, [])
    assert found["digests"] == [["2016-08-03", 1]]
    assert july(found) == (2, 1)
    assert found["monthly_report"]["total"] == 1
    assert found["record_activity"]["outcome"] == "skipped"


def test_it_shows_what_the_tasks_would_do_the_grants_and_missing_indexes(schema_url: str, tmp_path: Path) -> None:
    printed = adopt_and_live(tmp_path, schema_url, WORDPRESS)["printed"]
    assert "daily_digest      1 post of 2016-08-03 for 0 readers" in printed
    assert "monthly_report    2 new users and 1 new post of 2016-07, mailed to 1 administrator" in printed
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON `other-tables`.* TO 'nightshift'@'%';" in printed
    index = "CREATE INDEX ix_wp_posts_post_date_gmt ON `wp_posts` (`post_date_gmt`) ALGORITHM=INPLACE LOCK=NONE;"
    assert index in printed
