"""Schemas that no framework made: their odd shapes are found, and every task counts right."""

from pathlib import Path

import pytest

from tests.adopt.adopting import adopt_and_live
from tests.adopt.invented import BYTES, CAMELS, MAGAZINE
from tests.mapping.project import APPLICATION

pytestmark = pytest.mark.usefixtures("world_environment")
ANN = "11111111-1111-4111-8111-111111111111"
ANN_BY_TIME = "6ccd780c-baba-1026-9564-5b8c656024db"


def test_soft_deletion_a_newsletter_and_published_articles(schema_url: str, tmp_path: Path) -> None:
    found = adopt_and_live(tmp_path, schema_url, MAGAZINE)
    assert found["deliveries"] == [["1", "sent"]]
    assert found["digests"] == [["2016-08-03", 2]]
    assert found["active"] == ["1"]
    assert found["july"]["new_users"] == 4
    assert found["monthly_report"]["total"] == 1
    assert found["database_cleanup"]["rules"]["login_sessions"]["succeeded"] == 1
    assert (found["opted_out"], found["readers"]) == ([True, False], ["3", "4"])


def test_camel_case_uuids_as_text_an_enum_and_a_choice_in_json(schema_url: str, tmp_path: Path) -> None:
    found = adopt_and_live(tmp_path, schema_url, CAMELS, reader=ANN)
    assert 'TABLE_PREFIX = "nightshift_"' in (tmp_path / APPLICATION).read_text()
    assert found["deliveries"] == [[ANN, "sent"]]
    assert found["digests"] == [["2016-08-03", 1]]
    assert found["record_activity"]["outcome"] == "skipped"
    assert found["july"]["new_users"] == 2
    rules = found["database_cleanup"]["rules"]
    assert (rules["session"]["succeeded"], rules["verificationToken"]["succeeded"]) == (1, 1)
    assert (found["opted_out"], found["readers"]) == ([True, False], [])


def test_swapped_uuids_epoch_times_and_a_choice_in_another_table(schema_url: str, tmp_path: Path) -> None:
    found = adopt_and_live(tmp_path, schema_url, BYTES, reader=ANN_BY_TIME)
    assert found["deliveries"] == [[ANN_BY_TIME, "sent"]]
    assert found["digests"] == [["2016-08-03", 1]]
    assert len(found["active"]) == 2
    assert found["july"]["new_users"] == 2
    assert (found["opted_out"], found["readers"]) == ([True, False], ["8d7f3f60-57f8-11e6-8b77-86f30ca893d3"])
