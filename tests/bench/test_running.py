"""Every part runs in a process of its own; one that fails is told, stops no other, and leaves the page as it was."""

import re
from pathlib import Path

import pytest

from bench.__main__ import PARTS, main
from bench.running import run_all
from bench.stored import read_report

SMALL = {"small": "tests.bench.small_part"}
PAGE = "Before.\n<!-- bench: run -->\n<!-- /bench -->\n<!-- bench: small -->\nold\n<!-- /bench -->\nAfter.\n"

OTHER = "<!-- bench: other -->\n<!-- /bench -->\n"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "speed.md").write_text(PAGE, encoding="utf-8")
    return tmp_path


def test_a_bench_is_printed_and_written_as_page_and_json(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--write", str(docs)], SMALL, []) == 0
    table = "| fast | 1.50 (1.00–2.00) |            |    0.5 |"
    page, printed = (docs / "speed.md").read_text(encoding="utf-8"), capsys.readouterr()
    assert page.startswith("Before.\n")
    assert page.endswith("After.\n")
    assert table in page
    assert table in printed.out
    assert "old" not in page
    report = read_report(docs / "bench.json")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", report.date)
    assert report.machine.startswith("Python 3.")
    assert list(report.parts) == ["small"]
    assert report.parts["small"].tables[0].rows[0].measures["time"].rounds == 3


def test_a_quick_bench_says_that_it_means_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick"], SMALL, []) == 0
    printed = capsys.readouterr().out
    assert "no figure means anything" in printed
    assert "| slow |    2.00 |" in printed


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("tests.bench.failing_part", "mariadbd is not installed"),
        ("tests.bench.silent_part", "it printed no result"),
        ("tests.bench.no_part", "No module named tests.bench.no_part"),
    ],
)
def test_a_part_that_fails_is_told_and_the_others_run(
    docs: Path, capsys: pytest.CaptureFixture[str], module: str, reason: str
) -> None:
    (docs / "speed.md").write_text(OTHER + PAGE, encoding="utf-8")
    assert main(["--write", str(docs)], {"other": module, **SMALL}, []) == 1
    printed = capsys.readouterr()
    assert re.search(rf"## other\n\n\*\*Failed:\*\* .*{re.escape(reason)}", printed.out)
    assert "## small\n\nTwo ways." in printed.out
    assert "bench: failed: other; their older figures stay" in printed.err
    assert list(read_report(docs / "bench.json").parts) == ["small"]


def test_a_part_can_be_measured_again_and_the_others_stay(docs: Path) -> None:
    parts = {**SMALL, "other": SMALL["small"]}
    (docs / "speed.md").write_text(OTHER + PAGE, encoding="utf-8")
    assert main(["other", "--write", str(docs)], parts, []) == 0
    assert list(read_report(docs / "bench.json").parts) == ["other"]
    assert main(["small", "--write", str(docs)], parts, []) == 0
    assert list(read_report(docs / "bench.json").parts) == ["small", "other"]


def test_a_part_reckons_with_what_the_same_bench_has_measured(capsys: pytest.CaptureFixture[str]) -> None:
    parts = {**SMALL, "reckoned": "tests.bench.reading_part"}
    assert main([], parts, []) == 0
    assert "It took 3.0 s." in capsys.readouterr().out


def test_a_part_that_lacks_what_it_reckons_with_fails_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], {"reckoned": "tests.bench.reading_part"}, []) == 1
    assert "the bench has no 'time' of 'slow' in 'small'" in capsys.readouterr().out


def test_nothing_is_measured_in_the_account_of_whoever_runs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    assert main([], {"account": "tests.bench.account_part"}, []) == 0
    assert "It measures with the key local." in capsys.readouterr().out


def test_each_part_is_measured_on_each_server_and_both_are_written(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--write", str(docs)], SMALL, ["mysql", "mariadb"]) == 0
    page, report = (docs / "speed.md").read_text(encoding="utf-8"), read_report(docs / "bench.json")
    assert 0 < page.index("on mysql;") < page.index("on mariadb;")
    assert "small on mariadb ..." in capsys.readouterr().err
    assert (report.parts["small"].machine, report.again["small"].machine) == ("on mysql", "on mariadb")


def test_one_server_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", "mariadb"], SMALL, ["mysql", "mariadb"]) == 0
    printed = capsys.readouterr().out
    assert "on mariadb;" in printed
    assert "on mysql;" not in printed


def test_what_differs_by_no_server_is_measured_once() -> None:
    modules = {"small": "tests.bench.small_part", "package": "tests.bench.small_part"}
    report = run_all(modules, quick=True, servers=["mysql", "mariadb"], once=["package"])
    assert list(report.parts) == ["small", "package"]
    assert list(report.again) == ["small"]
    assert report.parts["package"].machine == "on mysql"


def test_a_part_that_fails_on_one_server_is_told_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], {"bad": "tests.bench.failing_part"}, ["mysql", "mariadb"]) == 1
    assert "bench: failed: bad, bad on mariadb; their older figures stay" in capsys.readouterr().err


def test_only_the_parts_that_are_named_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["small"], {**SMALL, "bad": "tests.bench.failing_part"}, []) == 0
    assert "## small" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--quick", "--write", "docs"], "only full sizes on each server are written"),
        (["--server", "mysql", "--write", "docs"], "only full sizes on each server are written"),
        (["smal"], "there is no part smal; there are small"),
    ],
)
def test_what_cannot_be_asked_is_refused(capsys: pytest.CaptureFixture[str], words: list[str], reason: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words, SMALL, [])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_costs_are_reckoned_last() -> None:
    assert list(PARTS)[-1] == "cost"
