"""What a shell offers, as bash asks for it."""

import json
from pathlib import Path

import pytest

from tests import forked
from tests.shell import BASE, ROOT, nightshift


def offered(words: str, folder: Path = ROOT) -> list[str]:
    """Return what is offered for the last word, which may be empty."""
    asked = {"_NIGHTSHIFT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = forked.run(nightshift, environment=BASE | asked, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("nightshift sch", ["schedule"]),
        ("nightshift run database_", ["database_backup", "database_cleanup"]),
        ("nightshift schedule next m", ["monthly_report"]),
        ("nightshift pause b", ["backup_drill"]),
        ("nightshift runs list --task d", ["daily_digest", "database_backup", "database_cleanup"]),
        ("nightshift logs wo", ["work", "work_priority"]),
        ("nightshift jobs pause send_", ["send_digest", "send_email"]),
        ("nightshift jobs list --type g", ["generate_report"]),
        ("nightshift enqueue c", ["continue_run"]),
        ("nightshift status --stage p", ["prod"]),
        ("nightshift deploy --stage d", ["dev"]),
        ("nightshift run nosuch", []),
    ],
)
def test_a_shell_offers_the_names_of_this_project(words: str, names: list[str]) -> None:
    assert offered(words) == names


def test_outside_of_a_project_or_in_a_broken_one_nothing_is_offered_and_nothing_said(tmp_path: Path) -> None:
    for words in ("nightshift run ", "nightshift status --stage ", "nightshift jobs pause "):
        assert offered(words, tmp_path) == []
    (tmp_path / ".chalice").mkdir()
    (tmp_path / "app.py").write_text("def (")
    for content in ("{", "[]", json.dumps({"stages": None})):
        (tmp_path / ".chalice" / "config.json").write_text(content)
        assert offered("nightshift status --stage ", tmp_path) == []
    assert offered("nightshift logs ", tmp_path) == []
